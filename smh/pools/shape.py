"""The sides of a product pool: integers only.

A pool of `rows x cols` entries with `M` replicas trains `M * (rows + cols)` numbers. Two things
decide whether a pair of sides is good: how many of its `rows * cols` entries no weight uses,
and whether `cols` is *aligned* with a layer. A weight of shape `[..., d]` is cut from the rows of
the pool one after the other, so its row `i` begins at column `i * d mod cols`. If `cols` and `d`
share a large factor, only `cols / gcd` different columns occur, the weight's rows all lie in the
span of a few pool rows, and its rank is limited for ever. A prime `cols` that divides no such `d`
has `gcd = 1` with all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from smh.errors import ArgumentError
from smh.typing import Shape


@dataclass(frozen=True)
class PoolShape:
    """Sides and replicas of a product pool; of each of its blocks, if it has several."""

    rows: int
    cols: int
    replicas: int
    blocks: int = 1

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.blocks * self.rows * self.cols

    @property
    def replica_size(self) -> int:
        """Numbers trained per replica."""
        return self.blocks * (self.rows + self.cols)

    @property
    def core_size(self) -> int:
        """Numbers trained."""
        return self.replicas * self.replica_size


def published_square(pool_size: float, fraction: float) -> PoolShape:
    """The published choice: a square of side `ceil(sqrt(pool_size))`."""
    side = math.ceil(pool_size**0.5)
    replicas = math.floor(0.5 * fraction * pool_size / side)
    if replicas < 1:
        raise too_small(fraction, 2 * side / pool_size)
    return PoolShape(side, side, replicas)


def choose_sides(shapes: Iterable[Shape], budget: int, blocks: int = 1) -> PoolShape:
    """The pool for weights of these shapes that trains at most `budget` numbers.

    Args:
        shapes: the shapes of all weights that the pool will hold.
        budget: the most numbers that the factors may have.
        blocks: how many products of equal sides the pool is made of, one below the other.

    Returns:
        A pool of nearly square blocks with a prime row length that no layer is aligned with, that
        wastes less than 1 % of its entries wherever such a pool exists (always above a few hundred
        weights), and as many replicas as the budget pays for, which may be none.
    """
    shapes = list(shapes)
    total = sum(math.prod(shape) for shape in shapes)
    periods = {d for shape in shapes for d in _periods(shape)}
    root = math.sqrt(total / blocks)
    window = range(max(1, math.floor(0.8 * root)), math.ceil(1.25 * root) + 1)
    sides = [(math.ceil(total / (blocks * cols)), cols) for cols in window]

    def badness(side):
        rows, cols = side
        size = blocks * rows * cols
        waste = (size - total) / size
        return (_aligned(cols, periods), waste >= 0.01, rows + cols, waste)

    rows, cols = min(sides, key=badness)
    replicas = min(max(0, budget) // (blocks * (rows + cols)), rows, cols)
    return PoolShape(rows, cols, replicas, blocks)


def _periods(shape: Shape) -> set[int]:
    """The row lengths and column lengths of the matrices that a weight is used as."""
    cuts = range(1, len(shape))
    return {math.prod(shape[i:]) for i in cuts} | {math.prod(shape[:i]) for i in cuts}


def _aligned(cols: int, periods: set[int]) -> bool:
    """Whether one is a multiple of the other, or they share a factor that costs rank."""
    return any(d > 1 and (d % cols == 0 or math.gcd(cols, d) > 1) for d in periods)


def rounded_up(smallest: float) -> str:
    """A fraction as text, of three digits or more, that is not below `smallest`."""
    digits = max(3 - math.ceil(math.log10(smallest)), 0)
    return f"{math.ceil(smallest * 10**digits) / 10**digits:.{digits}f}"


def too_small(fraction: float, smallest: float, pools: int = 1) -> ArgumentError:
    """The error for a fraction that leaves a pool no replica; `smallest` is rounded up."""
    if pools > 1:
        return ArgumentError(
            f"fraction={fraction:.4g} is too small: it leaves one of {pools} pools 0 replicas. "
            f"Fewer blocks work, or a fraction of at least {rounded_up(smallest)}."
        )
    return ArgumentError(
        f"fraction={fraction:.4g} is too small: it leaves the pool 0 replicas. "
        f"The smallest fraction that works here is {rounded_up(smallest)}."
    )
