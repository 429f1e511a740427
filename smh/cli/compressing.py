"""`smh compress`: to a fraction; into a budget by `smh shrink`, or by a pool that is trained."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from smh.cli.arguments import (
    add_blocks,
    add_budget,
    add_command,
    add_data,
    add_model,
    add_output,
    add_selection,
    number,
    numbers,
)
from smh.cli.files import check_output, open_model, open_with_images, write_model
from smh.cli.shrinking import EXAMPLES, few, shrink
from smh.errors import ArgumentError
from smh.errors.limits import COUNT, FRACTION, SEARCHED_BITS, SEED, WHOLE
from smh.progress import task
from smh.sensitivity.words import Shown

if TYPE_CHECKING:
    from smh.shrinking.searching import SearchResult, Try

_COMPRESS = """\
Replaces the weights of a model by slices of one product of two small factors.
By --fraction or --target-params their numbers start at random: what MODEL had
learned is gone, unless --init fit keeps what fits. Train the result
(`smh train --model FILE --data NAME`).

--target-size and --max-drop are `smh shrink`: the smallest file, or the least
loss, without training. With --epochs they search for a pool and train it: the
best one for a file of that size, or the smallest whose accuracy on the
validation examples falls by so many points at most (each try is trained)."""
_COMPRESS_EXAMPLE = """\
  smh compress model.keras --fraction 0.1 --out small.keras
  smh train --model small.keras --data digits
  smh compress model.keras --target-size 12KB --data digits --epochs 5 \\
      --out small.smh
  smh compress model.keras --max-drop 1.0 --data digits --epochs 3 \\
      --out small.smh"""


def add_commands(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "compress",
        _compress,
        "replace weights by slices of one small product",
        _COMPRESS,
        _COMPRESS_EXAMPLE,
    )
    parser.usage = (
        "smh compress MODEL (--fraction N | --target-params N |\n"
        "                    --target-size SIZE | --max-drop N) [options] --out FILE"
    )
    add_model(parser)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument(
        "--fraction",
        type=number("--fraction", FRACTION),
        metavar="N",
        help="share of the numbers that is kept, 0 to 1",
    )
    size.add_argument(
        "--target-params",
        type=number("--target-params", COUNT),
        metavar="N",
        help="or: trained numbers of the whole model",
    )
    add_budget(size, "or: ")
    parser.add_argument(
        "--init",
        choices=("random", "fit"),
        help="how the factors start with --fraction and --target-params (default: random)",
    )
    add_blocks(parser)
    parser.add_argument(
        "--bits",
        type=numbers("--bits", SEARCHED_BITS),
        metavar="N,N,...",
        help="with --epochs: bits of the factors to compare (default: 8,6,4; with --max-drop 8,4)",
    )
    parser.add_argument(
        "--seed", type=number("--seed", SEED), default=0, metavar="N", help="default: 0"
    )
    add_selection(parser)
    add_data(parser)
    parser.add_argument(
        "--epochs",
        type=number("--epochs", WHOLE),
        metavar="N",
        help="with --target-size and --max-drop: search for a pool, and train it so long",
    )
    add_output(parser, "what to write: .keras (to train on) or .smh (small)")
    # What `smh shrink` has beside, for the calls that are its own.
    parser.set_defaults(quality=None, examples=EXAMPLES, csv=None, png=None)


def _compress(args: argparse.Namespace) -> None:
    in_budget = args.target_size is not None or args.max_drop is not None
    _check_flags(args, in_budget)
    check_output(args.out, args.force)
    if not in_budget:
        _compress_once(args)
    elif args.epochs is None:
        if not args.quiet:
            print("nothing is trained: this is smh shrink; --epochs N trains a pool of that size")
        shrink(args)
    elif args.max_drop is not None:
        _search_drop(args)
    else:
        _search_size(args)


def _check_flags(args: argparse.Namespace, in_budget: bool) -> None:
    budgets = "--target-size and --max-drop"
    wrong = {
        "--init": (args.init is not None and in_budget, "--fraction and --target-params"),
        "--blocks": (args.blocks is not None and in_budget, "--fraction and --target-params"),
        "--data": (args.data is not None and not in_budget, budgets),
        "--epochs": (args.epochs is not None and not in_budget, budgets),
        "--bits": (args.bits is not None and args.epochs is None, "--epochs"),
    }
    for flag, (is_wrong, home) in wrong.items():
        if is_wrong:
            raise ArgumentError(f"{flag} goes with {home} only. See smh compress --help.")


def _compress_once(args: argparse.Namespace) -> None:
    model = open_model(args)
    import smh
    from smh.virtual_variable import virtual_variables

    with task("compressing"):
        smh.compress(
            model,
            args.fraction,
            target_params=args.target_params,
            apply_to=args.apply_to,
            exclude=args.exclude,
            seed=args.seed,
            init=args.init or "random",
            blocks=args.blocks or 1,
        )
    write_model(model, args)
    kept = _energy_kept(virtual_variables(model))
    start = "its weights are random" if kept is None else f"it kept {kept:.1%} of the energy"
    if not args.quiet:
        print(f"{start}: smh train --model {args.out} --data NAME")


def _energy_kept(variables: Any) -> float | None:
    """Of all pools, by the numbers that they hold; `None` where nothing was fitted."""
    pools = [variable.parametrization.source for variable in variables]
    if any(pool.energy_kept is None for pool in pools):
        return None
    sizes = [math.prod(variable.shape) for variable in variables]
    return sum(p.energy_kept * n for p, n in zip(pools, sizes, strict=True)) / sum(sizes)


def _search_size(args: argparse.Namespace) -> None:
    if args.epochs:
        model, data, _, _ = open_with_images(args, whole=False)
    else:
        model, data = open_model(args), None
    import smh
    from smh.training.retraining import retraining

    result = smh.search_size(
        model,
        args.target_size,
        recover=None if data is None else retraining(data, args.epochs, args.seed),
        data=None if data is None else few(data, EXAMPLES),
        **_bits(args),
        apply_to=args.apply_to,
        exclude=args.exclude,
        seed=args.seed,
        show=None if args.quiet else _Table(),
    )
    _write(result, args)
    if data is None and not args.quiet:
        print(f"it is not trained: smh train --model {args.out} --data NAME")


def _search_drop(args: argparse.Namespace) -> None:
    model, data, x, y = open_with_images(args, whole=not args.epochs)
    import smh
    from smh.shrinking.request import warn_of_chance
    from smh.training.data import accuracy_on
    from smh.training.retraining import retraining

    accuracy = accuracy_on(data, x, y)
    baseline = accuracy(model)
    print(f"{args.model}: accuracy {baseline:.2%} on {len(y):,} examples")
    warn_of_chance(baseline, args.max_drop / 100, len(y))
    result = smh.search_drop(
        model,
        args.max_drop / 100,
        accuracy,
        recover=retraining(data, args.epochs, args.seed) if args.epochs else None,
        **_bits(args),
        apply_to=args.apply_to,
        exclude=args.exclude,
        seed=args.seed,
        show=None if args.quiet else _Table(Shown.of("accuracy", [baseline]), baseline),
    )
    _write(result, args)


def _bits(args: argparse.Namespace) -> dict[str, Any]:
    return {} if args.bits is None else {"bits": args.bits}


class _Table:
    """Prints one line for each try, as soon as it is there."""

    def __init__(self, shown: Shown | None = None, baseline: float = 0.0):
        from smh.shrinking.searching.tries import columns

        self.shown, self.baseline, titles = shown, baseline, columns(shown)
        self.widths = [max(len(title), 8) for title in titles]
        self._line(titles)

    def __call__(self, one: Try) -> None:
        from smh.shrinking.searching.tries import cells

        self._line(cells(one, self.shown, self.baseline))

    def _line(self, texts: list[str]) -> None:
        padded = (text.rjust(width) for text, width in zip(texts, self.widths, strict=True))
        print("  ".join(padded), flush=True)


def _write(result: SearchResult, args: argparse.Namespace) -> None:
    best = result.best
    print(f"chosen: fraction {best.fraction:.4f}, {best.bits} bits")
    write_model(result.model, args)
