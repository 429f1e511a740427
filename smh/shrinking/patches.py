"""The patches that a kernel looks at: of each output place the inputs that it multiplies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smh.typing import Shape


@dataclass(frozen=True)
class Sliding:
    """How a kernel slides over its input, one number for each spatial axis.

    Attributes:
        size: of the kernel.
        strides: between output places; of a transposed one between input places.
        dilation: between the kernel's taps.
        padding: 'valid', 'same' or 'causal'.
        transposed: whether it spreads its input instead of gathering it.
        output_padding: of a transposed one, `None` or a number for each axis.
    """

    size: Shape
    strides: Shape
    dilation: Shape
    padding: str
    transposed: bool = False
    output_padding: Shape | None = None

    def __post_init__(self):
        if self.padding not in ("valid", "same", "causal"):
            raise ValueError(f"unknown padding {self.padding!r}")

    def outputs(self, spatial: Sequence[int]) -> Shape:
        """The output's spatial shape."""
        return tuple(self._axis(i, n)[0] for i, n in enumerate(spatial))

    def _axis(self, axis: int, n: int) -> tuple[int, int]:
        """How many output places there are along an axis, and what is padded before."""
        stride = self.strides[axis]
        reach = (self.size[axis] - 1) * self.dilation[axis] + 1
        if self.transposed:
            return self._transposed_axis(axis, n, stride, reach)
        if self.padding == "valid":
            return max(0, (n - reach) // stride + 1), 0
        if self.padding == "causal":
            return (n - 1) // stride + 1, reach - 1
        count = -(-n // stride)
        return count, max(0, (count - 1) * stride + reach - n) // 2

    def _transposed_axis(self, axis: int, n: int, stride: int, reach: int) -> tuple[int, int]:
        """As Keras crops, see `keras.src.backend.common.backend_utils`."""
        extra = None if self.output_padding is None else self.output_padding[axis]
        if self.padding == "valid":
            return (n - 1) * stride + reach + (
                max(0, stride - reach) if extra is None else extra
            ), 0
        if extra is None:
            count, padded = n * stride, stride + reach - 2
        else:
            padded = reach + reach % 2 - 2 + extra
            count = (n - 1) * stride + reach % 2 + extra
        return count, reach - 1 - min(padded // 2 + padded % 2, reach - 1)


def patches(x: np.ndarray, how: Sliding, places: np.ndarray) -> np.ndarray:
    """Returns the input numbers that each of some output places is made from.

    Args:
        x: `[batch, *spatial, channels]`.
        how: how the kernel slides.
        places: which of the `batch * prod(outputs)` output places, in row-major order: `[rows]`.

    Returns:
        `[rows, *size, channels]`, zero outside of the input.

    Cost: memory of what is returned.
    """
    spatial = x.shape[1:-1]
    example, *at = np.unravel_index(places, (len(x), *how.outputs(spatial)))
    indices, inside = [], np.ones((len(places), *how.size), bool)
    for axis, n in enumerate(spatial):
        index, fits = _indices(how, axis, n, at[axis])
        shape = [len(places), *(1 for _ in spatial)]
        shape[1 + axis] = how.size[axis]
        indices.append(index.reshape(shape))
        inside &= fits.reshape(shape)
    rows = x[(example.reshape(-1, *(1 for _ in spatial)), *indices)]
    rows[~inside] = 0
    return rows


def _indices(how: Sliding, axis: int, n: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place and tap the index of the input, and whether there is one."""
    _, before = how._axis(axis, n)
    taps = np.arange(how.size[axis]) * how.dilation[axis]
    if not how.transposed:
        index = at[:, None] * how.strides[axis] + taps - before
        return index.clip(0, n - 1), (index >= 0) & (index < n)
    spread = at[:, None] + before - taps
    index = spread // how.strides[axis]
    fits = (spread % how.strides[axis] == 0) & (index >= 0) & (index < n)
    return index.clip(0, n - 1), fits
