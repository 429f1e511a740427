"""Integers of 2 to 8 bits times a scale: of the whole tensor, of each row or of each column."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from smh.coding import symbols
from smh.coding.axes import along, axis_of, scale_count
from smh.coding.floats import quantisable, read_floats, write_floats
from smh.coding.payload import Reader
from smh.coding.spec import check_keys, check_range, check_shape
from smh.errors import ArgumentError

_PER = ("tensor", "row", "column")
_SCALES = ("float16", "float32")
_SLAB = 1 << 16  # numbers that are rounded at once
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Uniform:
    """Stores `round(w / scale)`; decodes to `integer * scale` in float32.

    Args:
        bits: 2 to 8. The integers are `-2**(bits - 1) .. 2**(bits - 1) - 1`.
        per: what shares a scale: the 'tensor', a 'row' (index of the first axis) or a 'column'
            (index of the last axis: a layer's outputs).
        scale: the scales (one, or one for each row or column). Needed if the array to encode
            already holds the integers. By default the smallest with which no number is cut off
            at `2**(bits - 1) - 1`, so the grid is symmetric; a row of zeros has scale 0.
        scale_dtype: 'float16' or 'float32'; by default the given scales' own, else 'float16'.
        coder: 'range', 'huffman' or 'packed'.
    """

    bits: int
    per: str = "tensor"
    scale: Any = None
    scale_dtype: str | None = None
    coder: str = "range"

    def encode(self, array: np.ndarray) -> tuple[dict, bytes]:
        """Returns spec and payload."""
        self._check(array)
        half = 1 << (self.bits - 1)
        if array.dtype.kind in "iu":
            if self.scale is None:
                raise ArgumentError("Integers are stored with their `scale`, and none was given.")
            scale = self._given_scale(array.shape)
            levels = self._levels(array)
        else:
            array = quantisable(array)
            given = self.scale is not None
            scale = self._given_scale(array.shape) if given else self._fitted_scale(array)
            levels = _rounded(array, _spread(scale, self.per, array.ndim), half)
        _check_product(float(scale.max(initial=0)), half, ArgumentError)
        spec = {
            "bits": self.bits,
            "coding": "uniform",
            "per": self.per,
            "scale": scale.dtype.name,
            "shape": list(array.shape),
        }
        return spec, write_floats(scale) + symbols.write(levels.ravel(), 2 * half, self.coder)

    def _levels(self, integers: np.ndarray) -> np.ndarray:
        half = 1 << (self.bits - 1)
        if integers.size and not -half <= integers.min() <= integers.max() < half:
            raise ArgumentError(
                f"{self.bits} bits hold {-half} to {half - 1}, got integers from "
                f"{integers.min()} to {integers.max()}."
            )
        return (integers.astype(np.int16) + half).astype(np.uint8)

    def _check(self, array: np.ndarray) -> None:
        symbols.check_coder(self.coder)
        if not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise ArgumentError(f"bits must be 2 to 8, got {self.bits!r}.")
        if self.per not in _PER:
            raise ArgumentError(f"per must be one of {', '.join(_PER)}, got {self.per!r}.")
        if self.per != "tensor" and array.ndim < 2:
            raise ArgumentError(
                f"A scale for each {self.per} needs an array of rank 2 or more, got shape "
                f"{array.shape}. Use per='tensor'."
            )
        if self.scale_dtype not in (None, *_SCALES):
            raise ArgumentError(
                f"scale_dtype must be 'float16' or 'float32', got {self.scale_dtype!r}."
            )

    def _given_scale(self, shape: tuple[int, ...]) -> np.ndarray:
        given = np.asarray(self.scale)
        own = given.dtype.name if given.dtype.name in _SCALES else "float32"
        with np.errstate(over="ignore"):
            scale = given.astype(self.scale_dtype or own).ravel()
        expected = scale_count(shape, self.per)
        if scale.size != expected or not np.isfinite(scale).all() or (scale < 0).any():
            raise ArgumentError(
                f"{expected:,} finite scales of at least 0 expected (per {self.per}, shape "
                f"{shape}), got {given.size:,} from {given.min(initial=np.inf)} to "
                f"{given.max(initial=-np.inf)}, stored as {scale.dtype}."
            )
        return scale

    def _fitted_scale(self, array: np.ndarray) -> np.ndarray:
        kept = axis_of(self.per, array.ndim)
        axes = tuple(axis for axis in range(array.ndim) if axis != kept)
        largest = np.abs(array).max(axis=axes, initial=0)
        exact = np.asarray(largest, np.float64).reshape(-1) / ((1 << (self.bits - 1)) - 1)
        dtype = np.dtype(self.scale_dtype or "float16")
        with np.errstate(over="ignore"):
            scale = exact.astype(dtype)
            # Rounded up: no number is cut off, and a tiny one does not get scale 0.
            scale = np.where(scale < exact, np.nextafter(scale, dtype.type(np.inf)), scale)
        if not np.isfinite(scale).all():
            raise ArgumentError(
                f"A scale of {exact.max():.3g} does not fit in {dtype}; "
                "use scale_dtype='float32', or store the array with `Raw()`."
            )
        return scale


def layout(spec: Mapping) -> str:
    """Checks the spec; returns the name of the decoded dtype."""
    check_keys(spec, bits=int, coding=str, per=_PER, scale=_SCALES, shape=list)
    check_range(spec, "bits", 2, 8)
    return "float32"


def decode(spec: Mapping, reader: Reader) -> np.ndarray:
    """Returns the array."""
    shape, half = check_shape(spec), 1 << (spec["bits"] - 1)
    if spec["per"] != "tensor" and len(shape) < 2:
        raise reader.error(f"a scale for each {spec['per']} of shape {list(shape)}")
    scale = read_floats(reader, scale_count(shape, spec["per"]), spec["scale"], "scales")
    if (scale < 0).any():
        raise reader.error("a scale is negative")
    _check_product(float(scale.max(initial=0)), half, reader.error)
    levels = symbols.read(reader, math.prod(shape), 2 * half)
    array = levels.astype(np.float32).reshape(shape)
    array -= half
    array *= _spread(scale, spec["per"], len(shape))
    return array


def _spread(scale: np.ndarray, per: str, rank: int) -> np.ndarray:
    """Returns the scales in a shape that broadcasts against the tensor's."""
    return scale.reshape(along(axis_of(per, rank), rank))


def _rounded(array: np.ndarray, scale: np.ndarray, half: int) -> np.ndarray:
    """Returns the levels of `array / scale`, uint8, slab by slab of the first axis.

    Millions of numbers at once would go through the memory once for each operation.
    """
    levels = np.empty(array.shape, np.uint8)
    step = np.broadcast_to(np.where(scale > 0, scale, 1).astype(np.float32), array.shape)
    kept = np.broadcast_to(scale > 0, array.shape)
    rows = array.shape[0] if array.ndim else 1
    thick = max(1, _SLAB * rows // max(1, array.size))
    for start in range(0, rows, thick):
        slab = slice(start, start + thick) if array.ndim else ()
        with np.errstate(over="ignore"):  # by a given scale that is far too small
            whole = array[slab] / step[slab]
        whole = np.clip(np.rint(whole), -half + 1, half - 1) * kept[slab]
        levels[slab] = whole + half
    return levels


def _check_product(largest: float, half: int, error) -> None:
    if largest * half > _LARGEST:
        raise error(f"a scale of {largest:.3g} times {half} is infinite in float32")
