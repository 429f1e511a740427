"""k-means of the values of one weight: few numbers that stand for many.

In one dimension a cluster is a run of the sorted values. So the values are sorted once, their
prefix sums are taken once, and an iteration of Lloyd's algorithm is `clusters` binary searches,
whatever the number of values. Needs NumPy only.

Reference: S. P. Lloyd, "Least squares quantization in PCM", 1982; S. Han, H. Mao, W. J. Dally,
"Deep Compression", ICLR 2016, section 3.2, for the initialisations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from smh.doors.exact_kmeans import MOST_EXACT, best_edges, best_edges_around_zero
from smh.errors import ArgumentError
from smh.errors.limits import checked_seed

INITS = ("optimal", "linear", "random", "density", "k-means++")
MOST_CLUSTERS = 2**16

_CHUNK = 2**20  # values at a time, where a temporary array is larger than the values
_DRAWS = 16  # of "random", until there are enough distinct values
_SAMPLE = 2**16  # values that "k-means++" looks at


class _Sorted(NamedTuple):
    """Sorted values and what makes a sum over a run of them cheap."""

    values: np.ndarray  # float32 [n], ascending
    prefix: np.ndarray  # float64 [n + 1]; prefix[j] - prefix[i] is the sum of values[i:j]


def cluster_values(
    values: Any,
    clusters: int,
    init: str = "optimal",
    seed: int | None = None,
    max_iterations: int = 300,
    *,
    zero: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds centroids that stand for the values with a small squared error, by k-means.

    Up to 256 clusters start at the optimum, as close as some thousand runs of values tell it.
    Iterates until no value changes its cluster, or `max_iterations` times. A cluster that has lost
    all its values starts again at the value that is farthest from its own centroid, so that all
    are used and the error falls from iteration to iteration all the same.

    Args:
        values: numbers of any shape; float32, float16 and bfloat16 are taken exactly, float64
            rounded to float32.
        clusters: how many centroids there may be, 1 to 65,536; `2**bits` of them take `bits` bits.
        init: where the centroids start. `"optimal"`: at the least squared error, by
            `smh.doors.exact_kmeans`; of more than 256 clusters, at parts of the best 256.
            `"linear"`: evenly from the least to the greatest value;
            keeps the rare large weights, and was best in Han et al. `"density"`: in the middle of
            `clusters` equal shares of the values. `"random"` (Forgy): values drawn at random,
            distinct ones as far as `16 * clusters` draws find them; the others start as empty
            clusters do. `"k-means++"`: drawn with a probability that grows with the squared
            distance from those drawn before, among at most 65,536 values (or `4 * clusters`) that
            are drawn evenly first.
        seed: makes `"random"` and `"k-means++"` repeatable; the other two draw nothing.
        max_iterations: how often the centroids move, at least 1.
        zero: whether one of the centroids is 0 and stays there.

    Returns:
        centroids, float32 `[k]`, ascending and distinct; `k` is `clusters`, or the number of
        distinct values (and 0, with `zero`) if that is smaller, and the centroids are then exactly
        these. And indices
        in the shape of `values`, uint8 up to 256 centroids, else uint16: `centroids[indices]`
        gives each value the nearest centroid, the smaller of two equally near ones.

    Raises:
        ArgumentError: no values, values that are not finite or no numbers, or an argument that
            cannot work.

    Cost: one sort, and 12 bytes a value beside `values` and the indices. 25 million values took 1
    to 2 seconds on one core. `"optimal"` adds 0.03 s of processor time for 16 clusters, 0.08 s for
    64 and 0.3 s for 256, and 8 bytes a value while it runs. An iteration is cheap, but from
    elsewhere Lloyd's algorithm ends far from the optimum where clusters are many: 64 clusters of
    Laplace's distribution from `"linear"` had 1.6 times, 256 had 2.9 times the least error.

    Example:
        >>> from smh.doors.kmeans import cluster_values
        >>> centroids, indices = cluster_values([0.0, 0.1, 0.9, 1.1], clusters=2)
        >>> centroids.tolist(), indices.tolist()
        ([0.05000000074505806, 1.0], [0, 0, 1, 1])

    Reference: Han, Mao, Dally 2016, section 3.2; D. Arthur, S. Vassilvitskii, "k-means++: the
    advantages of careful seeding", 2007.
    """
    _check(clusters, init, seed, max_iterations)
    values = _as_floats(values)
    ordered = np.sort(values, axis=None)
    distinct = _few_distinct(ordered, clusters, zero)
    if distinct is None:
        run, random = _Sorted(ordered, _prefix_sums(ordered)), np.random.default_rng(seed)
        if zero:
            start = _initial_around_zero(run, clusters, init, random)
            found = _lloyd_around_zero(run, start, max_iterations)
        else:
            found = _lloyd(run, _initial(ordered, clusters, init, random), clusters, max_iterations)
        distinct = found.astype(np.float32)
        del run
    del ordered
    return distinct, nearest(values, distinct)


def initial_centroids(
    values: Any, clusters: int, init: str = "optimal", seed: int | None = None
) -> np.ndarray:
    """Returns where `cluster_values` starts, float64, ascending.

    There are fewer than `clusters` where `"random"` or `"k-means++"` drew a value twice.

    Raises:
        ArgumentError: as in `cluster_values`.
    """
    _check(clusters, init, seed, 1)
    ordered = np.sort(_as_floats(values), axis=None)
    return _initial(ordered, clusters, init, np.random.default_rng(seed))


def _check(clusters: int, init: str, seed: int | None, max_iterations: int) -> None:
    if not _is_whole(clusters) or not 1 <= clusters <= MOST_CLUSTERS:
        raise ArgumentError(
            f"clusters must be a whole number from 1 to {MOST_CLUSTERS:,}, got {clusters!r}."
        )
    if init not in INITS:
        raise ArgumentError(f"init must be one of {', '.join(map(repr, INITS))}, got {init!r}.")
    checked_seed(seed)
    if not _is_whole(max_iterations) or max_iterations < 1:
        raise ArgumentError(
            f"max_iterations must be a whole number, at least 1, got {max_iterations!r}."
        )


def _is_whole(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def _as_floats(values: Any) -> np.ndarray:
    given = np.asarray(values)
    if given.size == 0:
        raise ArgumentError(f"There are no values to cluster: their shape is {given.shape}.")
    if given.dtype.kind not in "fiu" and given.dtype.name != "bfloat16":
        raise ArgumentError(f"Values to cluster must be real numbers, got {given.dtype}.")
    with np.errstate(over="ignore"):
        floats = given.astype(np.float32, copy=False)
    # The sum of the extremes finds all three without an array of flags.
    low, high = floats.min(), floats.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ArgumentError(_not_finite(floats))
    return floats


def _not_finite(floats: np.ndarray) -> str:
    nans, infinities = int(np.isnan(floats).sum()), int(np.isinf(floats).sum())
    first = np.unravel_index(int(np.argmin(np.isfinite(floats))), floats.shape)
    place = ", ".join(str(int(i)) for i in first)
    return (
        f"Values to cluster must be finite in float32: {nans:,} are NaN and {infinities:,} "
        f"infinite of {floats.size:,}, the first at [{place}]."
    )


def _few_distinct(ordered: np.ndarray, clusters: int, zero: bool) -> np.ndarray | None:
    """The distinct values, and 0 if it has to be, if there are at most `clusters` of them."""
    if zero and clusters == 1:
        return np.zeros(1, np.float32)
    starts: list[np.ndarray] = [np.zeros(1, np.int64)]
    found = 1
    for begin in range(0, ordered.size - 1, _CHUNK):
        part = ordered[begin : begin + _CHUNK + 1]
        starts.append(np.flatnonzero(part[1:] != part[:-1]) + begin + 1)
        found += starts[-1].size
        if found > clusters:
            return None
    distinct = ordered[np.concatenate(starts)]
    if zero and 0 not in distinct:
        distinct = np.sort(np.append(distinct, np.float32(0)))
    return distinct if distinct.size <= clusters else None


def _prefix_sums(ordered: np.ndarray) -> np.ndarray:
    """Float64 `[n + 1]`, summed from zero outwards: the small values first, for their accuracy."""
    zero = int(np.searchsorted(ordered, 0))
    prefix = np.zeros(ordered.size + 1, np.float64)
    np.cumsum(ordered[zero:], dtype=np.float64, out=prefix[zero + 1 :])
    below = prefix[:zero][::-1]
    np.cumsum(ordered[:zero][::-1], dtype=np.float64, out=below)
    np.negative(below, out=below)
    return prefix


def _initial(ordered: np.ndarray, clusters: int, init: str, rng: np.random.Generator) -> np.ndarray:
    if init == "optimal":
        return _best(ordered, clusters)
    if init == "linear":
        return np.linspace(float(ordered[0]), float(ordered[-1]), clusters)
    if init == "density":
        places = ((np.arange(clusters) + 0.5) * (ordered.size / clusters)).astype(np.int64)
        return ordered[places].astype(np.float64)
    if init == "random":
        return _drawn_evenly(ordered, clusters, rng)
    return _drawn_apart(ordered, clusters, rng)


def _best(ordered: np.ndarray, clusters: int) -> np.ndarray:
    """Means of the best runs; above `MOST_EXACT` of them, points at even distances in each."""
    edges = np.unique(best_edges(ordered, min(clusters, MOST_EXACT)))
    if clusters <= MOST_EXACT:
        return _means(_Sorted(ordered, _prefix_sums(ordered)), edges)
    first = ordered[edges[:-1]].astype(np.float64)
    width = ordered[edges[1:] - 1] - first
    parts = np.diff(np.arange(edges.size) * clusters // (edges.size - 1))  # they sum to `clusters`
    run = np.repeat(np.arange(parts.size), parts)
    place = np.arange(clusters) - np.repeat(np.cumsum(parts) - parts, parts)
    return np.unique(first[run] + width[run] * (place + 0.5) / parts[run])


def _initial_around_zero(
    run: _Sorted, clusters: int, init: str, random: np.random.Generator
) -> np.ndarray:
    """Centroids of which one is 0."""
    if init != "optimal" or clusters > MOST_EXACT:
        return np.union1d(_initial(run.values, clusters - 1, init, random), [0.0])
    edges, number = best_edges_around_zero(run.values, clusters)
    full = np.diff(edges) > 0
    centroids = np.zeros(full.size)
    centroids[full] = _means(run, np.append(edges[:-1][full], edges[-1]))
    centroids[number] = 0.0
    return np.unique(centroids[full | (np.arange(full.size) == number)])


def _lloyd_around_zero(run: _Sorted, centroids: np.ndarray, max_iterations: int) -> np.ndarray:
    """Lloyd's iteration in which 0 does not move; clusters that lose their values are given up."""
    before = np.empty(0, np.int64)
    for _ in range(max_iterations):
        inner = np.searchsorted(run.values, _midpoints(centroids), side="right")
        edges = np.concatenate([[0], inner, [run.values.size]])
        if np.array_equal(edges, before):
            break
        before, full, is_zero = edges, np.diff(edges) > 0, centroids == 0
        centroids = np.zeros(full.size)
        centroids[full] = _means(run, np.append(edges[:-1][full], edges[-1]))
        centroids[is_zero] = 0.0
        centroids = np.unique(centroids[full | is_zero])
    return centroids


def _drawn_evenly(ordered: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    drawn = ordered[rng.integers(ordered.size, size=_DRAWS * clusters)]
    firsts = np.sort(np.unique(drawn, return_index=True)[1])[:clusters]  # in the order drawn
    return np.sort(drawn[firsts]).astype(np.float64)


def _drawn_apart(ordered: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++."""
    sample = ordered.astype(np.float64) if ordered.size <= _SAMPLE else None
    if sample is None:
        size = max(_SAMPLE, 4 * clusters)
        sample = ordered[rng.integers(ordered.size, size=size)].astype(np.float64)
    chosen = [sample[rng.integers(sample.size)]]
    squares = (sample - chosen[0]) ** 2
    while len(chosen) < clusters:
        reach = np.cumsum(squares)
        if reach[-1] <= 0:
            break  # nothing is left that is not chosen
        place = np.searchsorted(reach, rng.random() * reach[-1], side="right")
        chosen.append(sample[min(int(place), sample.size - 1)])
        np.minimum(squares, (sample - chosen[-1]) ** 2, out=squares)
    return np.unique(chosen)


def _lloyd(run: _Sorted, start: np.ndarray, clusters: int, max_iterations: int) -> np.ndarray:
    """Centroids of `clusters` runs, none of them empty; there are more distinct values."""
    centroids, edges = start, np.empty(0, np.int64)
    for _ in range(max_iterations):
        previous, edges = edges, _edges(run.values, centroids)
        if edges.size == clusters + 1 and np.array_equal(edges, previous):
            return centroids
        centroids = _means(run, edges)
        if centroids.size < clusters:
            centroids = _with_the_farthest(run, edges, centroids, clusters)
    while centroids.size < clusters or _edges(run.values, centroids).size < clusters + 1:
        edges = _edges(run.values, centroids)
        centroids = _with_the_farthest(run, edges, _means(run, edges), clusters)
    return centroids


def _edges(ordered: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Where the runs of values begin and end that are nearest to each centroid; no empty runs."""
    inner = np.searchsorted(ordered, _midpoints(centroids), side="right")
    return np.unique(np.concatenate([[0], inner, [ordered.size]]))


def _midpoints(centroids: np.ndarray) -> np.ndarray:
    """Float32: for a float32 value, to be below one is the same as below the exact midpoint."""
    exact = (centroids[:-1].astype(np.float64) + centroids[1:]) / 2
    rounded = exact.astype(np.float32)
    return np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _means(run: _Sorted, edges: np.ndarray) -> np.ndarray:
    first, last = run.values[edges[:-1]], run.values[edges[1:] - 1]
    means = np.diff(run.prefix[edges]) / np.diff(edges)
    return np.clip(means, first, last)  # against the rounding of long sums


def _with_the_farthest(
    run: _Sorted, edges: np.ndarray, means: np.ndarray, clusters: int
) -> np.ndarray:
    """Adds the values that are farthest from their mean; only ends of runs can be."""
    ends = np.concatenate([run.values[edges[:-1]], run.values[edges[1:] - 1]]).astype(np.float64)
    distances = np.abs(ends - np.concatenate([means, means]))
    order = np.argsort(-distances, kind="stable")[: clusters - means.size]
    return np.union1d(means, ends[order])


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Returns for each value the index of the nearest centroid, as `cluster_values` does.

    Args:
        values: numbers of any shape.
        centroids: float32 `[k]`, ascending.
    """
    values = _as_floats(values)
    indices = np.empty(values.shape, np.uint8 if centroids.size <= 256 else np.uint16)
    midpoints = _midpoints(centroids)
    flat, out = values.reshape(-1), indices.reshape(-1)
    for begin in range(0, flat.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        out[part] = np.searchsorted(midpoints, flat[part], side="left")
    return indices
