"""How integers are written by a `wavefront`: its settings, the symbols, and what is beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smh.coding import range_coder
from smh.coding.neighbours import find_neighbours
from smh.coding.packed import with_low_bits, write_low_bits
from smh.coding.payload import Reader, varint
from smh.coding.wavefront import (
    LARGEST,
    MAX_NEIGHBOURS,
    MAX_SYMBOL,
    UNIT,
    Expectation,
    Neighbour,
    Wavefront,
    around,
)

MOST_SHIFT = 16
_MOST_COUNT = 1 << 26
_FINEST = 6  # mean deviation above which the lowest bits are written as they are
_INSIDE = 0.97  # share of the integers that symbols have to reach


@dataclass(frozen=True)
class Settings:
    """What a wavefront's block says before its words."""

    width: int
    shift: int  # lowest bits that are stored apart, unmodelled
    largest: int
    neighbours: tuple[Neighbour, ...]

    def model(self, count: int) -> Wavefront:
        """Returns the model at its beginning."""
        return Wavefront(count, self.width, self.largest, self.neighbours)


def worth_a_try(flat: np.ndarray) -> bool:
    """Whether the integers differ, and there are not too many."""
    return 1 < flat.size < _MOST_COUNT and bool((flat != flat[0]).any())


def choices(integers: np.ndarray) -> list[Settings]:
    """Returns the settings that are worth trying: without and with neighbours."""
    shape = tuple(n for n in integers.shape if n > 1) or (1,)
    width = shape[-1] if len(shape) > 1 else math.isqrt(integers.size)
    values = integers.astype(np.int32).reshape(shape)
    found = find_neighbours(values) if len(shape) > 1 else ()
    return [_settings(values.ravel(), width, near) for near in {(): (), found: found}.values()]


def _settings(flat: np.ndarray, width: int, neighbours: tuple[Neighbour, ...]) -> Settings:
    far = np.abs(UNIT * flat.astype(np.int64) - _expected(flat, width, neighbours)) / UNIT
    # A few that are far out are written apart, and are no reason to leave bits unmodelled.
    too_far = min(far.mean() / _FINEST, np.quantile(far, _INSIDE) / MAX_SYMBOL)
    shift = min(MOST_SHIFT, math.ceil(math.log2(max(too_far, 1))))
    high = flat >> shift
    sign, base, _ = around(_expected(high, width, neighbours))
    largest = int(np.abs(sign * high - base).max())
    return Settings(width, shift, min(MAX_SYMBOL, max(1, largest)), neighbours)


def _expected(flat: np.ndarray, width: int, neighbours: tuple[Neighbour, ...]) -> np.ndarray:
    """The sum of each element's neighbours, in 64ths."""
    rows = -(-flat.size // width)
    matrix = np.zeros((rows, width), np.int64)
    matrix.reshape(-1)[: flat.size] = flat
    mean = np.zeros_like(matrix)
    for near in neighbours:
        those = matrix[: rows - near.above, : width - near.before]
        mean[near.above :, near.before :] += near.weight * those
    return mean.reshape(-1)[: flat.size]


def write(flat: np.ndarray, settings: Settings, encoded: EncodedWavefront) -> bytes:
    """Returns the block of integers that were encoded with these settings, less its first byte."""
    head = varint(settings.width)
    head += bytes([settings.largest << 3 | len(settings.neighbours)])
    for near in settings.neighbours:
        head += varint(near.above) + varint(near.before) + bytes([near.weight & 255])
    if settings.largest == MAX_SYMBOL:
        head += varint(len(encoded.beyond)) + b"".join(map(varint, encoded.beyond))
    return head + varint(len(encoded.data)) + encoded.data + write_low_bits(flat, settings.shift)


@dataclass(frozen=True)
class EncodedWavefront:
    """Range-coded bytes, and how far integers were beyond the largest symbol."""

    data: bytes
    beyond: list[int]


def encode(flat: np.ndarray, settings: Settings) -> EncodedWavefront:
    """Codes integers."""
    high = flat >> settings.shift
    encoder, beyond = range_coder.RangeEncoder(), []

    def code(expected: Expectation, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = high[expected.place]
        symbol, far = split(values, expected, settings.largest)
        if settings.largest == MAX_SYMBOL and far.max() >= 0:
            beyond.extend(far[far >= 0].tolist())
        symbol += settings.largest
        encoder.encode(symbol.astype(np.int32), range_coder.FAMILY, shares)
        return values, symbol

    model = settings.model(flat.size)
    model.walk(code)
    return EncodedWavefront(range_coder.shortest_bytes(encoder), beyond)


def split(values: np.ndarray, expected: Expectation, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the symbols of integers, and how far beyond the largest each lies."""
    symbol = expected.sign * values - expected.base
    return np.minimum(np.maximum(symbol, -largest), largest), np.abs(symbol) - largest


def read(reader: Reader, count: int, shift: int) -> np.ndarray:
    """Returns the `count` integers of a block behind its first byte, int32 `[count]`."""
    if not 1 < count < _MOST_COUNT:
        raise reader.error(f"a wavefront of {count:,} integers, 2 to {_MOST_COUNT - 1:,} allowed")
    width = reader.varint(count, "the width of the matrix")
    byte = reader.take(1, "largest symbol and number of neighbours")[0]
    largest, near = byte >> 3, byte & 7
    if width < 1 or largest < 1 or near > MAX_NEIGHBOURS:
        raise reader.error(f"width {width:,}, largest symbol {largest}, {near} neighbours")
    neighbours = tuple(_read_neighbour(reader, -(-count // width), width) for _ in range(near))
    beyond = _read_beyond(reader, count) if largest == MAX_SYMBOL else []
    data = reader.take(reader.varint(len(reader.rest()), "the length"), "range-coded bytes")
    settings = Settings(width, shift, largest, neighbours)
    return with_low_bits(reader, _decode(reader, data, count, settings, beyond), shift)


def _read_beyond(reader: Reader, count: int) -> list[int]:
    most = min(count, len(reader.rest()))
    what = "how far an integer lies beyond the largest symbol"
    number = reader.varint(most, "the number of integers beyond the largest symbol")
    return [reader.varint(2 * LARGEST, what) for _ in range(number)]


def _read_neighbour(reader: Reader, height: int, width: int) -> Neighbour:
    above = reader.varint(height - 1, "rows to a neighbour")
    before = reader.varint(width - 1, "columns to a neighbour")
    if not above and not before:
        raise reader.error("an integer cannot be its own neighbour")
    weight = reader.take(1, "the weight of a neighbour")[0]
    return Neighbour(above, before, weight - 256 if weight > 127 else weight)


def _decode(
    reader: Reader, data: memoryview, count: int, settings: Settings, beyond: list[int]
) -> np.ndarray:
    """Decodes, and encodes again: bytes that differ are those of no integers."""
    left, largest = list(reversed(beyond)), settings.largest
    model = settings.model(count)
    with range_coder.as_artifact_error(reader):
        decoder = range_coder.decoder_of(data)
        encoder = range_coder.RangeEncoder()

        def code(expected: Expectation, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            symbol = decoder.decode(range_coder.FAMILY, shares)
            encoder.encode(symbol, range_coder.FAMILY, shares)
            value = symbol.astype(np.int64) - largest
            at_end = np.flatnonzero(np.abs(value) == MAX_SYMBOL)
            for place in at_end if largest == MAX_SYMBOL else ():
                if not left:
                    raise reader.error("more integers are beyond the largest symbol than are given")
                value[place] += np.sign(value[place]) * left.pop()
            value = expected.sign * (value + expected.base)
            if np.abs(value).max() > LARGEST >> settings.shift:
                raise reader.error("an integer is not below 2**24 in size")
            return value, symbol

        model.walk(code)
        if left or range_coder.shortest_bytes(encoder) != data:
            raise reader.error("the range-coded bytes are not those of any integers")
    return model.values
