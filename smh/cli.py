"""The command line: `smh` or `python -m smh`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from smh.errors import SmhError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, or 1 after an error, 2 after a wrong call."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (SmhError, OSError) as error:
        print(f"smh {args.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="smh", description="Makes Keras models small.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="what is inside a .smh file, byte by byte")
    inspect.add_argument("file", help="a file that smh.save wrote")
    inspect.set_defaults(run=_inspect)
    return parser


def _inspect(args: argparse.Namespace) -> None:
    from smh.inspection import inspect

    print(inspect(args.file))
