"""The command line: `smh` or `python -m smh`.

`arguments` has what commands share, `files` opens and writes models; the others are the commands.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence

import smh
from smh import progress
from smh.cli import (
    changing,
    compressing,
    exporting,
    importing,
    planning,
    running,
    scanning,
    showing,
    shrinking,
)
from smh.cli.completion import SHELLS, PrintCompletion
from smh.cli.files import find_own
from smh.cli.parsing import CommandParser, Parser
from smh.errors import ArgumentError, MissingDataError, SelectionError, SmhError, SmhWarning

_DESCRIPTION = """\
Makes Keras models small: trains them compressed, prunes, rounds, and writes
small files. `smh COMMAND --help` shows what a command takes, with an example."""
_EPILOG = """\
a trained model of yours, its file made small:
  smh shrink model.keras --target-size 200KB --data data.npz --out small.smh

a first run, on data that is there without a download:
  smh train --model lenet_5 --data digits --fraction 0.1 --epochs 5
  smh evaluate runs/lenet_5-digits-0.1
  smh report runs/lenet_5-digits-0.1

MODEL is a .keras file, a .smh file, or a run directory of `smh train`.
exit codes: 0 all went well, 1 an error, 2 a wrong call, 130 interrupted."""
_OF_TENSORFLOW = ("TF_CPP_MIN_LOG_LEVEL", "TF_DETERMINISTIC_OPS")
_IMPORT = " The command imports your module: `smh --import MODULE COMMAND ...`."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, or 1 after an error, 2 after a wrong call, 130 after Ctrl-C. What cannot
        even be taken apart raises `SystemExit(2)`, by `argparse`.
    """
    args = _parser().parse_args(argv)
    with warnings.catch_warnings(), _environment():
        warnings.simplefilter("always", SmhWarning)
        warnings.showwarning = lambda text, *_: None if args.quiet else _warn(args, text)
        if args.verbose:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        try:
            with _progress(args.quiet):
                find_own(args.imports)
                args.run(args)
        except BrokenPipeError:  # of `smh report MODEL | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (SmhError, OSError, ImportError) as error:
            if args.verbose:
                traceback.print_exc()
            _say(args, _text(error))
            return 2 if _is_of_the_call(error) else 1
        except KeyboardInterrupt as stop:
            _say(args, f"interrupted{stop}")
            return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="smh",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"smh {smh.__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help="print what completes commands and flags in bash or zsh",
    )
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of yours, with registered layers or modifiers that a file needs",
    )
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="COMMAND",
        title="commands",
        parser_class=CommandParser,
    )
    small = (compressing, shrinking, changing)
    for room in (running, planning, *small, scanning, showing, exporting, importing):
        room.add_commands(commands)
    return parser


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Leaves the environment of who calls `main` as it was: a command says what TensorFlow logs."""
    before = {name: os.environ.get(name) for name in _OF_TENSORFLOW}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[None]:
    """Shows on a terminal what is being done; also while `start_keras` has stderr closed."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal, progress.shown(terminal):
        yield


def _is_of_the_call(error: BaseException) -> bool:
    """Whether an argument cannot work, or names what is not there; else a file is damaged, say."""
    wrong = (ArgumentError, SelectionError, FileNotFoundError)
    return isinstance(error, wrong) and not isinstance(error, MissingDataError)


def _say(args: argparse.Namespace, text: str) -> None:
    print(f"smh {args.command}: {text}", file=sys.stderr)


def _warn(args: argparse.Namespace, text: object) -> None:
    _say(args, f"warning: {text}")


def _text(error: BaseException) -> str:
    """The message without colours, and without the arguments that Keras lists after it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error) or type(error).__name__)
    text = " ".join(part.strip() for part in plain.split("\n\n")[:2])
    # Keras' messages and smh's name the decorator wherever a class is not known.
    return text + _IMPORT if "register_keras_serializable" in text else text
