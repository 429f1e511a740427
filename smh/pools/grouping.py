"""Which weights share a pool, and how many numbers each pool trains: integers only.

One product over `N` entries costs `fraction / 2 * N^1.5` multiply-adds; `K` products over `N / K`
entries each, with as many numbers in their factors, cost `1 / sqrt(K)` of that. So the entries are
cut into about `K` blocks. Where they are cut is free: at the borders of the large weights, so that
a layer that is computed by itself needs its own products only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from smh.pools.shape import PoolShape, choose_sides
from smh.typing import Shape

# Of a block: with fewer entries a product is no longer what a step's time goes to, and of fewer
# replicas than these a weight is a sum of very few terms.
_LEAST_ENTRIES = 2**20
_LEAST_REPLICAS = 16


@dataclass(frozen=True)
class Group:
    """The weights of one pool.

    Attributes:
        members: their numbers, in order.
        shape: sides and replicas of the pool.
    """

    members: tuple[int, ...]
    shape: PoolShape


def automatic_blocks(shapes: Sequence[Shape], budget: int) -> int:
    """How many blocks `"auto"` makes: as many as leave each enough replicas and entries."""
    total = sum(math.prod(shape) for shape in shapes)
    fraction = min(1.0, budget / total)
    entries = max(_LEAST_ENTRIES, (2 * _LEAST_REPLICAS / max(fraction, 1e-9)) ** 2)
    return max(1, int(total / entries))


def group_weights(shapes: Sequence[Shape], budget: int, blocks: int = 1) -> list[Group]:
    """Shares out weights, and the numbers that their factors may have, to pools.

    A weight of more than its share of the entries, `1 / blocks` of all, has a pool of its own, of
    as many blocks as it has shares; the others share pools, neighbours together.

    Args:
        shapes: the shapes of the weights.
        budget: the most numbers that all factors may have together.
        blocks: about how many products to make; 1 for one pool.

    Returns:
        The groups, by their first members. All have the same fraction, as far as whole replicas
        allow: what is left of the budget goes where most of a replica is missing. A group may have
        no replica where the budget is too small.
    """
    sizes = [math.prod(shape) for shape in shapes]
    total = sum(sizes)
    groups = []
    for members in _members(sizes, total / blocks):
        size = sum(sizes[i] for i in members)
        inside = max(1, round(size * blocks / total)) if len(members) == 1 else 1
        sides = choose_sides([shapes[i] for i in members], 0, inside)
        groups.append(Group(members, sides))
    shares = [budget * g.shape.size / sum(g.shape.size for g in groups) for g in groups]
    replicas = _whole([g.shape for g in groups], shares, budget)
    return [
        replace(g, shape=replace(g.shape, replicas=m))
        for g, m in zip(groups, replicas, strict=True)
    ]


def least_fraction(groups: Sequence[Group], numbers: int) -> float:
    """A fraction of so many numbers from which on every group has a replica."""
    entries = sum(group.shape.size for group in groups)
    least = max(group.shape.replica_size / group.shape.size for group in groups)
    return least * entries / numbers


def _members(sizes: Sequence[int], share: float) -> list[tuple[int, ...]]:
    """Weights of at least a share alone; the others, in order, in as few groups as they fill."""
    small = [i for i, size in enumerate(sizes) if size < share]
    large = [(i,) for i, size in enumerate(sizes) if size >= share]
    together = sum(sizes[i] for i in small)
    count = max(1, round(together / share)) if small else 0
    shared: list[list[int]] = [[] for _ in range(count)]
    before = 0
    for i in small:
        middle = before + sizes[i] / 2
        shared[min(count - 1, int(middle * count / max(1, together)))].append(i)
        before += sizes[i]
    return sorted([*large, *(tuple(members) for members in shared if members)])


def _whole(shapes: Sequence[PoolShape], shares: Sequence[float], budget: int) -> list[int]:
    """Whole replicas, of at most `budget` numbers together, as close to the shares as they can."""
    wanted = [share / s.replica_size for s, share in zip(shapes, shares, strict=True)]
    most = [min(s.rows, s.cols) for s in shapes]
    replicas = [min(int(w), m) for w, m in zip(wanted, most, strict=True)]
    left = budget - sum(m * s.replica_size for m, s in zip(replicas, shapes, strict=True))
    for i in sorted(range(len(shapes)), key=lambda i: int(wanted[i]) - wanted[i]):
        if shapes[i].replica_size <= left and replicas[i] < most[i]:
            replicas[i] += 1
            left -= shapes[i].replica_size
    return replicas
