"""Integers of any range times a step: of the whole tensor, or of each channel of any axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from smh.coding import integers, symbols
from smh.coding.axes import along
from smh.coding.floats import narrow_bits, quantisable, widen_bits
from smh.coding.payload import Reader
from smh.coding.spec import MAX_RANK, check_keys, check_range, check_shape
from smh.coding.wavefront import LARGEST
from smh.errors import ArgumentError

FINEST = 4  # steps of channels are apart by powers of 2**(1 / 4)
MOST_EXPONENT = 255
NO_AXIS = -1
_ROOTS = np.array([0x3F800000, 0x3F9837F0, 0x3FB504F3, 0x3FD744FD], np.uint32).view(np.float32)
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Stepped:
    """Stores `round(w / step)`; decodes to `integer * step` in float32.

    Nothing is cut off: a tensor's integers have whatever range its step gives them. Zero is zero.

    Args:
        step: above 0; stored as bfloat16, to which it is rounded (see `steps`).
        exponents: integers 0 to 255, one for each index of `axis`, whose step is then
            `step * 2**(exponent / 4)`; `None` for one step.
        axis: the axis that has the channels: the last of a kernel, 2 of a depthwise one.
        coder: 'range', 'huffman' or 'packed'.
    """

    step: float
    exponents: Any = None
    axis: int | None = None
    coder: str = "range"

    def encode(self, array: np.ndarray) -> tuple[dict, bytes]:
        """Returns spec and payload."""
        symbols.check_coder(self.coder)
        axis = self._checked_axis(array.shape)
        exponents = None if axis == NO_AXIS else self._checked_exponents(array.shape[axis])
        given = steps(self.step, exponents)
        if array.dtype.kind not in "iu":
            array = quantisable(array)
            with np.errstate(over="ignore"):
                array = np.rint(array / _spread(given, axis, array.ndim).astype(np.float64))
        largest = float(np.abs(array.astype(np.float64)).max(initial=0))
        if largest >= LARGEST:
            raise ArgumentError(
                f"Integers must be below {LARGEST:,} in size, got {largest:,.0f}: the step "
                f"{self.step:.3g} is too fine. Use a larger one."
            )
        check_product(float(given.max(initial=0)), largest, ArgumentError)
        spec = {"axis": axis, "coding": "stepped", "shape": list(array.shape)}
        head = narrow_bits(np.array(self.step, np.float32)).astype("<u2").tobytes()
        if exponents is not None:
            top = int(exponents.max(initial=0))
            head += bytes([top]) + symbols.write(exponents, top + 1, self.coder)
        return spec, head + integers.write(array.astype(np.int32), self.coder)

    def _checked_axis(self, shape: tuple[int, ...]) -> int:
        if (self.exponents is None) != (self.axis is None):
            raise ArgumentError(
                "exponents and axis go together: both for a step of each channel, or none; got "
                f"exponents={self.exponents!r:.80}, axis={self.axis!r}."
            )
        if self.axis is None:
            return NO_AXIS
        if type(self.axis) is not int or not -len(shape) <= self.axis < len(shape):
            raise ArgumentError(
                f"axis must be one of an array of shape {shape}, got {self.axis!r}."
            )
        return self.axis % len(shape)

    def _checked_exponents(self, channels: int) -> np.ndarray:
        given = np.asarray(self.exponents)
        if given.shape != (channels,) or given.dtype.kind not in "iu":
            raise ArgumentError(
                f"{channels:,} integer exponents expected, one for each channel; got shape "
                f"{given.shape} of type {given.dtype}."
            )
        if given.size and not 0 <= given.min() <= given.max() <= MOST_EXPONENT:
            raise ArgumentError(
                f"exponents must be 0 to {MOST_EXPONENT}, got {given.min()} to {given.max()}."
            )
        return given.astype(np.uint16)


def steps(step: float, exponents: Any = None) -> np.ndarray:
    """Returns the steps that a `Stepped` tensor is decoded with, to the last bit.

    Args:
        step: above 0.
        exponents: integers `[channels]`, or `None`.

    Returns:
        float32: `[]`, or `[channels]` with exponents.

    Raises:
        ArgumentError: if the step is not a number above 0 that bfloat16 holds as a normal number.

    Example:
        >>> from smh.coding import steps
        >>> steps(0.1).item(), steps(0.5, [0, 4, 8]).tolist()
        (0.10009765625, [0.5, 1.0, 2.0])
    """
    if not isinstance(step, int | float | np.floating) or not 0 < step < math.inf:
        raise ArgumentError(f"step must be a number above 0, got {step!r}.")
    with np.errstate(over="ignore"):
        stored = widen_bits(narrow_bits(np.array(step, np.float32)))
    if not np.finfo(np.float32).tiny <= stored <= _LARGEST:
        raise ArgumentError(f"step must be a normal number in float32, got {step!r}.")
    if exponents is None:
        return stored.reshape(())
    return channel_steps(stored, np.asarray(exponents))


def channel_steps(stored: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Returns float32 `[channels]`: the stored step times `2**(exponents / 4)`, rounded once."""
    with np.errstate(over="ignore"):
        return np.ldexp(
            (stored * _ROOTS[exponents % FINEST]).astype(np.float32), exponents // FINEST
        ).astype(np.float32)


def nearest_steps(wanted: Any) -> tuple[float, np.ndarray | None]:
    """Returns the step and exponents whose `steps` are nearest to the wanted ones.

    Args:
        wanted: a number above 0, or `[channels]` of them. A zero (a channel of zeros) gets any.

    Returns:
        `step` and `exponents` for `Stepped`; the latter `None` for one number. A channel's step is
        off by at most 2**(1 / 8), 9 %, which changes its integers, not what they can express.

    Example:
        >>> from smh.coding import nearest_steps
        >>> nearest_steps([0.5, 0.0, 1.1])
        (0.5, array([0, 0, 5]))
    """
    wanted = np.asarray(wanted, np.float64)
    if wanted.ndim > 1 or not wanted.size or not np.isfinite(wanted).all() or (wanted < 0).any():
        raise ArgumentError(
            f"wanted must be a number or a vector of numbers above 0, got {wanted}."
        )
    if not wanted.any():
        wanted = np.ones_like(wanted)
    least = float(wanted[wanted > 0].min())
    stored = float(steps(least))
    if wanted.ndim == 0:
        return stored, None
    ratio = np.log2(np.where(wanted > 0, wanted, least) / stored)
    return stored, np.clip(np.rint(FINEST * ratio), 0, MOST_EXPONENT).astype(np.int64)


def layout(spec: Mapping) -> str:
    """Checks the spec; returns the name of the decoded dtype."""
    check_keys(spec, axis=int, coding=str, shape=list)
    check_range(spec, "axis", NO_AXIS, min(MAX_RANK, len(spec["shape"])) - 1)
    return "float32"


def decode(spec: Mapping, reader: Reader) -> np.ndarray:
    """Returns the array."""
    shape, axis = check_shape(spec), spec["axis"]
    bits = np.frombuffer(reader.take(2, "the step"), "<u2")
    given = widen_bits(bits).reshape(())
    if not np.finfo(np.float32).tiny <= given <= _LARGEST:
        raise reader.error(f"the step is {given}, a normal number above 0 expected")
    if axis != NO_AXIS:
        top = reader.take(1, "the largest exponent")[0]
        exponents = symbols.read(reader, shape[axis], top + 1)
        given = channel_steps(given, exponents.astype(np.int64))
    found = integers.read(reader, math.prod(shape))
    largest = float(np.abs(found).max(initial=0))
    check_product(float(given.max(initial=0)), largest, reader.error)
    array = found.astype(np.float32).reshape(shape)
    array *= _spread(given, axis, len(shape))
    return array


def check_product(step: float, largest: float, error) -> None:
    """Raises if a step times an integer is infinite in float32."""
    if not step * max(largest, 1) <= _LARGEST:
        raise error(f"a step of {step:.3g} times {largest:,.0f} is infinite in float32")


def _spread(given: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Returns the steps in a shape that broadcasts against the tensor's."""
    return given if axis == NO_AXIS else given.reshape(along(axis, rank))
