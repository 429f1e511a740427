"""How far each weight may go, so that all together keep within a budget. Needs NumPy only.

What is assumed: the drops of the metric add up over the weights, and between two measured levels a
drop grows linearly. Both are cheap guesses; what is suggested has to be evaluated.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_CELLS = 4096


class Curve(NamedTuple):
    """What one weight costs as it gives up numbers (or bits).

    Attributes:
        freed: what is no longer stored, float64 `[m]`, rising from 0.
        drop: of the metric, float64 `[m]`, from 0 and never falling.
    """

    freed: np.ndarray
    drop: np.ndarray


class _Segment(NamedTuple):
    slope: float
    minus_length: float  # of equally cheap ones the longest first: fewer weights are changed
    curve: int
    stop: int  # the point of the curve at which it ends


def make_curve(freed: Sequence[float], drop: Sequence[float]) -> Curve:
    """Makes a curve from measured points in any order; ends before a drop that is not finite.

    A level that did better than a milder one is noise: such levels get their mean, and a gain
    counts as no drop.
    """
    points = sorted((f, d) for f, d in zip(freed, drop, strict=True) if f > 0)
    usable = list(itertools.takewhile(lambda point: np.isfinite(point[1]), points))
    xs, ys = np.array([(0.0, 0.0), *usable], np.float64).T
    return Curve(xs, np.append(0.0, np.maximum(0.0, _isotonic(ys[1:]))))


def _isotonic(values: np.ndarray) -> np.ndarray:
    """The rising values of least squared distance (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []  # mean and length
    for value in values.tolist():
        mean, length = value, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean = (before * count + mean * length) / (count + length)
            length += count
        blocks.append((mean, length))
    return np.repeat([mean for mean, _ in blocks], [length for _, length in blocks])


def predict(curves: Sequence[Curve], freed: Sequence[float]) -> float:
    """The drop when each weight gives up what `freed` says."""
    pairs = zip(curves, freed, strict=True)
    return float(sum(np.interp(at, curve.freed, curve.drop) for curve, at in pairs))


def free(curves: Sequence[Curve], target: float, measured_only: bool) -> list[float]:
    """What each weight gives up, so that all together give up `target` at the least drop.

    Takes the segments of the curves' lower convex hulls from the flattest to the steepest, of the
    last one a part: optimal. With `measured_only` a choice of whole points, see `_points`.
    """
    if measured_only:
        return _points(curves, target)
    state, left = [0.0] * len(curves), target
    for segment in _segments(curves):
        if left <= 1e-9 * target:
            break
        begin = state[segment.curve]
        taken = min(float(curves[segment.curve].freed[segment.stop]) - begin, left)
        state[segment.curve] = begin + taken
        left -= taken
    return state


def _points(curves: Sequence[Curve], target: float) -> list[float]:
    """A point of each curve, so that they free `target` or more at the least sum of drops.

    A knapsack with a choice of each kind, by dynamic programming: for each of `_CELLS` cells of
    what is freed so far the least drop, and of equal ones what frees most. Amounts are rounded to
    cells, so that of choices closer than that one may be missed; what is returned frees enough.

    Cost: curves x points x cells.
    """
    if target <= 0:
        return [0.0] * len(curves)
    freed, drop = np.full(_CELLS + 1, -np.inf), np.full(_CELLS + 1, np.inf)
    freed[0], drop[0] = 0.0, 0.0
    choices = []
    for curve in curves:
        new_freed, new_drop = np.full_like(freed, -np.inf), np.full_like(drop, np.inf)
        choice, source = np.zeros((2, _CELLS + 1), np.int64)
        for point, (amount, cost) in enumerate(zip(curve.freed, curve.drop, strict=True)):
            after, worse = freed + amount, drop + cost
            there = np.flatnonzero(np.isfinite(after))
            share = np.minimum(after[there], target) / target
            cells = np.floor(share * _CELLS + 1e-9).astype(int)
            # The best of those that fall into a cell comes last, and stays.
            order = np.lexsort((after[there], -worse[there]))
            there, cells = there[order], cells[order]
            better = (worse[there] < new_drop[cells]) | (
                (worse[there] == new_drop[cells]) & (after[there] > new_freed[cells])
            )
            there, cells = there[better], cells[better]
            new_freed[cells], new_drop[cells] = after[there], worse[there]
            choice[cells], source[cells] = point, there
        freed, drop = new_freed, new_drop
        choices.append((choice, source))
    enough = np.flatnonzero(freed >= target * (1 - 1e-9))
    if not enough.size:
        return [float(curve.freed[-1]) for curve in curves]
    cell, found = enough[np.argmin(drop[enough])], []
    for curve, (choice, source) in zip(reversed(curves), reversed(choices), strict=True):
        found.append(float(curve.freed[choice[cell]]))
        cell = source[cell]
    return found[::-1]


def free_most(curves: Sequence[Curve], max_drop: float, measured_only: bool) -> list[float]:
    """What each weight gives up, as much as possible, while the drops add up to `max_drop`.

    As `free`; a weight of which a whole segment is too dear goes along its curve as far as it can,
    with `measured_only` to the last level that is within.
    """
    state, left, done = [0.0] * len(curves), max_drop, set()
    for segment in _segments(curves):
        if segment.curve in done:
            continue
        curve = curves[segment.curve]
        now = float(np.interp(state[segment.curve], curve.freed, curve.drop))
        if curve.drop[segment.stop] - now <= left:
            reached = float(curve.freed[segment.stop])
        else:
            reached = _farthest(curve, now + left, measured_only)
            done.add(segment.curve)
        state[segment.curve] = max(state[segment.curve], reached)
        left -= max(0.0, float(np.interp(reached, curve.freed, curve.drop)) - now)
    return state


def _farthest(curve: Curve, limit: float, measured_only: bool) -> float:
    last = int(np.searchsorted(curve.drop, limit, side="right")) - 1
    begin = float(curve.freed[last])
    if measured_only or last == len(curve.drop) - 1:
        return begin
    share = (limit - curve.drop[last]) / (curve.drop[last + 1] - curve.drop[last])
    return begin + float(share * (curve.freed[last + 1] - begin))


def _segments(curves: Sequence[Curve]) -> list[_Segment]:
    found = []
    for i, curve in enumerate(curves):
        for a, b in itertools.pairwise(_lower_hull(curve)):
            rise, length = curve.drop[b] - curve.drop[a], curve.freed[b] - curve.freed[a]
            found.append(_Segment(float(rise / length), float(-length), i, b))
    return sorted(found)


def _lower_hull(curve: Curve) -> list[int]:
    """Indices of the corners of the lower convex hull (Andrew's monotone chain)."""
    hull: list[int] = []
    for i in range(len(curve.freed)):
        while len(hull) > 1 and _is_above(curve, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return hull


def _is_above(curve: Curve, a: int, b: int, c: int) -> bool:
    """Whether point b lies on or above the line from a to c."""
    x, y = curve
    return bool((y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a]))
