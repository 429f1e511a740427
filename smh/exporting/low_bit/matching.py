"""Finds the weight that a constant of a converted file was made from. NumPy only.

A converter transposes kernels, merges axes, and multiplies them with the scales of a normalisation
that follows, which are one number for each index of one axis. What it did is found by trying.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

# Relative: a constant is the weight times a scale, after one or two roundings.
_NEAR = 2e-6
_FIRST = 64  # numbers that are looked at before all are


@dataclasses.dataclass(frozen=True)
class Whole:
    """A weight as whole numbers; see `Integers`.

    Attributes:
        path: the weight's.
        numbers: int32, of the weight's shape.
        steps: float32, of a shape that broadcasts against the weight's.
        table: float32 `[k]`, or `None`.
        value: the weight, float32.
    """

    path: str
    numbers: np.ndarray
    steps: np.ndarray
    table: np.ndarray | None
    value: np.ndarray


@dataclasses.dataclass(frozen=True)
class Match:
    """A constant as whole numbers.

    Attributes:
        path: of the weight.
        numbers: int32, of the constant's shape.
        scale: float32, of a shape that broadcasts against it: `numbers * scale` is the constant,
            or `table[numbers] * scale`.
        table: float32 `[k]`, or `None`.
    """

    path: str
    numbers: np.ndarray
    scale: np.ndarray
    table: np.ndarray | None

    @property
    def bits(self) -> int:
        """That the numbers take: unsigned, if there is a table."""
        if self.table is not None:
            return max(1, int(self.table.size - 1).bit_length())
        return 1 + int(np.abs(self.numbers).max(initial=0)).bit_length()


def match(constant: np.ndarray, weights: Sequence[Whole]) -> Match | None:
    """Returns a float constant as the whole numbers of one of `weights`, or `None`.

    Cost: a look at a few numbers for each weight of the same size and each order of its axes; a
    pass over the constant where they fit.
    """
    if constant.dtype != np.float32 or not constant.size:
        return None
    nonzero = np.count_nonzero(constant)
    for weight in weights:
        if weight.value.size == constant.size and np.count_nonzero(weight.value) >= nonzero:
            for layout in _layouts(weight.value.shape, constant.shape):
                factor = _factor(constant, layout(weight.value))
                if factor is not None:
                    return _matched(constant, weight, layout, factor)
    return None


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Another order of the same numbers: merged axes, transposed, and the final shape."""

    merged: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]

    def __call__(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(self.merged).transpose(self.order).reshape(self.shape)


def _layouts(shape: tuple[int, ...], target: tuple[int, ...]) -> Iterator[_Layout]:
    """Every way to merge neighbouring axes and transpose that gives the target's shape."""
    wanted = tuple(size for size in target if size > 1)
    for merged in _mergings(tuple(size for size in shape if size > 1)):
        if sorted(merged) == sorted(wanted):
            for order in itertools.permutations(range(len(merged))):
                if tuple(merged[axis] for axis in order) == wanted:
                    yield _Layout(merged, order, target)


def _mergings(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """`shape` with neighbours merged, or not, in every way; as it is first."""
    cuts = range(1, len(shape))
    for count in range(len(shape) - 1, -1, -1):
        for chosen in itertools.combinations(cuts, count):
            edges = [0, *chosen, len(shape)]
            yield tuple(math.prod(shape[a:b]) for a, b in itertools.pairwise(edges))


def _factor(constant: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """What each index of one axis of `weight` is multiplied by, in a shape that broadcasts."""
    for axis in range(constant.ndim - 1, -1, -1):
        lead, own = np.moveaxis(constant, axis, 0), np.moveaxis(weight, axis, 0)
        first, own_first = lead[:1].ravel()[:_FIRST], own[:1].ravel()[:_FIRST]
        if not _near(first, own_first * _ratio(first[None], own_first[None])):
            continue
        factor = _ratio(lead.reshape(len(lead), -1), own.reshape(len(own), -1))
        if np.abs(factor - 1).max() < _NEAR:
            factor = np.ones_like(factor)
        factor = factor.reshape([-1 if a == axis else 1 for a in range(constant.ndim)])
        if _near(constant, weight * factor):
            return factor
    return None


def _ratio(constant: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The best factor of each row, float64 `[rows]`."""
    constant, weight = constant.astype(np.float64), weight.astype(np.float64)
    squares = np.square(weight).sum(axis=1)
    return (constant * weight).sum(axis=1) / np.where(squares == 0, 1, squares)


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(a - b) <= _NEAR * np.abs(b)).all())


def _matched(constant: np.ndarray, weight: Whole, layout: _Layout, factor: np.ndarray) -> Match:
    steps = layout(np.ascontiguousarray(np.broadcast_to(weight.steps, weight.value.shape)))
    scale = _compact((steps * factor).astype(np.float32))
    return Match(weight.path, np.ascontiguousarray(layout(weight.numbers)), scale, weight.table)


def _compact(scale: np.ndarray) -> np.ndarray:
    """With one number along each axis along which all are the same."""
    for axis in range(scale.ndim):
        first = np.take(scale, [0], axis)
        if (scale == first).all():
            scale = first
    return scale
