"""Symbols as plain bits: each `bits` wide, highest bit first, zero bits up to the next byte."""

from __future__ import annotations

import numpy as np

from smh.coding.payload import Reader

# A multiple of 8, so that every chunk but the last ends at a byte.
_CHUNK = 1 << 18


def symbol_dtype(alphabet: int) -> type[np.unsignedinteger]:
    """Returns the smallest unsigned type that holds the symbols `0 .. alphabet - 1`."""
    return np.uint8 if alphabet <= 256 else np.uint16


def pack(symbols: np.ndarray, bits: int) -> bytes:
    """Returns the symbols (rank 1) in `ceil(size * bits / 8)` bytes."""
    if bits == 8:
        return symbols.astype(np.uint8).tobytes()
    if bits == 4:
        even = symbols[::2].astype(np.uint8) << 4
        even[: symbols.size // 2] |= symbols[1::2].astype(np.uint8)
        return even.tobytes()
    places = np.arange(bits - 1, -1, -1, dtype=symbols.dtype)
    return b"".join(
        np.packbits(((symbols[i : i + _CHUNK, None] >> places) & 1).astype(np.uint8)).tobytes()
        for i in range(0, symbols.size, _CHUNK)
    )


def unpack(reader: Reader, count: int, bits: int) -> np.ndarray:
    """Returns the `count` symbols that `pack` wrote, as uint8 or uint16."""
    data = np.frombuffer(reader.take(-(-count * bits // 8), "packed symbols"), np.uint8)
    dtype = symbol_dtype(1 << bits)
    if bits == 8:
        return data.copy()
    if bits == 4:
        return _nibbles(reader, data, count)
    places = np.arange(bits - 1, -1, -1, dtype=dtype)
    out = np.empty(count, dtype)
    for i in range(0, count, _CHUNK):
        size = min(_CHUNK, count - i)
        chunk = np.unpackbits(data[i * bits // 8 : -(-(i + size) * bits // 8)])
        if chunk[size * bits :].any():
            raise reader.error("the bits behind the last packed symbol are not zero")
        out[i : i + size] = (chunk[: size * bits].reshape(size, bits).astype(dtype) << places).sum(
            axis=1, dtype=dtype
        )
    return out


def _nibbles(reader: Reader, data: np.ndarray, count: int) -> np.ndarray:
    out = np.empty((data.size, 2), np.uint8)
    np.right_shift(data, 4, out=out[:, 0])
    np.bitwise_and(data, 15, out=out[:, 1])
    if out.reshape(-1)[count:].any():
        raise reader.error("the bits behind the last packed symbol are not zero")
    return out.reshape(-1)[:count]


def write_low_bits(integers: np.ndarray, bits: int) -> bytes:
    """Returns the lowest bits of integers (rank 1), packed."""
    if not bits:
        return b""
    return pack((integers & ((1 << bits) - 1)).astype(np.uint16), bits)


def with_low_bits(reader: Reader, high: np.ndarray, bits: int) -> np.ndarray:
    """Returns int32 integers whose lowest bits are read; `high`, the rest, is overwritten."""
    if bits:
        high <<= bits
        high |= unpack(reader, high.size, bits)
    return high
