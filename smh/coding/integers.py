"""A block of signed integers of any range, in whichever way takes the fewest bytes.

The first byte says how: `PLAIN` shifts them to begin at zero, for the coders of `symbols`, and
`WAVEFRONT` is the model of `wavefront`. Both are made and the shorter is kept, so that a context
is used only where it pays, on the integers at hand. Of millions of integers a part says whether it
does: a wavefront takes ten times as long as `lanes`.
"""

from __future__ import annotations

import hashlib
import math
import threading

import numpy as np

from smh.coding import symbols, wavefront_block
from smh.coding.packed import with_low_bits, write_low_bits
from smh.coding.payload import Reader, signed, unsigned, varint
from smh.coding.wavefront import LARGEST

PLAIN, WAVEFRONT = range(2)  # the latter plus how many of the lowest bits are stored apart
_PART = 1 << 18  # of many integers, on which a wavefront has to win
_ALPHABET_BITS = 12  # of the plain kind: `symbols` takes alphabets of up to 4096
_MOST, _MOST_BYTES = 256, 2**24  # of blocks that are remembered
_blocks: dict[tuple, bytes] = {}  # by a checksum of the integers, their shape and the coder
_lock = threading.Lock()


def write(integers: np.ndarray, coder: str = "range") -> bytes:
    """Returns a block of integers.

    The last ones are remembered: what is measured and then written is coded once.

    Args:
        integers: whole numbers of any shape, below `2**24` in size. The shape says which are
            neighbours: the last axis longer than one is the columns of a matrix.
        coder: 'range', 'huffman' or 'packed'; the last two take the plain kind.

    Returns:
        The bytes: none for no integers.
    """
    if not integers.size:
        return b""
    integers = np.ascontiguousarray(integers, np.int32)
    key = hashlib.blake2b(integers.data, digest_size=32).digest(), integers.shape, coder
    block = _blocks.get(key)
    if block is None:
        flat = integers.ravel()
        ways = [wavefront(flat, settings) for settings in wavefronts(integers, coder)]
        block = min([write_plain(flat, coder), *ways], key=len)
        _remember(key, block)
    return block


def _remember(key: tuple, block: bytes) -> None:
    """Keeps a block in the place of those that were made first."""
    with _lock:
        _blocks[key] = block
        while len(_blocks) > _MOST or sum(map(len, _blocks.values())) > _MOST_BYTES:
            del _blocks[next(iter(_blocks))]


def read(reader: Reader, count: int) -> np.ndarray:
    """Returns the `count` integers of the block at the reader, int32 `[count]`."""
    if not count:
        return np.zeros(0, np.int32)
    kind = reader.take(1, "the kind of a block of integers")[0]
    if kind == PLAIN:
        return _read_plain(reader, count)
    if WAVEFRONT <= kind <= WAVEFRONT + wavefront_block.MOST_SHIFT:
        return wavefront_block.read(reader, count, kind - WAVEFRONT)
    raise reader.error(f"unknown kind {kind} of a block of integers")


def wavefronts(integers: np.ndarray, coder: str) -> list[wavefront_block.Settings]:
    """Returns the settings of wavefronts that are worth trying, which may be none.

    Of `symbols.MANY` integers or more it is the one that takes a hundredth less than the plain kind
    on a part of them, if it does.
    """
    if coder != "range" or not wavefront_block.worth_a_try(integers.ravel()):
        return []
    if integers.size < symbols.MANY:
        return wavefront_block.choices(integers)
    part = _part(integers.astype(np.int32))
    flat = part.ravel()
    if not wavefront_block.worth_a_try(flat):
        return []
    lengths = [len(wavefront(flat, settings)) for settings in wavefront_block.choices(part)]
    if 100 * min(lengths) > 99 * len(write_plain(flat, coder)):
        return []
    found = wavefront_block.choices(integers)
    return [found[min(lengths.index(min(lengths)), len(found) - 1)]]


def _part(integers: np.ndarray) -> np.ndarray:
    """Returns the middle of the longest axes, so that neighbours stay neighbours."""
    sides = list(integers.shape)
    while math.prod(sides) > _PART:
        longest = sides.index(max(sides))
        sides[longest] = -(-sides[longest] // 2)
    begins = [(full - side) // 2 for full, side in zip(integers.shape, sides, strict=True)]
    return integers[tuple(slice(b, b + side) for b, side in zip(begins, sides, strict=True))]


def wavefront(flat: np.ndarray, settings: wavefront_block.Settings) -> bytes:
    """Returns a block of the wavefront kind."""
    encoded = wavefront_block.encode(flat, settings)
    kind = bytes([WAVEFRONT + settings.shift])
    return kind + wavefront_block.write(flat, settings, encoded)


def low_bits(flat: np.ndarray) -> int:
    """Returns how many of the lowest bits the plain kind stores as they are."""
    return max(0, int(flat.max() - flat.min()).bit_length() - _ALPHABET_BITS)


def write_plain(flat: np.ndarray, coder: str) -> bytes:
    """Returns a block of the plain kind."""
    least = int(flat.min())
    span = int(flat.max()) - least
    low = low_bits(flat)
    shifted = (flat - least).astype(np.uint32)
    high = (shifted >> np.uint32(low)).astype(np.uint16)
    head = bytes([PLAIN]) + varint(unsigned(least)) + varint(span)
    block = symbols.write(high, (span >> low) + 1, coder)
    return head + block + write_low_bits(shifted, low)


def _read_plain(reader: Reader, count: int) -> np.ndarray:
    least = signed(reader.varint(2 * LARGEST, "the smallest integer"))
    span = reader.varint(2 * LARGEST, "the integers' range")
    if abs(least) >= LARGEST or least + span >= LARGEST:
        raise reader.error(f"integers from {least:,} to {least + span:,}; below 2**24 in size")
    low = max(0, span.bit_length() - _ALPHABET_BITS)
    found = symbols.read(reader, count, (span >> low) + 1).astype(np.int32)
    found = with_low_bits(reader, found, low)
    if low and found.max() > span:
        raise reader.error(f"an integer is {found.max() - span:,} above the largest")
    found += least
    return found
