"""Millions of four-bit numbers as bytes and back: many coders side by side, and one after another.

Both sides alternate in one process; times are processor time. `one` is what smh writes for fewer
symbols: the range coder and the wavefront, each of which encodes again what it decoded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from smh import coding
from smh.coding import symbols

SIDES = {"lanes": symbols.MANY, "one": sys.maxsize}


def cases(count: int) -> dict[str, tuple[np.ndarray, Any]]:
    """Numbers of a normal distribution, and what stores them in four bits."""
    drawn = np.random.default_rng(0).standard_normal((count // 1000, 1000), np.float32)
    whole = np.clip(np.rint(2 * drawn), -8, 7).astype(np.int32)
    return {
        "Uniform, floats": (drawn, coding.Uniform(4)),
        "Uniform, whole": (whole, coding.Uniform(4, scale=0.5)),
        "Codebook": (whole + 8, coding.Codebook(np.arange(16) / 8)),
        "Stepped": (whole, coding.Stepped(0.5)),
        "Uniform, packed": (drawn, coding.Uniform(4, coder="packed")),
    }


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.process_time()
    found = call()
    return found, time.process_time() - begin


@contextlib.contextmanager
def side_of(name: str) -> Iterator[None]:
    """Codes as that side does inside."""
    before, symbols.MANY = symbols.MANY, SIDES[name]
    try:
        yield
    finally:
        symbols.MANY = before


def measure(array: np.ndarray, how: Any, rounds: int) -> dict:
    """Bytes and million numbers a second, of each side."""
    spent: dict[str, list] = {side: [] for side in SIDES}
    sizes = {}
    for _ in range(rounds):
        for side in SIDES:
            with side_of(side):
                made, encoding = timed(lambda: coding.encode(array, how))
                _, decoding = timed(lambda made=made: coding.decode(made.spec, made.payload))
            _, checking = timed(lambda made=made: zlib.crc32(made.payload))
            spent[side].append((encoding, decoding, checking))
            sizes[side] = len(made.payload)
    return {
        side: dict(
            zip(
                ("bytes", "encode", "decode", "crc32"),
                (
                    sizes[side],
                    *(array.size / 1e6 / statistics.median(t) for t in zip(*times, strict=True)),
                ),
                strict=True,
            )
        )
        for side, times in spent.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=25_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    rows = {}
    for name, (array, how) in cases(options.count).items():
        rows[name] = found = measure(array, how, options.rounds)
        if not options.json:
            lanes, one = found["lanes"], found["one"]
            print(
                f"| `{name}` | {lanes['bytes']:,} ({lanes['bytes'] / one['bytes'] - 1:+.2%}) | "
                f"{lanes['encode']:.0f} ({lanes['encode'] / one['encode']:.1f}x) | "
                f"{lanes['decode']:.0f} ({lanes['decode'] / one['decode']:.1f}x) |",
                flush=True,
            )
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
