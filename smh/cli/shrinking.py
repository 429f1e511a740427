"""`smh shrink`: the smallest file of a trained model, without training."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from smh.cli.arguments import (
    add_budget,
    add_command,
    add_data,
    add_model,
    add_output,
    add_selection,
    number,
)
from smh.cli.files import (
    check_output,
    has_data,
    open_model,
    open_with_examples,
    open_with_images,
    write_model,
)
from smh.cli.judging import Judge
from smh.errors.limits import COUNT, QUALITY

if TYPE_CHECKING:
    from smh.datasets import Dataset

_TEXT = """\
Rounds the weights of a trained model so that its file is small: each as finely
as it matters for the model's outputs. Nothing is trained. With --data it looks
at what some hundred examples do in the network, which makes the file half as
large at the same accuracy; labels are used by --max-drop alone, which measures
on the validation examples (of a .npz file without parts: on all in it, unless
MODEL is a run on it). Where there are labels, it says what the rounding cost."""
_EXAMPLE = """\
  smh shrink model.keras --target-size 200KB --data cifar10 --out small.smh
  smh shrink model.keras --max-drop 0.5 --data cifar10 --out small.smh
  smh shrink model.keras --quality 60 --out small.smh"""
EXAMPLES = 512


def add_commands(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands, "shrink", shrink, "the smallest file, without training", _TEXT, _EXAMPLE
    )
    parser.usage = (
        "smh shrink MODEL (--target-size SIZE | --max-drop N | --quality N)\n"
        "                  [--data NAME] [options] --out FILE"
    )
    add_model(parser)
    budget = parser.add_mutually_exclusive_group(required=True)
    add_budget(budget)
    budget.add_argument(
        "--quality",
        type=number("--quality", QUALITY),
        metavar="N",
        help="or: 0 (coarse) to 100 (nothing is lost)",
    )
    parser.add_argument(
        "--examples",
        type=number("--examples", COUNT),
        default=EXAMPLES,
        metavar="N",
        help=f"how many training examples to look at (default: {EXAMPLES})",
    )
    add_selection(parser)
    add_data(parser)
    parser.add_argument("--csv", metavar="FILE", help="write the table")
    parser.add_argument("--png", metavar="FILE", help="draw error against bytes")
    add_output(parser, "what to write: .smh (small) or .keras (to train on)")


def shrink(args: argparse.Namespace) -> None:
    """Runs the command."""
    check_output(args.out, args.force)
    for flag, path in (("--csv", args.csv), ("--png", args.png)):
        if path is not None:
            check_output(path, args.force, (f".{flag[2:]}",), flag)
    model, data, evaluate, judged = _opened(args)
    judge = Judge(data if evaluate is None else None, args.quiet)
    judge(model, "before")
    import smh
    from smh.shrinking.request import warn_of_chance

    if evaluate is not None:
        warn_of_chance(evaluate(model), args.max_drop / 100, judged)
    report = smh.shrink(
        model,
        None if data is None else few(data, args.examples),
        target_size=args.target_size,
        max_drop=None if args.max_drop is None else args.max_drop / 100,
        quality=args.quality,
        evaluate=evaluate,
        apply_to=args.apply_to,
        exclude=args.exclude,
        examples=args.examples,
    )
    print(report)
    judge(model, "now")
    if report.baseline is not None and report.chosen.score is not None:
        print(
            f"accuracy {report.baseline:.2%}, now {report.chosen.score:.2%}, on the {judged:,} "
            "examples that decided; judge by others"
        )
    if args.csv is not None:
        report.to_csv(args.csv)
    if args.png is not None:
        report.to_png(args.png)
    write_model(model, args)


def _opened(args: argparse.Namespace) -> tuple[Any, Any, Any, int]:
    """The model, its data, and what measures its accuracy on how many, if asked for."""
    if args.max_drop is not None:
        model, data, x, y = open_with_images(args)
        from smh.training.data import accuracy_on

        return model, data, accuracy_on(data, x, y), len(y)
    if not has_data(args):
        return open_model(args), None, None, 0
    return *open_with_examples(args), None, 0


def few(data: Dataset, count: int) -> Any:
    """The first training examples as a model takes them, without labels."""
    from smh.datasets.dataset import map_arrays, scaled

    return scaled(map_arrays(lambda array: array[:count], data.x_train))
