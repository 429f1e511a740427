"""`smh sensitivity` and `smh bits`: which weights a model can do without."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from smh.cli.arguments import (
    POINTS,
    add_command,
    add_data,
    add_json,
    add_model,
    add_selection,
    number,
    numbers,
    show,
)
from smh.cli.files import check_output, open_with_examples
from smh.cli.judging import to_judge_by
from smh.errors import ArgumentError
from smh.errors.limits import ABOVE_ZERO, CODEBOOK_BITS, DROP, SCANNED_SPARSITY

_SENSITIVITY = """\
Prunes one weight after the other at several sparsities, and measures the
accuracy on the validation examples; nothing is trained. --budget or --max-drop
turn the result into flags for `smh prune`."""
_SENSITIVITY_EXAMPLE = """\
  smh sensitivity runs/lenet_5-digits --csv scan.csv --png scan.png
  smh sensitivity model.keras --data digits --sparsities 0.5,0.8 --budget 0.7"""
_BITS = """\
Gives one weight after the other 2^bits values, and measures the accuracy on the
validation examples; nothing is trained. --budget or --max-drop turn the result
into flags for `smh quantize --kind codebook`."""
_BITS_EXAMPLE = """\
  smh bits runs/lenet_5-digits --csv bits.csv --png bits.png
  smh bits model.keras --data digits --bits 6,4,2 --budget 4"""


def add_commands(commands: Any) -> None:
    """Adds the two commands."""
    parser = add_command(
        commands,
        "sensitivity",
        _sensitivity,
        "how much accuracy pruning each weight costs",
        _SENSITIVITY,
        _SENSITIVITY_EXAMPLE,
    )
    parser.add_argument(
        "--sparsities",
        type=numbers("--sparsities", SCANNED_SPARSITY),
        default="0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
        metavar="N,N,...",
        help="shares of zeros (default: 0.1 to 0.9)",
    )
    _add_common(parser, "sparsity of all scanned weights together to suggest")
    parser = add_command(
        commands, "bits", _bits, "how much accuracy few bits cost", _BITS, _BITS_EXAMPLE
    )
    parser.add_argument(
        "--bits",
        type=numbers("--bits", CODEBOOK_BITS),
        default="8,6,4,3,2",
        metavar="N,N,...",
        help="default: 8,6,4,3,2",
    )
    _add_common(parser, "bits of a number on average to suggest, with the tables of values")


def _add_common(parser: argparse.ArgumentParser, budget: str) -> None:
    add_model(parser)
    add_data(parser)
    add_selection(parser)
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument("--budget", type=number("--budget", ABOVE_ZERO), metavar="N", help=budget)
    wish.add_argument(
        "--max-drop",
        type=number("--max-drop", DROP),
        metavar="N",
        help="or: points of accuracy it may cost, 0.5; of numbers to predict, and of several "
        "outputs, by how much the loss may rise",
    )
    parser.add_argument(
        "--method",
        choices=("exact", "fisher"),
        default="exact",
        help="fisher: an estimate from the gradients of some examples, and a few measurements, of "
        "the divergence of the outputs in nats; much sooner done, for --budget only",
    )
    add_json(parser)
    parser.add_argument("--csv", metavar="FILE", help="write all that was measured")
    parser.add_argument("--png", metavar="FILE", help="draw a curve for each weight")
    parser.add_argument("--force", action="store_true", help="replace these files if they exist")


def _sensitivity(args: argparse.Namespace) -> None:
    _scan(args, args.sparsities, "sparsity", "--sparsity")


def _bits(args: argparse.Namespace) -> None:
    _scan(args, args.bits, "bits", "--bits")


def _scan(args: argparse.Namespace, levels: list, kind: str, flag: str) -> None:
    for path, suffix in ((args.csv, ".csv"), (args.png, ".png")):
        if path is not None:
            check_output(path, args.force, (suffix,), f"--{suffix[1:]}")
    estimates = args.method == "fisher"
    if estimates and args.max_drop is not None:
        raise ArgumentError(
            "--max-drop is in points of accuracy, and --method fisher estimates the divergence of "
            "the outputs, in nats, which tells no accuracy. Give --budget N, or --method exact."
        )
    model, data = open_with_examples(args, labels=not estimates)
    x, y, _ = to_judge_by(data)
    _check_drop(args, y)
    import smh
    from smh.datasets.dataset import scaled
    from smh.sensitivity.budgets import check_budget
    from smh.training.data import measure

    selected = {"apply_to": args.apply_to, "exclude": args.exclude}
    if args.budget is not None:
        check_budget(model, args.budget, kind, levels, **selected)
    result = (smh.sensitivity_scan if kind == "sparsity" else smh.bits_scan)(
        model,
        scaled(x) if estimates else lambda model: measure(model, x, y),
        levels,
        **selected,
        method=args.method,
        seed=0,
        verbose=int(sys.stdout.isatty() and not args.json and not args.quiet),
    )
    if not args.json:
        print(result)
    if args.csv is not None:
        result.to_csv(args.csv)
    if args.png is not None:
        result.to_png(args.png)
    suggestion = _suggestion(args, result, x)
    if args.json:
        show(args, result, suggested=suggestion)
    elif suggestion is not None:
        _print(args, result, suggestion, flag)


def _check_drop(args: argparse.Namespace, y: Any) -> None:
    """Points of accuracy end at 100; a loss has no end."""
    from smh.training.data import has_classes

    if args.max_drop is not None and has_classes(y):
        POINTS.checked(args.max_drop, "--max-drop")


def _suggestion(args: argparse.Namespace, result: Any, x: Any) -> list | None:
    """A level for each weight, where a budget or a drop is given."""
    if args.budget is None and args.max_drop is None:
        return None
    max_drop = args.max_drop
    if max_drop is not None and result.shown.is_share:
        from smh.datasets.dataset import count_of
        from smh.shrinking.request import warn_of_chance

        max_drop /= 100  # points, as everywhere on the command line
        warn_of_chance(result.baseline[result.metric], max_drop, count_of(x))
    found = result.suggest(args.budget, max_drop=max_drop)
    if not found:
        raise ArgumentError("no weight can be changed within that; allow more, or scan less far.")
    return found


def _print(args: argparse.Namespace, result: Any, suggestion: list, flag: str) -> None:
    reached, lost = result.reached(suggestion), result.predicted_drop(suggestion)
    if flag == "--sparsity":
        command, what = "smh prune", f"{reached:.2%} zeros"
    else:
        command = "smh quantize --kind codebook"
        what = f"{reached:.3g} bits a number, tables of values included,"
    print(
        f"\nsuggested: {what} on average, at {result.shown.in_words(lost)} if what each weight "
        "costs adds up:"
    )
    lines = [f"  {flag} '{path}={level:g}'" for path, level in suggestion]
    source = Path(args.model)
    print(" \\\n".join([f"{command} {source}", *lines, "  --out FILE"]))
