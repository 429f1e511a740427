"""What the commands share: how they are added, and arguments of the same meaning."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from smh.errors import ArgumentError

MODEL = "a .keras file, a .smh file, or a run directory of smh train"
DATA = "digits, mnist, fashion_mnist, cifar10, cifar100, imagenette or image_folder"


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
    return parser


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
        action="append",
        metavar="PATTERN",
        help="a path or its end as tables print it (fc1/kernel), or a regular expression that "
        "matches from the begin of a path or bare name (.*fc, kernel); may be repeated "
        "(default: kernels, embeddings and other weights of rank 2 or more)",
    )
    parser.add_argument(
        "--exclude", action="append", metavar="PATTERN", help="weights to leave alone, the same way"
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds the images that a model is measured on."""
    parser.add_argument("--data", metavar="NAME", help=f"{DATA} (default: that of the run)")
    parser.add_argument("--data-dir", metavar="DIR", help="folder to look for the data in first")
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="pixels per side, for digits, imagenette and image_folder",
    )


def levels(given: Sequence[str], flag: str, kind: type) -> Any:
    """Reads `0.9`, or `PATTERN=0.9` several times, as one number or as pairs.

    Raises:
        ArgumentError: neither one nor the other.
    """
    if len(given) == 1 and "=" not in given[0]:
        return _number(given[0], flag, kind)
    pairs = []
    for text in given:
        pattern, equals, value = text.rpartition("=")
        if not equals or not pattern:
            raise ArgumentError(
                f"{flag} takes one number, or PATTERN=NUMBER several times, got {text!r} among "
                f"{len(given)}."
            )
        pairs.append((pattern, _number(value, flag, kind)))
    return pairs


def numbers(text: str, flag: str, kind: type) -> list[Any]:
    """Reads numbers between commas.

    Raises:
        ArgumentError: one of them is none.
    """
    return [_number(part, flag, kind) for part in text.split(",")]


def _number(text: str, flag: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ArgumentError(f"{flag} must be {what}, got {text!r}.") from None
