"""`smh plan`: what compressing would give."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from smh.cli.arguments import (
    add_blocks,
    add_command,
    add_json,
    add_model,
    add_selection,
    numbers,
    show,
)
from smh.cli.files import check_output, open_model, start_keras
from smh.errors.limits import COUNT, FRACTION
from smh.zoo.known import find_name

if TYPE_CHECKING:
    import keras

_PLAN = """\
Lists what `smh compress` would make of a model, for several fractions: numbers
trained, bytes, and what the product costs beside the model itself. Nothing is
trained, computed or written. The bytes are of memory; a .smh file is smaller,
because it is entropy-coded. MODEL may also be a name such as lenet_5 or
resnet32, for the model as it was published."""
_PLAN_EXAMPLE = """\
  smh plan lenet_5
  smh plan model.keras
  smh plan model.keras --fractions 0.2,0.1,0.05 --csv plan.csv"""


def add_commands(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands, "plan", _plan, "what compressing would give, before it", _PLAN, _PLAN_EXAMPLE
    )
    add_model(parser)
    parser.add_argument(
        "--fractions",
        type=numbers("--fractions", FRACTION),
        metavar="N,N,...",
        help="default: 0.5 to 0.01, those of them that work",
    )
    parser.add_argument(
        "--input-shape",
        type=numbers("--input-shape", COUNT),
        metavar="N,N,...",
        help="of one example, where the model leaves an axis free: 224,224,3",
    )
    add_blocks(parser)
    add_selection(parser)
    add_json(parser)
    parser.add_argument("--csv", metavar="FILE", help="write the table as CSV, too")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def _plan(args: argparse.Namespace) -> None:
    if args.csv is not None:
        check_output(args.csv, args.force, (".csv",), "--csv")
    model = _open(args)
    import smh

    planned = smh.plan(
        model,
        args.fractions,
        apply_to=args.apply_to,
        exclude=args.exclude,
        input_shape=args.input_shape,
        blocks=args.blocks or 1,
    )
    show(args, planned)
    if args.csv is not None:
        planned.to_csv(args.csv)


def _open(args: argparse.Namespace) -> keras.Model:
    """The model of a file or a run directory, or of the zoo where a bare name is no file."""
    if os.path.exists(args.model) or not args.model.replace("_", "").replace("-", "").isalnum():
        return open_model(args)
    name = find_name(args.model)
    start_keras()
    from smh import zoo

    return zoo.build(name)
