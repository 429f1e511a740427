"""Which channels can go without changing what a model gives."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from smh.doors.slimming.labels import KEPT
from smh.doors.slimming.wiring import Reading, Wiring


def removable(net: Wiring) -> np.ndarray:
    """Returns for each label whether its class can go, bool `[labels]`.

    A class can go if everything that reads one of its channels finds a zero there, or a constant
    that its bias can take, or has only zeros for it in what stays. Of everything that is cut at
    least one channel stays, or as many as `Cut.least` says.

    Args:
        net: what a walk found.
    """
    roots = net.labels.roots()
    readings = _by_classes(net, roots)
    kept = {KEPT}
    while True:
        gone = _largest(readings, roots, kept)
        short = next((a for a, least in axes_of(net) if np.count_nonzero(~gone[a]) < least), None)
        if short is None:
            return gone
        kept.add(int(roots[short[gone[short]][0]]))


def could_go(net: Wiring) -> np.ndarray:
    """Returns for each label whether its class is zero, or a constant, wherever it is read."""
    roots = net.labels.roots()
    free = roots != KEPT
    for read in _by_classes(net, roots):
        free[read.ins[~read.fine]] = False
    return free[roots]


def _by_classes(net: Wiring, roots: np.ndarray) -> list[_Read]:
    return [_Read(reading, roots, fine) for reading, fine in _fine(net.readings)]


def axes_of(net: Wiring) -> Iterable[tuple[np.ndarray, int]]:
    """The labels along each axis of a weight that can be cut, and how many stay at least."""
    for cut in net.cuts.values():
        for axis, labels in cut.axes.items():
            yield labels, min(len(labels), cut.least.get(axis, 1))


def _fine(readings: Iterable[Reading]) -> list[tuple[Reading, np.ndarray]]:
    """Says for each channel that is read whether it is a constant that can be left out."""
    by_key: dict[tuple[int, str], list[Reading]] = {}
    for reading in readings:
        by_key.setdefault(reading.key, []).append(reading)
    found = []
    for group in by_key.values():
        # One bias has to do for all calls.
        same = np.all([r.values == group[0].values for r in group], axis=0)
        for reading in group:
            found.append((reading, (reading.values == 0) | (same & reading.absorbs)))
    return found


class _Read:
    """A reading, by classes."""

    def __init__(self, reading: Reading, roots: np.ndarray, fine: np.ndarray):
        self.ins, self.outs, self.fine = roots[reading.ins], roots[reading.outs], fine
        self.used = reading.used
        if np.intersect1d(self.ins, self.outs[self.outs != KEPT]).size:
            # What goes together with a channel does not read it any more.
            self.used = self.used & (self.ins[:, None] != self.outs[None, :])

    def needed(self, gone: np.ndarray) -> np.ndarray:
        """The classes that this reading cannot do without."""
        open_ones = np.flatnonzero(~self.fine)
        live = ~gone[self.outs]
        return self.ins[open_ones[self.used[open_ones][:, live].any(axis=1)]]


def _largest(readings: list[_Read], roots: np.ndarray, kept: set[int]) -> np.ndarray:
    """The largest set of classes that can go: what goes reads nothing, so more can go."""
    may = ~np.isin(roots, list(kept))
    gone = np.zeros(len(roots), bool)
    while True:
        needed = np.zeros(len(roots), bool)
        for reading in readings:
            needed[reading.needed(gone)] = True
        more = may & ~needed[roots]
        if (more == gone).all():
            return gone
        gone = more
