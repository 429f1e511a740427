"""Numbers as they are, little-endian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smh.coding.floats import narrow_bits, widen, widen_bits
from smh.coding.payload import Reader
from smh.coding.spec import check_keys, check_shape
from smh.errors import ArgumentError

# bfloat16 is the upper half of a float32; NumPy has no such type.
_ITEM_SIZES = {
    **{name: np.dtype(name).itemsize for name in ("bool", "float16", "float32", "float64")},
    **{f"{sign}int{8 * size}": size for sign in ("", "u") for size in (1, 2, 4, 8)},
    "bfloat16": 2,
}


@dataclass(frozen=True)
class Raw:
    """Stores every number in full.

    Args:
        dtype: the type to store; by default the array's own. To another floating-point type, the
            numbers are rounded to the nearest (ties to even), and one that is too large is an
            error; any other change of type must be exact. 'bfloat16' decodes to float32.

    NaNs, infinities and the sign of zero come back bit for bit if the type stays the same.
    """

    dtype: str | None = None

    def encode(self, array: np.ndarray) -> tuple[dict, bytes]:
        """Returns spec and payload."""
        own = array.dtype.name
        dtype = self.dtype or own
        for name in (own, dtype):
            if name not in _ITEM_SIZES:
                raise ArgumentError(
                    f"dtype {name} cannot be stored, only {', '.join(sorted(_ITEM_SIZES))}."
                )
        if dtype != own:
            stored = _converted(widen(array), dtype)
        else:
            stored = array.view(np.uint16) if own == "bfloat16" else array
        spec = {"coding": "raw", "dtype": dtype, "shape": list(array.shape)}
        return spec, stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def item_size(dtype: str) -> int:
    """Bytes of one stored number."""
    return _ITEM_SIZES[dtype]


def layout(spec: Mapping) -> str:
    """Checks the spec; returns the name of the decoded dtype."""
    check_keys(spec, coding=str, dtype=tuple(sorted(_ITEM_SIZES)), shape=list)
    return "float32" if spec["dtype"] == "bfloat16" else spec["dtype"]


def decode(spec: Mapping, reader: Reader) -> np.ndarray:
    """Returns the array."""
    shape, dtype = check_shape(spec), spec["dtype"]
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")
    count = int(np.prod(shape, dtype=object))
    data = reader.take(count * stored.itemsize, f"{count:,} numbers of type {dtype}")
    if dtype == "bool" and count and np.frombuffer(data, np.uint8).max() > 1:
        raise reader.error("a bool is neither 0 nor 1")
    array = np.frombuffer(data, stored).reshape(shape)
    if dtype == "bfloat16":
        return widen_bits(array)
    return array.astype(stored.newbyteorder("="))


def _converted(array: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "bfloat16":
            stored = narrow_bits(array)
            back = widen_bits(stored)
        else:
            stored = back = array.astype(dtype)
        if array.dtype.kind == "f" and back.dtype.kind == "f":
            wrong = np.isfinite(array) & ~np.isfinite(back)
        else:
            wrong = back.astype(array.dtype) != array
    if wrong.any():
        raise ArgumentError(
            f"{np.count_nonzero(wrong):,} of {array.size:,} numbers do not fit in {dtype}, "
            f"for example {array[wrong].flat[0]}. Store them as {array.dtype}."
        )
    return stored
