"""What a file stores of a rounded factor or weight: integers, scales, and how to code them."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from smh.coding import Uniform
from smh.coding.axes import axis_of
from smh.errors import ArgumentError
from smh.parametrizations.rounded import FakeQuantized, Grid, fit_grid
from smh.typing import Tensor
from smh.virtual_variable import wrapping_of


class Quantized(NamedTuple):
    """A rounded factor as it is stored.

    Attributes:
        integers: int8, in the factor's shape, from `-(2**(bits - 1) - 1)` to `2**(bits - 1) - 1`.
        scales: float32, 1-D: one, or one for each row or column.
        axis: the axis that the scales lie along: 0, the last one, or `None` for one scale.
        coding: what `smh.coding.encode(integers, coding)` needs to store both exactly.
    """

    integers: np.ndarray
    scales: np.ndarray
    axis: int | None
    coding: Uniform


def grid_of(factor: keras.Variable) -> Grid | None:
    """The grid that a factor is rounded to, or `None` if it is not."""
    wrapping = wrapping_of(factor)
    return wrapping.grid if isinstance(wrapping, FakeQuantized) else None


def quantized(factor: keras.Variable) -> Quantized:
    """Returns what an artifact stores of a rounded factor.

    Args:
        factor: one of `pool.core_variables` of a model after `smh.quantize_factors`.

    Returns:
        A `Quantized`. `integers * scales`, the scales along `axis`, is what the model computes
        with, bit for bit.

    Raises:
        ArgumentError: if the factor is not rounded.

    Example:
        >>> stored = quantized(pool.core_variables[0])
        >>> smh.coding.encode(stored.integers, stored.coding)
    """
    wrapping = wrapping_of(factor)
    if not isinstance(wrapping, FakeQuantized):
        raise ArgumentError(
            f"'{factor.path}' is not rounded. Call smh.quantize_factors(model, bits=4) first."
        )
    return _on_grid(wrapping.grid, factor.value)


def rounded_weight(parametrization: FakeQuantized) -> Quantized:
    """Returns what an artifact stores of a weight that `smh.quantize_weights` rounds."""
    return _on_grid(parametrization.grid, parametrization.factor.value)


def rounded_once(weight: np.ndarray, bits: int, path: str) -> Quantized:
    """Rounds the numbers of a factor that was not trained for it, to the grid of least error."""
    return _on_grid(fit_grid(weight, bits, "auto", path), ops.convert_to_tensor(weight))


def _on_grid(grid: Grid, weight: Tensor) -> Quantized:
    scales = grid.scales(weight)
    integers = ops.convert_to_numpy(grid.integers(weight, scales)).astype("int8")
    scales = np.array(ops.convert_to_numpy(scales), "float32").ravel()
    axis = axis_of(grid.per, integers.ndim)
    return Quantized(integers, scales, axis, Uniform(grid.bits, per=grid.per, scale=scales))
