"""A block of symbols `0 .. alphabet - 1`, in whichever way takes the fewest bytes.

The first byte says how. `packed` and `huffman` can be read without a range coder; of the two
range-coded ways the adaptive one stores no model at all (each block is coded with the counts of
those before), and the static one stores a table of rounded counts, which is better where the
statistics change along the way. The choice is made by the length of what was actually encoded,
never by an estimate in floating point, so it is the same on every machine. Millions of symbols are
coded in `lanes`, several times as fast, where that takes less than a hundredth more.
"""

from __future__ import annotations

import numpy as np

from smh.coding import huffman, information, lanes, range_coder
from smh.coding.packed import pack, unpack
from smh.coding.payload import Reader, varint
from smh.errors import ArgumentError

CODERS = ("range", "huffman", "packed")
MAX_ALPHABET = 4096

CONSTANT, PACKED, HUFFMAN, ADAPTIVE, STATIC = range(5)
_FINEST = 3  # STATIC + m, m = 0 .. 3: a table with 2**m levels to each doubling of the count
LANES = STATIC + _FINEST + 1

MANY = 1 << 20  # symbols from which on lanes are tried
_FEWEST_LANES_BITS = 6  # fewer are no faster than a range coder
_PIECES = 8  # statistics that change between these are better coded by a model that learns


def check_coder(coder: str) -> None:
    """Raises if `coder` is not one of `CODERS`."""
    if coder not in CODERS:
        names = ", ".join(f"'{name}'" for name in CODERS)
        raise ArgumentError(f"coder must be one of {names}, got {coder!r}.")


def write(symbols: np.ndarray, alphabet: int, coder: str = "range") -> bytes:
    """Returns a block of symbols.

    Args:
        symbols: unsigned integers, rank 1, each below `alphabet`.
        alphabet: how many symbols there are, 1 to `MAX_ALPHABET`.
        coder: 'range', 'huffman' or 'packed'. 'range' takes packed bits where they are shorter.

    Returns:
        The bytes: none for no symbols, or for an alphabet of one.
    """
    if not symbols.size or alphabet == 1:
        return b""
    if coder == "packed":
        return _packed(symbols, alphabet)
    if (symbols == symbols[0]).all():
        return _constant(symbols)
    if coder == "huffman":
        return bytes([HUFFMAN]) + huffman.encode(symbols, alphabet)
    if symbols.size >= MANY and (quick := _quick(symbols, alphabet)):
        return quick
    counts = np.bincount(symbols, minlength=alphabet)
    with_table = [_static(symbols, counts, m) for m in range(_FINEST + 1)]
    return min([_write_plain(symbols, alphabet), *with_table], key=len)


def read(reader: Reader, count: int, alphabet: int) -> np.ndarray:
    """Returns the `count` symbols of the block at the reader, as uint8 or uint16."""
    if not count or alphabet == 1:
        return np.zeros(count, np.uint8)
    kind = reader.take(1, "the kind of a block of symbols")[0]
    if kind == HUFFMAN:
        return huffman.decode(reader, count, alphabet)
    if kind == LANES:
        return _read_lanes(reader, count, alphabet)
    if STATIC <= kind <= STATIC + _FINEST:
        return _read_words(reader, count, _read_table(reader, alphabet, kind - STATIC), 0)
    reader.position -= 1
    return _read_plain(reader, count, alphabet)


def _read_plain(reader: Reader, count: int, alphabet: int) -> np.ndarray:
    """Reads the kinds that need no table, which are those a table may itself be stored in."""
    kind = reader.take(1, "the kind of a block of symbols")[0]
    if kind == CONSTANT:
        value = reader.varint(alphabet - 1, "the only symbol")
        return np.full(count, value, np.uint8 if alphabet <= 256 else np.uint16)
    if kind == PACKED:
        symbols = unpack(reader, count, (alphabet - 1).bit_length())
        if symbols.max() >= alphabet:
            raise reader.error(f"symbol {symbols.max()}, the largest is {alphabet - 1}")
        return symbols
    if kind == ADAPTIVE:
        return _read_words(reader, count, np.ones(alphabet, np.int64), range_coder.STEP)
    raise reader.error(f"unknown kind {kind} of a block of symbols, or one not allowed here")


def _read_table(reader: Reader, alphabet: int, m: int) -> np.ndarray:
    levels = _level_weights(m)
    weights = levels[_read_plain(reader, alphabet, levels.size)]
    if not weights.any():
        raise reader.error("the table of a block of symbols has no symbol")
    return weights


def _read_lanes(reader: Reader, count: int, alphabet: int) -> np.ndarray:
    size = lanes.group_size(alphabet)
    bits = reader.take(1, "the logarithm of the number of lanes")[0]
    if bits > lanes.MOST_LANES_BITS or 1 << bits > -(-count // size):
        raise reader.error(f"2**{bits} lanes for {count:,} symbols")
    shares = lanes.frequencies(_read_table(reader, alphabet**size, _FINEST))
    number = reader.varint(len(reader.rest()) // 2, "the number of words")
    states = np.frombuffer(reader.take(4 << bits, "the states of lanes"), "<u4")
    words = np.frombuffer(reader.take(2 * number, "the words of lanes"), "<u2")
    return lanes.decode(reader, count, alphabet, shares, lanes.Coded(states, words))


def _read_words(reader: Reader, count: int, weights: np.ndarray, step: int) -> np.ndarray:
    words = reader.varint(len(reader.rest()), "the number of range-coded words")
    data = reader.take(4 * words, "range-coded words")
    return range_coder.decode(reader, data, count, weights, step)


def _write_plain(symbols: np.ndarray, alphabet: int) -> bytes:
    if (symbols == symbols[0]).all():
        return _constant(symbols)
    return min(_packed(symbols, alphabet), _adaptive(symbols, alphabet), key=len)


def _constant(symbols: np.ndarray) -> bytes:
    return bytes([CONSTANT]) + varint(int(symbols[0]))


def _packed(symbols: np.ndarray, alphabet: int) -> bytes:
    return bytes([PACKED]) + pack(symbols, (alphabet - 1).bit_length())


def _adaptive(symbols: np.ndarray, alphabet: int) -> bytes:
    words = range_coder.encode(symbols, np.ones(alphabet, np.int64), range_coder.STEP)
    return bytes([ADAPTIVE]) + varint(len(words) // 4) + words


def _static(symbols: np.ndarray, counts: np.ndarray, m: int) -> bytes:
    weights, head = _table(counts, m)
    words = range_coder.encode(symbols, weights, 0)
    return bytes([STATIC + m]) + head + varint(len(words) // 4) + words


def _quick(symbols: np.ndarray, alphabet: int) -> bytes | None:
    """Returns the symbols in lanes or packed, or `None` if that takes much more than it has to."""
    pieces = np.array_split(symbols, _PIECES)
    least = sum(information.bytes_of(lanes.count(p, alphabet)) for p in pieces)
    packed = -(-symbols.size * (alphabet - 1).bit_length() // 8)
    if 256 * packed <= 257 * least:
        return _packed(symbols, alphabet)
    size = lanes.group_size(alphabet)
    bits = lanes.lanes_bits(least, -(-symbols.size // size))
    if bits < _FEWEST_LANES_BITS:
        return None
    block = _in_lanes(lanes.grouped(symbols, alphabet), alphabet**size, bits)
    return block if 128 * len(block) <= 129 * least else None


def _in_lanes(groups: np.ndarray, alphabet: int, bits: int) -> bytes:
    weights, head = _table(lanes.count(groups, alphabet), _FINEST)
    coded = lanes.encode(groups, lanes.frequencies(weights), 1 << bits)
    return bytes([LANES, bits]) + head + varint(coded.words.size) + coded.to_bytes()


def _table(counts: np.ndarray, m: int) -> tuple[np.ndarray, bytes]:
    """Returns the weights that a table says of these counts, and the table as a block."""
    levels = _level_weights(m)
    # The last level that is not above the count; zero for none.
    table = np.searchsorted(levels, counts << m, side="right") - 1
    return levels[table], _write_plain(table.astype(np.uint16), levels.size)


def _level_weights(m: int) -> np.ndarray:
    """Returns int64 `[1 + 32 * 2**m]`: 0, then `2**m` equal steps in each doubling from `2**m`."""
    level = np.arange(32 << m, dtype=np.int64)
    return np.concatenate([[0], ((1 << m) + (level & ((1 << m) - 1))) << (level >> m)])
