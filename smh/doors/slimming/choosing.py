"""Which channels `smh.prune(structure="channels")` takes, and the masks that take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from smh.doors.candidates import Candidate
from smh.doors.slimming.labels import KEPT
from smh.doors.slimming.removable import axes_of, could_go
from smh.doors.slimming.walking import numbers_of, walk
from smh.doors.slimming.wiring import Cut, Wiring
from smh.doors.weight_roles import Role, role_of
from smh.errors import ArgumentError, SelectionError

# What a sparsity is a share of.
SHARES = ("channels", "multiply_adds")
_ALONG = frozenset({Role.BIAS, Role.SCALE})


@dataclass(frozen=True, eq=False)
class Taken:
    """What to do to take channels.

    Attributes:
        masks: for each weight concerned, which numbers stay.
        zeroed: variables that are not trained, with the numbers that they get.
    """

    masks: Sequence[tuple[Candidate, np.ndarray]]
    zeroed: Sequence[tuple[keras.Variable, np.ndarray]]


def take_channels(
    model: keras.Model,
    level: float,
    share_of: str,
    every: Sequence[Candidate],
    selected: Sequence[Candidate],
    magnitude: Callable[[Candidate], np.ndarray],
    random: np.random.Generator,
) -> Taken:
    """Chooses the channels of smallest weights over all layers; changes nothing.

    A channel's magnitude is the root of the mean, over the weights that make it, of its sum of
    squares over the mean of that weight's channels. So a layer of large numbers is not favoured.

    Args:
        model: a graph of layers.
        level: the share of `share_of` that goes, from 0 to below 1.
        share_of: one of `SHARES`.
        every: all trained weights; a channel of which one cannot be masked stays.
        selected: the weights that may lose channels.
        magnitude: of each number of a weight, also behind a mask.
        random: decides among equals.

    Raises:
        ArgumentError: the model is no graph, or so much cannot go.
        SelectionError: no channel can go.
    """
    net = walk(model)
    known = {id(item.variable): item for item in every}
    may = {id(item.variable) for item in selected}
    roots, free = _free(model, net, known, may)
    if not free.any():
        raise SelectionError(_nothing(net))
    made = [
        (cut, known[id(cut.variable)])
        for cut in _makers(net)
        if not cut.state and id(cut.variable) in known
    ]
    classes = np.flatnonzero(free & (roots == np.arange(len(roots))))
    before = _gone_before(made, roots)
    order = np.lexsort((random.random(len(classes)), _scores(made, roots, magnitude)[classes]))
    order = order[np.argsort(~before[classes][order], kind="stable")]
    gone = _Ledger(net, roots).take(classes[order], level, share_of, len(classes))
    masks = [(item, _mask(cut, item, roots, gone, before)) for cut, item in made]
    concerned = [
        (item, mask)
        for (cut, item), (_, mask) in zip(made, masks, strict=True)
        if any(free[labels].any() for labels in cut.makes.values())
    ]
    states = [cut for cut in _makers(net) if cut.state]
    return Taken(concerned, [(cut.variable, _zeroed(cut, roots, gone)) for cut in states])


def _makers(net: Wiring) -> list[Cut]:
    return [cut for cut in net.cuts.values() if cut.makes]


def _free(model, net: Wiring, known: Mapping[int, Candidate], may: set[int]):
    """The class of each label, and whether it could go if all its weights were zero."""
    pinned = [
        labels
        for cut in _makers(net)
        if not (cut.state or _may_lose(cut, known, may))
        for labels in cut.makes.values()
    ]
    for labels in pinned:
        net.labels.keep(labels)
    roots = net.labels.roots()

    def without_channels(variable: keras.Variable) -> np.ndarray:
        value, cut = numbers_of(variable), net.cuts.get(id(variable))
        return value if cut is None else np.where(_made_of(cut, roots, roots != KEPT), 0, value)

    then = walk(model, without_channels)
    for labels in pinned:
        then.labels.keep(labels)
    return roots, could_go(then)


def _may_lose(cut: Cut, known: Mapping[int, Candidate], may: set[int]) -> bool:
    """Whether a weight can be masked, and is selected; a bias goes with its kernel."""
    key = id(cut.variable)
    return key in known and (key in may or _goes_along(known[key]))


def _goes_along(item: Candidate) -> bool:
    """Whether a weight goes with others, and says nothing of how much a channel counts."""
    return len(item.variable.shape) < 2 or role_of(item.variable, item.owners) in _ALONG


def _made_of(cut: Cut, roots: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Which numbers of a weight make a channel that is chosen: broadcasts to its shape."""
    rank, found = len(cut.variable.shape), np.zeros((1,) * len(cut.variable.shape), bool)
    for axis, labels in cut.makes.items():
        found = found | chosen[roots[labels]].reshape([-1 if a == axis else 1 for a in range(rank)])
    return found


def _scores(made, roots: np.ndarray, magnitude) -> np.ndarray:
    sums, counts = np.zeros(len(roots)), np.zeros(len(roots))
    for cut, item in made:
        if _goes_along(item):
            continue
        squares = np.square(magnitude(item), dtype="float64")
        for axis, labels in cut.makes.items():
            along = squares.sum(axis=tuple(a for a in range(squares.ndim) if a != axis))
            np.add.at(sums, roots[labels], along / (along.mean() or 1))
            np.add.at(counts, roots[labels], 1)
    return np.sqrt(sums / np.maximum(counts, 1))


def _gone_before(made, roots: np.ndarray) -> np.ndarray:
    """Which classes are masked altogether already."""
    kept = np.zeros(len(roots), bool)
    for cut, item in made:
        mask = item.mask()
        for axis, labels in cut.makes.items():
            along = mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis))
            kept[roots[labels[along]]] = True
    return ~kept


def _mask(cut: Cut, item: Candidate, roots, gone: np.ndarray, before: np.ndarray) -> np.ndarray:
    """What stays: of channels that come back all, of others what stayed before."""
    shape = tuple(cut.variable.shape)
    away = np.broadcast_to(_made_of(cut, roots, gone), shape)
    back = np.broadcast_to(_made_of(cut, roots, before & ~gone), shape)
    return ~away & (item.mask() | back)


def _zeroed(cut: Cut, roots: np.ndarray, gone: np.ndarray) -> np.ndarray:
    return np.where(_made_of(cut, roots, gone), 0, numbers_of(cut.variable))


class _Ledger:
    """How many channels stay along each axis, and what the multiply-adds come to."""

    def __init__(self, net: Wiring, roots: np.ndarray):
        self.net, self.roots = net, roots
        self.axes = [roots[labels] for labels in axes_of(net)]
        self.live = np.array([len(axis) for axis in self.axes])
        self.on: dict[int, list[tuple[int, int]]] = {}
        for number, axis in enumerate(self.axes):
            for label, times in zip(*np.unique(axis, return_counts=True), strict=True):
                self.on.setdefault(int(label), []).append((number, int(times)))

    def take(self, order: np.ndarray, level: float, share_of: str, count: int) -> np.ndarray:
        """Takes classes in their order until it is enough, bool `[labels]`.

        The last channel of an axis stays, whatever its place in the order.
        """
        gone = np.zeros(len(self.roots), bool)
        if share_of == "channels":
            wanted = round(level * count)
            taken = 0
            for label in order:
                if taken == wanted:
                    break
                taken += self._go(int(label), gone)
            return gone
        whole = self._multiply_adds(gone)
        # Few at a time, so that the sums are not made anew for each.
        step, place = max(1, len(order) // 500), 0
        while self._multiply_adds(gone) > (1 - level) * whole:
            if place >= len(order):
                least = self._multiply_adds(gone) / whole
                raise ArgumentError(
                    f"sparsity {level} of the multiply-adds cannot go: at most {1 - least:.3f} do, "
                    "with one channel left everywhere that can be cut."
                )
            for label in order[place : place + step]:
                self._go(int(label), gone)
            place += step
        return gone

    def _go(self, label: int, gone: np.ndarray) -> bool:
        places = self.on.get(label, [])
        if any(self.live[axis] <= times for axis, times in places):
            return False
        for axis, times in places:
            self.live[axis] -= times
        gone[label] = True
        return True

    def _multiply_adds(self, gone: np.ndarray) -> float:
        counts = [
            work.count(lambda labels: int(np.count_nonzero(~gone[self.roots[labels]])))
            for work in self.net.works
        ]
        if any(n is None for n in counts):
            raise ArgumentError(
                "What the layers take depends on the size of the input, which is free. Give "
                "keras.Input a whole shape, or use of='channels'."
            )
        return float(sum(n for n in counts if n is not None))


def _nothing(net: Wiring) -> str:
    reasons = "".join(
        f"\n  {left.layer} ({left.kind}): {left.reason}" for left in net.left.values()
    )
    return (
        "No channel can go: each one is an input or an output of the model, is not selected, or is "
        f"used where nothing can be cut.{reasons}"
    )
