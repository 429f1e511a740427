"""What the commands share: how they are added, and arguments of the same meaning."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from smh.container import plain_json
from smh.doors.selection import make_matcher
from smh.errors import ArgumentError
from smh.errors.limits import BLOCKS, COUNT, Limit

MODEL = "a .keras file, a .smh file, or a run directory of smh train"
DATA = "digits, mnist, fashion_mnist, cifar10, cifar100, imagenette or image_folder"
OWN = "or your own: data.npz with x and y, a folder of pictures, MODULE:FUNCTION"
POINTS = Limit(
    float,
    "a number, at least 0 and at most 100 points of accuracy",
    lambda n: 0 <= n <= 100,
)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def add_command(
    commands: Any, name: str, run: Callable, summary: str, text: str, example: str
) -> argparse.ArgumentParser:
    """Adds a command whose help has a sentence, what it does, and an example."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", action="store_true", help="results only: no bars, warnings and remarks"
    )
    loudness.add_argument(
        "--verbose", action="store_true", help="also what the backend says, and where errors arise"
    )
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the choice to print what programs read."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the model that a command reads."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds the file that a command writes."""
    parser.add_argument("--out", metavar="FILE", required=True, help=what)
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Adds which weights are meant."""
    parser.add_argument(
        "--apply-to",
        type=reader(lambda text: _pattern(text, "--apply-to")),
        action="append",
        metavar="PATTERN",
        help="a path or its end as tables print it (fc1/kernel), or a regular expression that "
        "matches from the begin of a path or bare name (.*fc, kernel); may be repeated "
        "(default: kernels, embeddings and other weights of rank 2 or more)",
    )
    parser.add_argument(
        "--exclude",
        type=reader(lambda text: _pattern(text, "--exclude")),
        action="append",
        metavar="PATTERN",
        help="weights to leave alone, the same way",
    )


def add_budget(group: Any, size: str = "") -> None:
    """Adds how small a file has to be, or how little may be lost: of `compress` and of `shrink`.

    Args:
        group: where the two exclude each other.
        size: what the help of the first begins with.
    """
    group.add_argument(
        "--target-size",
        type=bytes_of("--target-size"),
        metavar="SIZE",
        help=f"{size}size of the file, 200KB or 1.5MB",
    )
    group.add_argument(
        "--max-drop",
        type=number("--max-drop", POINTS),
        metavar="N",
        help="or: points of accuracy it may cost, 0.5",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds the examples that a model is measured on."""
    text = f"{DATA}; {OWN} (default: that of the run)"
    parser.add_argument("--data", metavar="NAME", help=text)
    parser.add_argument(
        "--limit",
        type=number("--limit", COUNT),
        metavar="N",
        help="at most so many examples of each part, drawn at random once",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder to look for the data in first")
    parser.add_argument(
        "--image-size",
        type=number("--image-size", COUNT),
        metavar="PIXELS",
        help="pixels per side, for digits, imagenette and image_folder",
    )


def show(args: argparse.Namespace, result: Any, **more: Any) -> None:
    """Prints a result as its table, or as JSON where that was asked for.

    Args:
        args: what was typed.
        result: a dataclass.
        **more: what JSON has beside its fields.
    """
    if not args.json:
        print(result)
        return
    print(plain_json.dumps(dataclasses.asdict(result) | more, indent=1))


def number(flag: str, limit: Limit) -> Callable[[str], Any]:
    """What reads the number of a flag, for `add_argument(type=...)`."""
    return reader(lambda text: limit.read(text, flag))


def numbers(flag: str, limit: Limit) -> Callable[[str], list[Any]]:
    """What reads numbers between commas."""
    return reader(lambda text: [limit.read(part, flag) for part in text.split(",")])


def add_blocks(parser: argparse.ArgumentParser) -> None:
    """Adds `--blocks`, `None` where it is not given."""
    parser.add_argument(
        "--blocks",
        type=reader(lambda text: text if text == "auto" else BLOCKS.read(text, "--blocks")),
        metavar="N",
        help="about how many products in place of one, or auto: a step costs less (default: 1)",
    )


def level(flag: str, limit: Limit) -> Callable[[str], Any]:
    """What reads `0.9` as a number, and `PATTERN=0.9` as a pair."""

    def read(text: str) -> Any:
        pattern, equals, value = text.rpartition("=")
        if equals and not pattern:
            raise ArgumentError(f"{flag} takes a number or PATTERN=NUMBER, got {text!r:.100}.")
        found = limit.read(value, flag)
        return (_pattern(pattern, flag), found) if equals else found

    return reader(read)


def _pattern(text: str, flag: str) -> str:
    """Returns a pattern; raises `ArgumentError` if it is no regular expression and no path."""
    if "/" not in text:  # else it may be a path, in which any sign may stand
        make_matcher(text, flag)
    return text


def bytes_of(flag: str) -> Callable[[str], int]:
    """What reads `200KB`, `1.5 MB`, `64KiB` or `1000` as bytes."""

    def read(text: str) -> int:
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmg]i?)?b?\s*", text.lower())
        if found is None or float(found[1]) * _UNITS[found[2] or ""] < 1:
            raise ArgumentError(
                f"{flag} must be a size like 200KB or 1.5MB, at least one byte, in B, KB, MB, GB, "
                f"KiB, MiB or GiB; got {text!r:.100}."
            )
        return int(float(found[1]) * _UNITS[found[2] or ""])

    return reader(read)


def one_or_pairs(given: Sequence[Any], flag: str) -> Any:
    """Returns what `level` read several times as one number or as a list of pairs.

    Raises:
        ArgumentError: neither one nor the other.
    """
    if len(given) == 1 and not isinstance(given[0], tuple):
        return given[0]
    single = [value for value in given if not isinstance(value, tuple)]
    if single:
        raise ArgumentError(
            f"{flag} takes one number, or PATTERN=NUMBER several times, got {single[0]} among "
            f"{len(given)}."
        )
    return list(given)


def reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """What argparse calls to read a text by `read`, whose `ArgumentError` is the message."""

    def reading(text: str) -> Any:
        try:
            return read(text)
        except ArgumentError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reading
