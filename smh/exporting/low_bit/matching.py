"""Finds the weight that a constant of a converted file was made from. NumPy only.

A converter transposes kernels, merges axes, and multiplies them with the scales of a normalisation
that follows, which are one number for each index of one axis. What it did is found by trying.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from smh.coding.axes import along

# Relative: a constant is the weight times a scale, after one or two roundings.
_NEAR = 2e-6
_SAME = 5e-7  # likewise, two scales are one: so near that a weight times either is `_NEAR`
_FIRST = 64  # numbers that are looked at before all are
_FEWEST = 1024  # numbers whose bytes are worth a warning
_FLOAT = 4  # bytes


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
        scales: float32, one or two; each varies along one axis at most, and broadcasts against
            the numbers. Times all of them `numbers`, or `table[numbers]`, is the constant.
        table: float32 `[k]`, or `None`.
    """

    path: str
    numbers: np.ndarray
    scales: tuple[np.ndarray, ...]
    table: np.ndarray | None

    @property
    def bits(self) -> int:
        """That the numbers take: unsigned, if there is a table."""
        if self.table is not None:
            return max(1, int(self.table.size - 1).bit_length())
        return 1 + int(np.abs(self.numbers).max(initial=0)).bit_length()

    def takes(self, widths: Sequence[int]) -> float:
        """Bytes in a file that has integers of these widths; infinity if it has none so wide."""
        width = next((width for width in widths if self.bits <= width), math.inf)
        floats = [*self.scales, *([] if self.table is None else [self.table])]
        return self.numbers.size * width / 8 + _FLOAT * sum(array.size for array in floats)


class Found:
    """Which weights were found among a file's constants.

    Args:
        widths: bits of the integers that the format has.

    Attributes:
        paths: of the weights that were found.
        floats: those of them that stay floats, because whole numbers take no fewer bytes: worth a
            warning only where that is many bytes, or more bits than the format has.
    """

    def __init__(self, widths: Sequence[int]):
        self._widths = widths
        self.paths: set[str] = set()
        self.floats: set[str] = set()

    def is_worth(self, found: Match) -> bool:
        """Notes what was found; whether it takes fewer bytes as whole numbers than as floats."""
        self.paths.add(found.path)
        takes = found.takes(self._widths)
        if takes < _FLOAT * found.numbers.size:
            return True
        if takes == math.inf or found.numbers.size >= _FEWEST:
            self.floats.add(found.path)
        return False


def narrowed(numbers: np.ndarray, dtype: Any) -> np.ndarray:
    """Whole numbers in fewer bytes, each of which has room for it."""
    small = numbers.astype(dtype)
    assert np.array_equal(small, numbers), f"{dtype} has no room for {np.abs(numbers).max()}"
    return small


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
        factor = factor.reshape(along(axis, constant.ndim))
        if _near(constant, weight * factor):
            return factor
    return None


def _ratio(constant: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The best factor of each row, float64 `[rows]`; one for all where one is enough.

    A row of zeros says nothing of its factor, and takes that of the first row that does.
    """
    constant, weight = constant.astype(np.float64), weight.astype(np.float64)
    squares = np.square(weight).sum(axis=1)
    told = squares > 0
    factors = (constant * weight).sum(axis=1)[told] / squares[told]
    usual = 1.0 if not factors.size or abs(factors[0] - 1) < _SAME else factors[0]
    ratio = np.full(len(weight), usual)
    if (np.abs(factors - usual) > _SAME * abs(usual)).any():
        ratio[told] = factors
    return ratio


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(a - b) <= _NEAR * np.abs(b)).all())


def _matched(constant: np.ndarray, weight: Whole, layout: _Layout, factor: np.ndarray) -> Match:
    steps = layout(np.ascontiguousarray(np.broadcast_to(weight.steps, weight.value.shape)))
    numbers = np.ascontiguousarray(layout(weight.numbers))
    scales = _scales(_compact(steps), _compact(factor))
    return Match(weight.path, numbers, scales, weight.table)


def _scales(steps: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, ...]:
    """One scale; two if they vary along two axes, whose product has as many numbers as a weight."""
    product = steps * factor
    if product.size <= max(steps.size, factor.size):
        return (product.astype(np.float32),)
    return steps.astype(np.float32), factor.astype(np.float32)


def _compact(scale: np.ndarray) -> np.ndarray:
    """With one number along each axis along which all are the same."""
    for axis in range(scale.ndim):
        first = np.take(scale, [0], axis)
        if (scale == first).all():
            scale = first
    return scale
