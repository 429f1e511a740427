"""Which numbers of a weight make one output channel of its layer: the one table of it.

`u` units, `g` gates of each; a unit's number is its channel in the layer's output.

| layer | weight | unit |
| --- | --- | --- |
| `Dense`, `Conv1D` to `3D`, with groups or without | kernel `[..., in / groups, out]` | `out` |
| `Conv1DTranspose` to `3D` | kernel `[..., out, in]` | `out` |
| `DepthwiseConv1D`, `2D` | kernel `[..., in, multiplier]` | `in * multiplier` pairs |
| `SeparableConv1D`, `2D` | depthwise kernel `[..., in, multiplier]` | the same, of the inner channels |
| | pointwise kernel `[..., in * multiplier, out]` | `out` |
| `EinsumDense`, so attention's projections | kernel `[dim, heads, size]` | every axis that is one of the output: `heads * size` pairs |
| `LSTM`, `GRU`, `SimpleRNN`, `ConvLSTM1D` to `3D`, own cells with a `recurrent_kernel` | kernel `[..., in, g * u]`, recurrent kernel `[..., u, g * u]`, bias `[..., g * u]` | `u`: the columns of all its gates, in all of them |
| `Embedding` | embeddings `[words, dim]` | `dim` |
| any | bias | each number |
| any other | | the last axis |
"""  # noqa: E501  (a table)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from smh.doors.weight_roles import Role, held_as, role_of
from smh.typing import Shape


@dataclass(frozen=True, eq=False)
class Units:
    """How the numbers of a weight are shared out among units.

    Attributes:
        number: int, of the weight's rank, with 1 for each axis along which the unit stays the
            same: the unit of each number, 0 to below `count`.
        count: how many units there are.
        of_output: whether the units are known to be the layer's output channels, in their order:
            then those of two weights of a layer with equal counts are the same.
    """

    number: np.ndarray
    count: int
    of_output: bool = True

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the weight that tell units apart, from the front."""
        return tuple(axis for axis, length in enumerate(self.number.shape) if length > 1)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum over each unit's numbers, `[count]`, float64.

        Args:
            values: of the weight's shape.
        """
        same = tuple(axis for axis, length in enumerate(self.number.shape) if length == 1)
        within = values.sum(axis=same, keepdims=True, dtype="float64")
        return np.bincount(self.number.ravel(), weights=within.ravel(), minlength=self.count)

    def spread(self, units: np.ndarray, shape: Shape) -> np.ndarray:
        """Returns what `units` `[count]` says of each unit for each number of the weight."""
        return np.broadcast_to(units[self.number], shape).copy()


def units_of(variable: keras.Variable, owners: Sequence[keras.Layer]) -> Units:
    """Returns the units of a weight.

    Args:
        variable: stored or virtual.
        owners: the layers that track it, the first of which counts. A pool's factor has no output
            channel: its units are those of its last axis.

    Cost: a whole number for each unit, or for each number of a bias.
    """
    shape, layer = tuple(variable._shape), owners[0]
    for kinds, rule in _RULES:
        if isinstance(layer, kinds):
            found = rule(layer, held_as(layer, variable), shape)
            if found is not None:
                return found
    role = role_of(variable, owners)
    axes = range(len(shape)) if role is Role.BIAS else (len(shape) - 1,)
    return _along(axes, shape, of_output=role is not Role.OTHER)


def _along(axes: Sequence[int], shape: Shape, of_output: bool = True) -> Units:
    """A unit for each index into `axes`, counted row by row."""
    kept = tuple(n if axis in axes else 1 for axis, n in enumerate(shape))
    count = math.prod(kept)
    return Units(np.arange(count).reshape(kept), count, of_output)


def _transposed(layer: Any, names: Sequence[str], shape: Shape) -> Units | None:
    return _along((len(shape) - 2,), shape) if "kernel" in names else None


def _depthwise(layer: Any, names: Sequence[str], shape: Shape) -> Units | None:
    if "kernel" in names:
        return _along((len(shape) - 2, len(shape) - 1), shape)
    return None


def _separable(layer: Any, names: Sequence[str], shape: Shape) -> Units | None:
    if "depthwise_kernel" in names:
        return _along((len(shape) - 2, len(shape) - 1), shape, of_output=False)
    return None


def _einsum(layer: Any, names: Sequence[str], shape: Shape) -> Units | None:
    if "kernel" not in names:
        return None
    operands, output = layer.equation.split("->")
    letters = operands.split(",")[1].strip()
    return _along([i for i, letter in enumerate(letters) if letter in output], shape)


def _recurrent(cell: Any, names: Sequence[str], shape: Shape) -> Units | None:
    """Gates lie side by side on the last axis: `[gate 0 | gate 1 | ...]`, each of all units."""
    recurrent = getattr(cell, "recurrent_kernel", None)  # [..., units, gates * units]
    if recurrent is None or not {"kernel", "recurrent_kernel", "bias"} & set(names):
        return None
    units = recurrent.shape[-2]
    if shape[-1] % units:
        return None
    number = np.arange(shape[-1]) % units
    return Units(number.reshape([1] * (len(shape) - 1) + [-1]), units)


Rule = Callable[[Any, Sequence[str], Shape], Units | None]
# A rule gets a layer, the names under which it holds a weight, and the weight's shape; `None` where
# it says nothing of that weight. What no rule says is at the end of `units_of`.
_RULES: tuple[tuple[tuple[type, ...], Rule], ...] = (
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    ((layers.EinsumDense,), _einsum),
    ((keras.Layer,), _recurrent),  # of the cells that have a recurrent kernel
)
