"""Floating-point arrays: bfloat16 without its package, and what quantisers may take."""

from __future__ import annotations

import numpy as np

from smh.coding.payload import Reader
from smh.errors import ArgumentError


def widen(array: np.ndarray) -> np.ndarray:
    """Returns a bfloat16 array as float32, and any other as it is."""
    return widen_bits(array.view(np.uint16)) if array.dtype.name == "bfloat16" else array


def widen_bits(bits: np.ndarray) -> np.ndarray:
    """Returns bfloat16, given as uint16, as float32: they are its upper half."""
    return (np.asarray(bits, np.uint32) << np.uint32(16)).view(np.float32)


def narrow_bits(array: np.ndarray) -> np.ndarray:
    """Returns float32 as bfloat16 bits, rounded to nearest, ties to even; a NaN stays one."""
    bits = np.asarray(array, np.float32).view(np.uint32)
    upper = bits >> np.uint32(16)  # typed: NumPy 1 makes floats of scalars of other types
    # Half a unit of the last place kept, less one where that place is even. uint64, because the
    # largest NaN would wrap around to zero.
    half = np.uint64(0x7FFF) + (upper & np.uint32(1)).astype(np.uint64)
    rounded = (bits.astype(np.uint64) + half) >> np.uint64(16)
    quiet_nan = upper | np.uint32(0x0040)
    return np.where(np.isnan(array), quiet_nan, rounded).astype(np.uint16)


def quantisable(array: np.ndarray) -> np.ndarray:
    """Returns a float array as float32 (float64 stays); raises if it has NaN or infinities."""
    array = widen(array)
    if array.dtype.kind != "f":
        raise ArgumentError(f"Only floating-point numbers can be quantised, got {array.dtype}.")
    if array.dtype != np.float64:
        array = array.astype(np.float32, copy=False)
    finite = np.isfinite(array)
    if not finite.all():
        where = np.unravel_index(int(np.argmin(finite)), array.shape)
        raise ArgumentError(
            f"{array.size - np.count_nonzero(finite):,} of {array.size:,} numbers are NaN or "
            f"infinite, the first at index {[int(i) for i in where]}: they have no place on a "
            "grid. Mend the array, or store it with `Raw()`."
        )
    return array


def read_floats(reader: Reader, count: int, dtype: str, what: str) -> np.ndarray:
    """Returns `count` stored float16 or float32 numbers as float32; all must be finite."""
    stored = np.dtype(dtype).newbyteorder("<")
    values = np.frombuffer(reader.take(count * stored.itemsize, what), stored).astype(np.float32)
    if not np.isfinite(values).all():
        raise reader.error(f"{what} must be finite")
    return values


def write_floats(values: np.ndarray) -> bytes:
    """Returns float16 or float32 numbers in little-endian order."""
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
