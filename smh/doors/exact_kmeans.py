"""The best few values for many numbers, by dynamic programming: k-means in one dimension, exactly.

In one dimension a cluster is a run of the sorted numbers, so the least error of `k` clusters over
the first `j` numbers follows from those of `k - 1` clusters over fewer. The best place for the last
border moves right with `j`, which is why it is found by halving. The numbers are put into some
thousand runs first, half of them of equal counts and half of equal widths, so that the work does
not depend on how many numbers there are; Lloyd's iteration does the rest of the way.

Needs NumPy only. Reference: H. Wang, M. Song, "Ckmeans.1d.dp: optimal k-means clustering in one
dimension by dynamic programming", The R Journal 3/2 (2011); A. Grønlund et al., "Fast exact
k-means, k-medians and Bregman divergence clustering in 1D", arXiv:1701.07204, for the halving.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_EXACT = 256  # clusters; each costs as much again
_RUNS = 3000


@dataclass(frozen=True)
class Runs:
    """Runs of sorted numbers.

    Attributes:
        edges: `[r + 1]`, where each begins, and the last ends.
        sums, squares: `[r + 1]`, of all numbers and of their squares before each edge.
    """

    edges: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, ordered: np.ndarray) -> Runs:
        """Cuts sorted numbers into runs, of equal counts and of equal widths."""
        half = _RUNS // 2
        counts = np.linspace(0, ordered.size, half, dtype=np.int64)
        grid = np.linspace(float(ordered[0]), float(ordered[-1]), half)
        widths = np.searchsorted(ordered, grid)
        edges = np.unique(np.concatenate([counts, widths, [0, ordered.size]]))
        starts = edges[:-1]
        sums = np.add.reduceat(ordered, starts, dtype=np.float64)
        squares = np.add.reduceat(np.square(ordered, dtype=np.float64), starts)
        sums, squares = (np.append(0.0, np.cumsum(parts)) for parts in (sums, squares))
        return cls(edges, sums, squares)

    def error(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Squared error of the runs from `first` to before `last` around their mean."""
        count, total = self.edges[last] - self.edges[first], self.sums[last] - self.sums[first]
        spread = self.squares[last] - self.squares[first] - total**2 / np.maximum(count, 1)
        return np.maximum(spread, 0.0)


def best_edges(ordered: np.ndarray, clusters: int) -> np.ndarray:
    """Returns where the best clusters begin, and the last ends; `[k + 1]`, `k <= clusters`.

    Args:
        ordered: sorted numbers `[n]`, more than `clusters` distinct ones.
        clusters: how many runs to cut them into.
    """
    runs = Runs.of(ordered)
    clusters = min(clusters, runs.edges.size - 1)
    _, borders = _table(runs, clusters)
    return runs.edges[_back(borders, clusters, runs.edges.size - 1)]


def best_edges_around_zero(ordered: np.ndarray, clusters: int) -> tuple[np.ndarray, int]:
    """The same for clusters of which one stands for zero, whatever is in it.

    Returns:
        The edges, and the number of the cluster of zero, which may be empty.
    """
    middle = int(np.searchsorted(ordered, 0.0))
    below, above = ordered[:middle], -ordered[middle:][::-1]
    left, right = _ends(below, clusters - 1), _ends(above, clusters - 1)
    together = [
        (left.errors[i] + right.errors[clusters - 1 - i], i)
        for i in range(clusters)
        if i < left.errors.size and clusters - 1 - i < right.errors.size
    ]
    here = min(together)[1] if together else left.errors.size - 1
    there = min(clusters - 1 - here, right.errors.size - 1)
    low, high = left.edges(here), ordered.size - right.edges(there)[::-1]
    return np.concatenate([low, high]), here


@dataclass(frozen=True)
class _Ends:
    """For each number of clusters of negative numbers, the rest of which become zero.

    Attributes:
        errors: `[k + 1]`, the least squared error of 0 to `k` clusters.
    """

    errors: np.ndarray
    runs: Runs | None
    borders: np.ndarray
    stops: np.ndarray

    def edges(self, clusters: int) -> np.ndarray:
        """Where `clusters` of them begin, and the last ends."""
        if self.runs is None or not clusters:
            return np.zeros(1, np.int64)
        return self.runs.edges[_back(self.borders, clusters, int(self.stops[clusters]))]


def _ends(ordered: np.ndarray, clusters: int) -> _Ends:
    if not ordered.size:
        none = np.zeros(1, np.int64)
        return _Ends(np.zeros(1), None, none, none)
    runs = Runs.of(ordered)
    clusters = min(clusters, runs.edges.size - 1)
    errors, borders = _table(runs, clusters)
    totals = errors + (runs.squares[-1] - runs.squares)  # [k + 1, r + 1]
    stops = totals.argmin(axis=1)
    return _Ends(totals[np.arange(clusters + 1), stops], runs, borders, stops)


def _table(runs: Runs, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Least errors of 0 to `clusters` clusters over the first runs, and each last one's begin."""
    length = runs.edges.size
    errors = np.full((clusters + 1, length), np.inf)
    errors[0, 0] = 0.0
    borders = np.zeros((clusters + 1, length), np.int16)
    for k in range(1, clusters + 1):
        _next(runs, errors[k - 1], errors[k], borders[k])
    return errors, borders


def _next(runs: Runs, before: np.ndarray, errors: np.ndarray, borders: np.ndarray) -> None:
    """One more cluster: halves the ranges of ends, and with them those of the borders."""
    low, high = np.array([0]), np.array([errors.size - 1])  # of the ends still to be done
    least, most = low, high  # of their borders
    while low.size:
        end = (low + high) // 2
        counts = np.minimum(most, end) - least + 1
        starts = np.cumsum(counts) - counts
        border = np.arange(counts.sum()) + np.repeat(least - starts, counts)
        costs = before[border] + runs.error(border, np.repeat(end, counts))
        best = np.minimum.reduceat(costs, starts)
        hits = np.flatnonzero(costs == np.repeat(best, counts))
        found = border[hits[np.searchsorted(hits, starts)]]
        errors[end], borders[end] = best, found
        down, up = low < end, end < high
        low, high = np.append(low[down], end[up] + 1), np.append(end[down] - 1, high[up])
        least, most = np.append(least[down], found[up]), np.append(found[down], most[up])


def _back(borders: np.ndarray, clusters: int, stop: int) -> np.ndarray:
    """The borders of the clusters that end at run `stop`, from the first to the last."""
    edges = [stop]
    for k in range(clusters, 0, -1):
        edges.append(int(borders[k, edges[-1]]))
    return np.array(edges[::-1])
