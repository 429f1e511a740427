"""A few values, and for each element the index of one (trained weight sharing)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from smh.coding import symbols
from smh.coding.floats import quantisable, read_floats, write_floats
from smh.coding.payload import Reader
from smh.coding.spec import check_keys, check_range, check_shape
from smh.errors import ArgumentError

_VALUES = ("float16", "float32")


@dataclass(frozen=True, eq=False)
class Codebook:
    """Stores indices into `values`; decodes to `values[index]` in float32.

    Args:
        values: 1 to 4096 numbers. An integer array to encode holds the indices; of a
            floating-point array each element becomes the nearest value (the lower index, of two).
        dtype: 'float16' or 'float32', how the values are stored; by default their own, else
            'float32'.
        coder: 'range', 'huffman' or 'packed'.
    """

    values: Any
    dtype: str | None = None
    coder: str = "range"

    def encode(self, array: np.ndarray) -> tuple[dict, bytes]:
        """Returns spec and payload."""
        symbols.check_coder(self.coder)
        values = self._stored_values()
        if array.dtype.kind in "iu":
            indices = array.ravel()
            if indices.size and not 0 <= indices.min() <= indices.max() < values.size:
                raise ArgumentError(
                    f"A codebook of {values.size} values has indices 0 to {values.size - 1}, "
                    f"got {indices.min()} to {indices.max()}."
                )
        else:
            indices = _nearest(quantisable(array).ravel(), values.astype(np.float64))
        spec = {
            "coding": "codebook",
            "shape": list(array.shape),
            "size": values.size,
            "values": values.dtype.name,
        }
        block = symbols.write(indices.astype(np.uint16), values.size, self.coder)
        return spec, write_floats(values) + block

    def _stored_values(self) -> np.ndarray:
        given = np.asarray(self.values)
        own = given.dtype.name if given.dtype.name in _VALUES else "float32"
        if self.dtype not in (None, *_VALUES):
            raise ArgumentError(f"dtype must be 'float16' or 'float32', got {self.dtype!r}.")
        if given.ndim != 1 or not 1 <= given.size <= symbols.MAX_ALPHABET:
            raise ArgumentError(
                f"A codebook is a vector of 1 to {symbols.MAX_ALPHABET} values, got shape "
                f"{given.shape}."
            )
        with np.errstate(over="ignore"):
            values = given.astype(self.dtype or own)
        if not np.isfinite(values).all():
            raise ArgumentError(f"A codebook's values must be finite in {values.dtype}.")
        return values


def layout(spec: Mapping) -> str:
    """Checks the spec; returns the name of the decoded dtype."""
    check_keys(spec, coding=str, shape=list, size=int, values=_VALUES)
    check_range(spec, "size", 1, symbols.MAX_ALPHABET)
    return "float32"


def decode(spec: Mapping, reader: Reader) -> np.ndarray:
    """Returns the array."""
    shape = check_shape(spec)
    values = read_floats(reader, spec["size"], spec["values"], "codebook values")
    indices = symbols.read(reader, math.prod(shape), spec["size"])
    return values[indices].reshape(shape)


def _nearest(flat: np.ndarray, values: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    above = np.searchsorted(ordered, flat).clip(max=values.size - 1)
    below = (above - 1).clip(min=0)
    is_below = np.abs(flat - ordered[below]) <= np.abs(ordered[above] - flat)
    return order[np.where(is_below, below, above)]
