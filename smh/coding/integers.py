"""A block of signed integers of any range, in whichever way takes the fewest bytes.

The first byte says how: `PLAIN` shifts them to begin at zero, for the coders of `symbols`, and
`WAVEFRONT` is the model of `wavefront`. Both are made and the shorter is kept, so that a context
is used only where it pays, on the integers at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smh.coding import range_coder, symbols
from smh.coding.neighbours import find_neighbours
from smh.coding.packed import pack, unpack
from smh.coding.payload import Reader, signed, unsigned, varint
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

PLAIN, WAVEFRONT = range(2)  # the latter plus how many of the lowest bits are stored apart
_MOST_SHIFT = 16
_ALPHABET_BITS = 12  # of the plain kind: `symbols` takes alphabets of up to 4096
_MOST_COUNT = 1 << 26
_FINEST = 6  # mean deviation above which the lowest bits are written as they are


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


def write(integers: np.ndarray, coder: str = "range") -> bytes:
    """Returns a block of integers.

    Args:
        integers: whole numbers of any shape, below `2**24` in size. The shape says which are
            neighbours: the last axis longer than one is the columns of a matrix.
        coder: 'range', 'huffman' or 'packed'; the last two take the plain kind.

    Returns:
        The bytes: none for no integers.
    """
    if not integers.size:
        return b""
    flat = integers.astype(np.int32).ravel()
    blocks = [write_plain(flat, coder)]
    if coder == "range" and modelled(flat):
        for settings in choices(integers):
            blocks.append(write_wavefront(flat, settings, encode(flat, settings)))
    return min(blocks, key=len)


def read(reader: Reader, count: int) -> np.ndarray:
    """Returns the `count` integers of the block at the reader, int32 `[count]`."""
    if not count:
        return np.zeros(0, np.int32)
    kind = reader.take(1, "the kind of a block of integers")[0]
    if kind == PLAIN:
        return _read_plain(reader, count)
    if WAVEFRONT <= kind <= WAVEFRONT + _MOST_SHIFT:
        return _read_wavefront(reader, count, kind - WAVEFRONT)
    raise reader.error(f"unknown kind {kind} of a block of integers")


def modelled(flat: np.ndarray) -> bool:
    """Whether a wavefront is worth a try: the integers differ, and there are not too many."""
    return 1 < flat.size < _MOST_COUNT and bool((flat != flat[0]).any())


def choices(integers: np.ndarray) -> list[Settings]:
    """Returns the settings that are worth trying: without and with neighbours."""
    shape = tuple(n for n in integers.shape if n > 1) or (1,)
    width = shape[-1] if len(shape) > 1 else math.isqrt(integers.size)
    values = integers.astype(np.int32).reshape(shape)
    found = find_neighbours(values) if len(shape) > 1 else ()
    return [_settings(values.ravel(), width, near) for near in {(): (), found: found}.values()]


def _settings(flat: np.ndarray, width: int, neighbours: tuple[Neighbour, ...]) -> Settings:
    mean = np.abs(UNIT * flat.astype(np.int64) - _expected(flat, width, neighbours)).mean() / UNIT
    shift = max(0, math.ceil(math.log2(max(mean, 1) / _FINEST)))
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


def write_plain(flat: np.ndarray, coder: str) -> bytes:
    """Returns a block of the plain kind."""
    least = int(flat.min())
    span = int(flat.max()) - least
    low_bits = max(0, span.bit_length() - _ALPHABET_BITS)
    shifted = (flat - least).astype(np.uint32)
    high = (shifted >> np.uint32(low_bits)).astype(np.uint16)
    head = bytes([PLAIN]) + varint(unsigned(least)) + varint(span)
    block = symbols.write(high, (span >> low_bits) + 1, coder)
    return head + block + _write_low(shifted, low_bits)


def _read_plain(reader: Reader, count: int) -> np.ndarray:
    least = signed(reader.varint(2 * LARGEST, "the smallest integer"))
    span = reader.varint(2 * LARGEST, "the integers' range")
    if abs(least) >= LARGEST or least + span >= LARGEST:
        raise reader.error(f"integers from {least:,} to {least + span:,}; below 2**24 in size")
    low_bits = max(0, span.bit_length() - _ALPHABET_BITS)
    found = symbols.read(reader, count, (span >> low_bits) + 1).astype(np.int32)
    found = _with_low(reader, found, low_bits)
    if low_bits and found.max() > span:
        raise reader.error(f"an integer is {found.max() - span:,} above the largest")
    found += least
    return found


def _write_low(integers: np.ndarray, bits: int) -> bytes:
    if not bits:
        return b""
    return pack((integers & ((1 << bits) - 1)).astype(np.uint16), bits)


def _with_low(reader: Reader, high: np.ndarray, bits: int) -> np.ndarray:
    if bits:
        high <<= bits
        high |= unpack(reader, high.size, bits)
    return high


def write_wavefront(flat: np.ndarray, settings: Settings, encoded: EncodedWavefront) -> bytes:
    """Returns the block of integers that were encoded with these settings."""
    head = bytes([WAVEFRONT + settings.shift]) + varint(settings.width)
    head += bytes([settings.largest << 3 | len(settings.neighbours)])
    for near in settings.neighbours:
        head += varint(near.above) + varint(near.before) + bytes([near.weight & 255])
    if settings.largest == MAX_SYMBOL:
        head += varint(len(encoded.beyond)) + b"".join(map(varint, encoded.beyond))
    return head + varint(len(encoded.data)) + encoded.data + _write_low(flat, settings.shift)


@dataclass(frozen=True)
class EncodedWavefront:
    """Range-coded bytes, how far integers were beyond the largest symbol, tables at the end."""

    data: bytes
    beyond: list[int]
    weights: np.ndarray


def encode(flat: np.ndarray, settings: Settings, watch=None) -> EncodedWavefront:
    """Codes integers; `watch(expected, shares, symbols)`, if given, sees each antidiagonal."""
    high = flat >> settings.shift
    encoder, beyond = range_coder.RangeEncoder(), []

    def code(expected: Expectation, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = high[expected.place]
        symbol, far = split(values, expected, settings.largest)
        if settings.largest == MAX_SYMBOL and far.max() >= 0:
            beyond.extend(far[far >= 0].tolist())
        symbol += settings.largest
        encoder.encode(symbol.astype(np.int32), range_coder.FAMILY, shares)
        if watch is not None:
            watch(expected, shares, symbol)
        return values, symbol

    model = settings.model(flat.size)
    model.walk(code)
    return EncodedWavefront(range_coder.shortest_bytes(encoder), beyond, model.weights)


def split(values: np.ndarray, expected: Expectation, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the symbols of integers, and how far beyond the largest each lies."""
    symbol = expected.sign * values - expected.base
    return np.minimum(np.maximum(symbol, -largest), largest), np.abs(symbol) - largest


def _read_wavefront(reader: Reader, count: int, shift: int) -> np.ndarray:
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
    return _with_low(reader, _decode(reader, data, count, settings, beyond), shift)


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
