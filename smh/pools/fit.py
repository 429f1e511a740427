"""The factors whose product is closest to the weights that a model has."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from smh.errors import SelectionError
from smh.pools.low_rank import best_basis, coefficients
from smh.pools.shape import PoolShape

_BLOCK = 2**18  # numbers of a block: 1 MB
_FEWEST_ROWS = 32  # of a block: with fewer a product is slow


class PoolFit(NamedTuple):
    """Factors of a pool, and how close they come.

    Attributes:
        left, right: the factors, float32, `[rows, M]` and `[M, cols]`. The rows of `right` are
            orthogonal and have the root mean square 1, as those of a pool that starts at random.
        scales: for each weight the number that its slice is best multiplied by.
        energies: for each weight the share of its sum of squares that the fit explains.
        energy: that share for all numbers, each over the root mean square of its weight.
    """

    left: np.ndarray
    right: np.ndarray
    scales: tuple[float, ...]
    energies: tuple[float, ...]
    energy: float


def fit_pool(weights: Sequence[Any], paths: Sequence[str], shape: PoolShape, seed=None) -> PoolFit:
    """Finds the factors of a product pool that fit weights best.

    Args:
        weights: variables or arrays, in the order of their slots, which begin at entry 0.
        paths: their names, for messages.
        shape: sides and replicas of the pool.
        seed: where the iteration starts; it hardly shows in the result.

    Raises:
        SelectionError: a weight is not finite.

    Cost: see `smh.pools.low_rank.best_basis`; beside the factors some blocks of 1 MB.
    """
    matrix = WeightMatrix.of(weights, paths, shape)
    basis = best_basis(matrix, shape.replicas, np.random.default_rng(seed or 0))
    left = np.empty((shape.rows, shape.replicas), np.float32)
    tallies = np.zeros((len(weights), 3))  # w.w, w.s, s.s of each weight w and its slice s
    row = 0
    for block in matrix.blocks():
        here = left[row : row + len(block)]
        np.matmul(block, basis.T, out=here)
        if row + len(block) == shape.rows:
            here[-1] = coefficients(basis, block[-1, : matrix.known])
        for number, wanted, found in matrix.cut(row, block, here @ basis):
            pairs = (wanted, wanted), (wanted, found), (found, found)
            tallies[number] += [np.vdot(a, b) for a, b in pairs]
        row += len(block)
    length = np.float32(math.sqrt(shape.cols))
    return PoolFit(left / length, basis * length, *_judged(tallies, matrix))


def _judged(tallies: np.ndarray, matrix: WeightMatrix):
    """Scales, shares explained weight by weight, and in all."""
    own, both, fitted = tallies.T
    safe = np.where(fitted > 0, fitted, 1.0)
    explained = both**2 / safe
    shares = np.where(own > 0, explained / np.where(own > 0, own, 1.0), 1.0)
    scales = np.where(fitted > 0, both / safe, 1.0) * matrix.sizes
    total = own.sum()
    energy = float(explained.sum() / total) if total > 0 else 1.0
    return tuple(map(float, scales)), tuple(map(float, shares)), energy


@dataclass(frozen=True)
class WeightMatrix:
    """Weights in their slots, each over its root mean square, as blocks of a matrix's rows.

    Attributes:
        weights: the weights, one behind the other in the flat matrix.
        sizes: the root mean square of each; 1 where that is 0.
        edges: where each begins, and the last ends.
        shape: sides of the matrix.
    """

    weights: tuple[Any, ...]
    sizes: np.ndarray
    edges: tuple[int, ...]
    shape: PoolShape

    @classmethod
    def of(cls, weights: Sequence[Any], paths: Sequence[str], shape: PoolShape) -> WeightMatrix:
        """Lays out `weights`; raises `SelectionError` if one is not finite."""
        lengths = [math.prod(tuple(weight.shape)) for weight in weights]
        edges = tuple(itertools.accumulate(lengths, initial=0))
        sizes = np.array([root_mean_square(w) for w in weights])
        for path, size in zip(paths, sizes, strict=True):
            if not np.isfinite(size):
                raise SelectionError(
                    f"'{path}' has weights that are not finite (NaN or infinity), so nothing can "
                    "be fitted to them. Repair them, or leave it out with `exclude=`."
                )
        return cls(tuple(weights), np.where(sizes > 0, sizes, 1.0), edges, shape)

    @property
    def rows(self) -> int:
        """Rows of the matrix."""
        return self.shape.rows

    @property
    def cols(self) -> int:
        """Length of a row."""
        return self.shape.cols

    @property
    def known(self) -> int:
        """Entries of the last row that a weight uses."""
        return self.edges[-1] - (self.rows - 1) * self.cols

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the rows, float32, `[b, cols]`, zero where no weight lies."""
        step = max(_FEWEST_ROWS, _BLOCK // self.cols)
        for first in range(0, self.rows, step):
            block = np.zeros((min(step, self.rows - first), self.cols), np.float32)
            for number, begin, stop, place in self._parts(first, len(block)):
                part = elements(self.weights[number], begin, stop)
                block.reshape(-1)[place] = part / np.float32(self.sizes[number])
            yield block

    def cut(self, first: int, *blocks: np.ndarray) -> Iterator[tuple]:
        """Yields, for each weight in rows `first` and on, its number and its part of each block."""
        for number, _, _, place in self._parts(first, len(blocks[0])):
            yield number, *(block.reshape(-1)[place] for block in blocks)

    def _parts(self, first: int, rows: int) -> Iterator[tuple[int, int, int, slice]]:
        low, high = first * self.cols, (first + rows) * self.cols
        for number, (begin, stop) in enumerate(itertools.pairwise(self.edges)):
            a, b = max(begin, low), min(stop, high)
            if a < b:
                yield number, a - begin, b - begin, slice(a - low, b - low)


def root_mean_square(weight: Any) -> float:
    """Returns `sqrt(mean(w^2))`, 0 of nothing; computed in pieces."""
    length = math.prod(tuple(weight.shape))
    pieces = (elements(weight, a, min(a + _BLOCK, length)) for a in range(0, length, _BLOCK))
    # Not in float32, where the squares of large weights overflow.
    return math.sqrt(
        sum(float(np.square(p, dtype="float64").sum()) for p in pieces) / max(length, 1)
    )


def kept_energy(weights: Sequence[Any], found: Sequence[Any]) -> float:
    """Returns the share of the energy of `weights` that `found`, in their place, explain.

    All numbers count alike, each over the root mean square of its weight; below 0 where nothing
    would be closer. Computed in pieces.
    """
    lost, total = 0.0, 0
    for weight, other in zip(weights, found, strict=True):
        length, size = math.prod(tuple(weight.shape)), root_mean_square(weight)
        total += length
        for begin in range(0, length if size else 0, _BLOCK):
            stop = min(begin + _BLOCK, length)
            apart = elements(weight, begin, stop) - elements(other, begin, stop)
            lost += float(np.square(apart / size, dtype="float64").sum())
    return 1 - lost / max(total, 1)


def elements(weight: Any, begin: int, stop: int) -> np.ndarray:
    """Elements of a flattened weight, float32; only they are copied."""
    if isinstance(weight, np.ndarray):
        return weight.reshape(-1)[begin:stop].astype(np.float32)
    part = ops.reshape(weight, [-1])[begin:stop]
    return np.asarray(ops.convert_to_numpy(ops.cast(part, "float32")))
