"""Canonical Huffman coding: 4 bits of code length for each symbol, then the codes' bits.

Of two codes of the same length the smaller belongs to the smaller symbol, and shorter codes come
first, so the lengths say everything (as in RFC 1951, section 3.2.2). Both directions work on
arrays: to decode, the successor of *every* bit position is looked up at once, and the chain of
those that are reached is then followed sixteen symbols a step.
"""

from __future__ import annotations

import heapq

import numpy as np

from smh.coding.packed import pack, symbol_dtype, unpack
from smh.coding.payload import Reader

LONGEST = 15  # bits of the longest code, so that a length takes 4 bits

_SYMBOLS_AT_ONCE = 1 << 19
_BYTES_AT_ONCE = 1 << 16
_DOUBLINGS = 4  # the chain is followed 2**4 symbols a step


def encode(symbols: np.ndarray, alphabet: int) -> bytes:
    """Returns code lengths and codes of the symbols (rank 1), of which at least two differ."""
    lengths = code_lengths(np.bincount(symbols, minlength=alphabet))
    codes = _canonical_codes(lengths)
    out = [pack(lengths, 4)]
    carry = np.zeros(0, np.uint8)  # bits that do not fill a byte yet
    for start in range(0, symbols.size, _SYMBOLS_AT_ONCE):
        chunk = symbols[start : start + _SYMBOLS_AT_ONCE]
        size = lengths[chunk].astype(np.int64)
        ends = np.cumsum(size)
        place = np.repeat(ends, size) - 1 - np.arange(ends[-1])  # of each bit in its code
        bits = ((np.repeat(codes[chunk], size) >> place) & 1).astype(np.uint8)
        bits = np.concatenate([carry, bits])
        whole = bits.size // 8 * 8
        out.append(np.packbits(bits[:whole]).tobytes())
        carry = bits[whole:]
    out.append(np.packbits(carry).tobytes())
    return b"".join(out)


def decode(reader: Reader, count: int, alphabet: int) -> np.ndarray:
    """Returns the `count` symbols that `encode` wrote, as uint8 or uint16."""
    lengths = unpack(reader, alphabet, 4)
    of_window, length_of_window = _tables(reader, lengths)
    data = np.frombuffer(reader.rest(), np.uint8)
    if count > 8 * data.size:
        raise reader.error(f"{count:,} Huffman codes do not fit in {data.size:,} bytes")
    out = np.empty(count, symbol_dtype(alphabet))
    done = base = first = end = 0  # symbols written, byte of the chunk, bit of its first code
    while done < count:
        if base >= data.size:
            raise reader.error(f"the Huffman codes end after {done:,} of {count:,} symbols")
        windows = _windows(data[base : base + _BYTES_AT_ONCE + 2], data.size - base)
        step = length_of_window[windows]
        positions, after = _chain(step, first)
        positions = positions[: count - done]
        out[done : done + positions.size] = of_window[windows[positions]]
        done += positions.size
        if done == count:
            end = 8 * base + int(positions[-1]) + int(step[positions[-1]])
        first = after - windows.size
        base += windows.size // 8
    used = -(-end // 8)
    if end > 8 * data.size or data[used - 1] & ((1 << (8 * used - end)) - 1):
        raise reader.error("the last Huffman code is cut off, or not followed by zero bits")
    reader.take(used, "Huffman codes")
    return out


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Returns uint8 `[K]`: the code length of each symbol, 0 for those with count 0.

    Where the best code has one longer than `LONGEST`, the counts are halved until it has not.
    """
    counts = counts.astype(np.int64)
    while True:
        lengths = _unlimited_lengths(counts)
        if lengths.max() <= LONGEST:
            return lengths.astype(np.uint8)
        counts = (counts + 1) // 2  # zero stays zero, one stays one


def _unlimited_lengths(counts: np.ndarray) -> np.ndarray:
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (int(counts[s]), int(s), (int(s),)) for s in np.flatnonzero(counts)
    ]
    heapq.heapify(heap)
    lengths = np.zeros(counts.size, np.int64)
    order = counts.size  # breaks ties: merged nodes come behind symbols, in order of merging
    while len(heap) > 1:
        (a, _, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[list(left + right)] += 1
        heapq.heappush(heap, (a + b, order, left + right))
        order += 1
    return lengths


def _canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """Returns int64 `[K]`: the code of each symbol, in its lowest `lengths[s]` bits."""
    order = _canonical_order(lengths)
    width = 1 << (LONGEST - lengths[order].astype(np.int64))  # share of the window space
    codes = np.zeros(lengths.size, np.int64)
    codes[order] = (np.cumsum(width) - width) // width
    return codes


def _canonical_order(lengths: np.ndarray) -> np.ndarray:
    return np.argsort(lengths, kind="stable")[np.count_nonzero(lengths == 0) :]


def _tables(reader: Reader, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the symbol, and its code's length, for each possible next `LONGEST` bits."""
    order = _canonical_order(lengths)
    width = 1 << (LONGEST - lengths[order].astype(np.int64))
    if width.sum() != 1 << LONGEST or order.size < 2:
        raise reader.error("the Huffman code lengths are not those of a complete code")
    return np.repeat(order, width), np.repeat(lengths[order], width)


def _windows(data: np.ndarray, left: int) -> np.ndarray:
    """Returns the `LONGEST` bits from every bit position of the next chunk on; zeros follow."""
    size = min(_BYTES_AT_ONCE, left)
    padded = np.zeros(size + 2, np.uint32)
    padded[: data.size] = data
    triple = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
    shifts = np.arange(24 - LONGEST, 16 - LONGEST, -1, dtype=np.uint32)
    return ((triple[:, None] >> shifts) & ((1 << LONGEST) - 1)).ravel()


def _chain(step: np.ndarray, first: int) -> tuple[np.ndarray, int]:
    """Returns the positions of all codes of the chunk, and where the next one begins."""
    successor = np.arange(step.size + LONGEST, dtype=np.int64)  # behind the end: itself
    successor[: step.size] += step
    leap = successor
    for _ in range(_DOUBLINGS):
        leap = leap[leap]
    starts = []
    at = first
    while at < step.size:
        starts.append(at)
        at = int(leap[at])
    reached = np.empty((len(starts), 1 << _DOUBLINGS), np.int64)
    reached[:, 0] = starts
    for i in range(1, 1 << _DOUBLINGS):
        reached[:, i] = successor[reached[:, i - 1]]
    positions = reached.ravel()
    return positions[positions < step.size], at
