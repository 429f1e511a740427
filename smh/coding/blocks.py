"""Floats that are whole numbers of a power of two, block by block: rounded biases and scales.

Each block has its own power of two, smallest integer and range, and an integer costs the logarithm
of the range, fractions of a bit included. Nothing is lost. Numbers with full mantissas have no
place here: `Planes` takes them.

References: Wilkinson, "Rounding Errors in Algebraic Processes", 1963, for blocks with one exponent;
Goldstein, Ramakrishnan, Shaft, "Compressing Relations and Indexes", ICDE 1998, for the smallest
integer and range of a block ("frame of reference").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smh.coding import integers, symbols
from smh.coding.payload import Reader
from smh.coding.spec import check_keys, check_shape
from smh.coding.wavefront import LARGEST
from smh.errors import ArgumentError

SIZE = 16  # numbers of a block
_TOGETHER = 1024  # numbers that are digits of one integer: its cost grows with their square
_LEAST, _MOST = -149, 127  # exponents of float32
_WRITTEN = 2**22  # integers that are written are smaller: a range has room for its base
# Ranges have three binary digits, so that one costs few bits: 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14...
RANGES = np.array([1, 2, 3, *(m << e for e in range(22) for m in (4, 5, 6, 7)), LARGEST])


@dataclass(frozen=True)
class Blocks:
    """Stores float32 numbers of few binary digits, without loss.

    Args:
        coder: 'range', 'huffman' or 'packed'; for what is said of each block.
    """

    coder: str = "range"

    @staticmethod
    def takes(array: np.ndarray) -> bool:
        """Whether an array has a place here."""
        try:
            _taken(array)
        except ArgumentError:
            return False
        return True

    def encode(self, array: np.ndarray) -> tuple[dict, bytes]:
        """Returns spec and payload."""
        symbols.check_coder(self.coder)
        spec = {"coding": "blocks", "shape": list(array.shape)}
        exponents, whole = _taken(array)
        if not array.size:
            return spec, b""
        places, bases = _frames(whole)
        digits = whole - (bases * _unit(RANGES[places]))[:, None]
        head = (
            integers.write(np.diff(exponents, prepend=0), self.coder)
            + symbols.write(places.astype(np.uint16), len(RANGES), self.coder)
            + integers.write(bases, self.coder)
        )
        ranges = np.repeat(RANGES[places], SIZE)[: array.size]
        return spec, head + _joined(digits.ravel()[: array.size], ranges)


def layout(spec: Mapping) -> str:
    """Checks the spec; returns the name of the decoded dtype."""
    check_keys(spec, coding=str, shape=list)
    return "float32"


def decode(spec: Mapping, reader: Reader) -> np.ndarray:
    """Returns the array."""
    shape = check_shape(spec)
    count = math.prod(shape)
    if not count:
        return np.zeros(shape, np.float32)
    blocks = -(-count // SIZE)
    exponents = np.cumsum(integers.read(reader, blocks).astype(np.int64))
    if exponents.min() < _LEAST or exponents.max() > _MOST:
        raise reader.error(f"exponents must be {_LEAST} to {_MOST}")
    places = symbols.read(reader, blocks, len(RANGES))
    ranges = RANGES[places]
    bases = integers.read(reader, blocks).astype(np.int64) * _unit(ranges)
    digits = _apart(reader, np.repeat(ranges, SIZE)[:count])
    whole = np.repeat(bases, SIZE)[:count] + digits
    if np.abs(whole).max() >= LARGEST:
        raise reader.error(f"an integer of {LARGEST:,} or more")
    found = np.ldexp(whole.astype(np.float64), np.repeat(exponents, SIZE)[:count])
    if np.abs(found).max() > np.finfo(np.float32).max:
        raise reader.error("a number is infinite in float32")
    return found.astype(np.float32).reshape(shape)


def _taken(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the exponents of the blocks, `[blocks]`, and their integers `[blocks, SIZE]`."""
    if array.dtype != np.float32:
        raise ArgumentError(f"Blocks are of float32, got {array.dtype}.")
    numbers = array.ravel()
    if not np.isfinite(numbers).all() or (np.signbit(numbers) & (numbers == 0)).any():
        raise ArgumentError("NaN, infinity and negative zero have no place in blocks.")
    blocks = _in_blocks(numbers)
    exponents = _exponents(blocks)
    whole = np.ldexp(blocks, -exponents[:, None])
    if np.abs(whole).max(initial=0) >= _WRITTEN:
        raise ArgumentError("These numbers have more binary digits than a block takes: use Planes.")
    return exponents, whole.astype(np.int64)


def _in_blocks(numbers: np.ndarray) -> np.ndarray:
    """float64 `[blocks, SIZE]`; the last number fills up the last block."""
    filled = np.resize(numbers[-1:], -numbers.size % SIZE)
    return np.concatenate([numbers, filled]).astype(np.float64).reshape(-1, SIZE)


def _exponents(blocks: np.ndarray) -> np.ndarray:
    """The largest power of two that all numbers of a block are whole numbers of, int64."""
    fraction, exponent = np.frexp(blocks)
    mantissa = np.ldexp(np.abs(fraction), 24).astype(np.int64)
    zeros = np.log2((mantissa & -mantissa) + (mantissa == 0)).astype(np.int64)
    lowest = np.where(mantissa == 0, _MOST + 1, exponent - 24 + zeros).min(axis=1)
    # A block of zeros takes that of the block before.
    known = np.where(lowest > _MOST, -1, np.arange(len(lowest)))
    last = np.maximum.accumulate(known)
    return np.where(last < 0, 0, lowest[last])


def _frames(whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each block the place of its range in `RANGES`, and its base in units of that."""
    low, high = whole.min(axis=1), whole.max(axis=1)
    places = np.searchsorted(RANGES, high - low + 1)
    while True:
        unit = _unit(RANGES[places])
        bases = low // unit
        short = high - bases * unit >= RANGES[places]
        if not short.any():
            return places, bases
        places = places + short


def _unit(ranges: np.ndarray) -> np.ndarray:
    """A base is a multiple of an eighth of the range, or so."""
    return 1 << np.maximum(np.log2(ranges).astype(np.int64) - 3, 0)


def _joined(digits: np.ndarray, ranges: np.ndarray) -> bytes:
    """Digits of a number whose places have bases of their own, the first one lowest."""
    out = []
    for start in range(0, digits.size, _TOGETHER):
        mine = slice(start, start + _TOGETHER)
        number, largest = 0, 0
        for digit, base in zip(
            reversed(digits[mine].tolist()), reversed(ranges[mine].tolist()), strict=True
        ):
            number, largest = number * base + digit, largest * base + base - 1
        out.append(number.to_bytes(_bytes(largest), "little"))
    return b"".join(out)


def _apart(reader: Reader, ranges: np.ndarray) -> np.ndarray:
    """The way back from `_joined`."""
    digits = np.empty(ranges.size, np.int64)
    for start in range(0, ranges.size, _TOGETHER):
        bases = ranges[start : start + _TOGETHER].tolist()
        largest = 0
        for base in reversed(bases):
            largest = largest * base + base - 1
        number = int.from_bytes(reader.take(_bytes(largest), "numbers of blocks"), "little")
        if number > largest:
            raise reader.error("the numbers of blocks are above their largest")
        for place, base in enumerate(bases, start):
            number, digits[place] = divmod(number, base)
    return digits


def _bytes(largest: int) -> int:
    return -(-largest.bit_length() // 8)
