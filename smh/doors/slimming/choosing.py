"""Which channels `smh.prune(structure="channels")` takes, and the masks that take them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.coding.axes import along
from smh.doors.candidates import Candidate
from smh.doors.importance import Importance
from smh.doors.slimming.labels import KEPT
from smh.doors.slimming.removable import axes_of, could_go, removable
from smh.doors.slimming.report import dense_numbers
from smh.doors.slimming.walking import walk
from smh.doors.slimming.wiring import Cut, Wiring
from smh.doors.weight_roles import Role, role_of
from smh.errors import ArgumentError, SelectionError
from smh.virtual_variable import floats_of

# What a sparsity is a share of.
SHARES = ("channels", "multiply_adds", "numbers")
_ALONG = frozenset({Role.BIAS, Role.SCALE})


@dataclass(frozen=True)
class Wish:
    """How much is to go.

    Attributes:
        level: the share of `share_of`, from 0 to below 1.
        share_of: one of `SHARES`.
        round_to: of how many channels a multiple stays, wherever some can go.
        relative: whether a channel is compared with the others of its weight, not with all.
    """

    level: float
    share_of: str
    round_to: int
    relative: bool


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
    wish: Wish,
    every: Sequence[Candidate],
    selected: Sequence[Candidate],
    counts: Importance,
    random: np.random.Generator,
) -> Taken:
    """Chooses the channels that count least over all layers; changes nothing.

    A channel counts as much as the sum of squares over the weights that make it, for each of the
    `share_of` that goes with it. Relative: the mean over these weights of the sum over that of the
    weight's channels on average, so that a layer of large numbers is not favoured.

    Args:
        model: a graph of layers.
        wish: how much.
        every: all trained weights; a channel of which one cannot be masked stays.
        selected: the weights that may lose channels.
        counts: how much each number of a weight does, also behind a mask.
        random: decides among equals.

    Raises:
        ArgumentError: the model is no graph, or so much cannot go.
        SelectionError: no channel can go.
    """
    net = walk(model)
    known = {id(item.variable): item for item in every}
    may = {id(item.variable) for item in selected}
    roots, free, pinned = _free(model, net, known, may)
    made = [
        (cut, known[id(cut.variable)])
        for cut in _makers(net)
        if not cut.state and id(cut.variable) in known
    ]
    before = _gone_before(made, roots)
    scores = _scores(made, roots, counts, wish.relative)
    chance, numbers = random.random(len(roots)), dense_numbers(model)
    while True:
        if not free.any():
            raise SelectionError(_nothing(net, pinned))
        classes = np.flatnonzero(free & (roots == np.arange(len(roots))))
        ledger = _Ledger(net, roots, classes, wish.round_to, numbers)
        sizes = scores[classes]
        if not wish.relative:
            sizes = sizes / ledger.costs(classes, wish.share_of)
        order = np.lexsort((chance[classes], sizes, ~before[classes]))
        gone = ledger.take(classes[order], wish)
        # As `removable` says: what could go alone need not go with others.
        stays = gone & ~removable(walk(model, _then(net, roots, gone, before)))[roots]
        if not stays.any():
            break
        free &= ~stays[roots]
    masks = [(item, _mask(cut, item, roots, gone, before)) for cut, item in made]
    concerned = [
        (item, mask)
        for (cut, item), (_, mask) in zip(made, masks, strict=True)
        if any(free[labels].any() for labels in cut.makes.values())
    ]
    states, then = [cut for cut in _makers(net) if cut.state], _then(net, roots, gone, before)
    return Taken(concerned, [(cut.variable, then(cut.variable)) for cut in states])


def _makers(net: Wiring) -> list[Cut]:
    return [cut for cut in net.cuts.values() if cut.makes]


def _free(model, net: Wiring, known: Mapping[int, Candidate], may: set[int]):
    """The class of each label, whether it could go if all its weights were zero, what may not."""
    pinned = [cut for cut in _makers(net) if not _may_lose(cut, known, may)]
    labels = [each for cut in pinned for each in cut.makes.values()]
    for each in labels:
        net.labels.keep(each)
    roots = net.labels.roots()
    # What stays need not be constant, though all that could go makes it so if it goes as a whole.
    stays = roots == KEPT
    then = walk(model, _then(net, roots, ~stays, np.zeros(len(roots), bool)), stays)
    for each in labels:
        then.labels.keep(each)
    return roots, could_go(then), pinned


def _may_lose(cut: Cut, known: Mapping[int, Candidate], may: set[int]) -> bool:
    """Whether a weight can be masked, and is selected; a bias goes with its kernel.

    What is not trained, as a moving mean, is made zero where its layer is trained.
    """
    if cut.state:
        return cut.layer.trainable
    key = id(cut.variable)
    return key in known and (key in may or _goes_along(known[key]))


def _then(net: Wiring, roots: np.ndarray, gone: np.ndarray, before: np.ndarray):
    """What a weight reads as without the channels that go; those that come back are not zero."""
    back = before & ~gone

    def read(variable: keras.Variable) -> np.ndarray:
        value, cut = floats_of(variable), net.cuts.get(id(variable))
        if cut is None:
            return value
        if not cut.state and back.any():
            value = np.where((value == 0) & _made_of(cut, roots, back), 1, value)
        return np.where(_made_of(cut, roots, gone), 0, value).astype(value.dtype)

    return read


def _goes_along(item: Candidate) -> bool:
    """Whether a weight goes with others, and says nothing of how much a channel counts."""
    return len(item.variable.shape) < 2 or role_of(item.variable, item.owners) in _ALONG


def _made_of(cut: Cut, roots: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Which numbers of a weight make a channel that is chosen: broadcasts to its shape."""
    rank, found = len(cut.variable.shape), np.zeros((1,) * len(cut.variable.shape), bool)
    for axis, labels in cut.makes.items():
        found = found | chosen[roots[labels]].reshape(along(axis, rank))
    return found


def _scores(made, roots: np.ndarray, counts: Importance, relative: bool) -> np.ndarray:
    sums, weights = np.zeros(len(roots)), np.zeros(len(roots))
    for cut, item in made:
        if _goes_along(item):
            continue
        squares = np.square(counts(item), dtype="float64")
        for axis, labels in cut.makes.items():
            along = squares.sum(axis=tuple(a for a in range(squares.ndim) if a != axis))
            np.add.at(sums, roots[labels], along / (along.mean() or 1) if relative else along)
            np.add.at(weights, roots[labels], 1)
    return sums / np.maximum(weights, 1) if relative else sums


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


class _Ledger:
    """How many channels stay along each axis, and what is left with them.

    Classes that lie along the same axes are a group. Of each group a multiple of `round_to` stays,
    or all: its channels go that many at a time, when the last of them is due.
    """

    def __init__(
        self, net: Wiring, roots: np.ndarray, classes: np.ndarray, round_to: int, numbers: int
    ):
        self.net, self.roots, self.round_to = net, roots, round_to
        axes = list(axes_of(net))
        self.axes = [roots[labels] for labels, _ in axes]
        # How many more may go along each.
        self.live = np.array([len(labels) - least for labels, least in axes])
        self.on: dict[int, list[tuple[int, int]]] = {}
        for number, axis in enumerate(self.axes):
            for label, times in zip(*np.unique(axis, return_counts=True), strict=True):
                self.on.setdefault(int(label), []).append((number, int(times)))
        self.members = Counter(self._group(int(label)) for label in classes)
        self.due: dict[Any, list[int]] = {}
        self.gone = np.zeros(len(roots), bool)
        self.taken = 0
        self.rest = 0.0
        self.rest = numbers - self._numbers()  # of weights around which nothing is cut

    def take(self, order: np.ndarray, wish: Wish) -> np.ndarray:
        """Takes classes in their order until it is enough, bool `[labels]`.

        The last channel of an axis stays, whatever its place in the order.
        """
        if wish.share_of == "channels":
            wanted = round(wish.level * len(order))
            for label in order:
                if self.taken >= wanted:
                    break
                self._go(int(label))
            if wanted and not self.taken:
                raise ArgumentError(
                    f"round_to={wish.round_to} leaves nothing to take: no layer can lose so many "
                    "channels, or to a multiple of that."
                )
            return self.gone
        left = self._left(wish.share_of)
        whole = left()
        # Few at a time, so that the sums are not made anew for each.
        step, place = max(1, len(order) // 500), 0
        while left() > (1 - wish.level) * whole:
            if place >= len(order):
                stay = "one channel" if wish.round_to == 1 else f"{wish.round_to} channels"
                raise ArgumentError(
                    f"sparsity {wish.level} of the {wish.share_of.replace('_', '-')} cannot go: at "
                    f"most {1 - left() / whole:.3f} do, with {stay} left everywhere that can be "
                    "cut."
                )
            for label in order[place : place + step]:
                self._go(int(label))
            place += step
        return self.gone

    def costs(self, classes: np.ndarray, share_of: str) -> np.ndarray:
        """What goes with each class, while all others are there; at least a little."""
        if share_of == "channels":
            return np.ones(len(classes))
        left = self._left(share_of)
        whole, found = left(), {}
        for label in classes:
            group = self._group(int(label))
            if group not in found:
                self.gone[label] = True
                found[group] = max(whole - left(), 1e-9)
                self.gone[label] = False
        return np.array([found[self._group(int(label))] for label in classes])

    def _left(self, share_of: str) -> Callable[[], float]:
        return self._multiply_adds if share_of == "multiply_adds" else self._numbers

    def _group(self, label: int) -> tuple:
        return tuple(self.on.get(label, ()))

    def _go(self, label: int) -> None:
        """Marks a class as due, and takes as many of its group as leave a multiple."""
        group = self._group(label)
        if any(self.live[axis] < times for axis, times in group):
            return
        for axis, times in group:
            self.live[axis] -= times
        due = self.due.setdefault(group, [])
        due.append(label)
        extra = (self.members[group] - len(due)) % self.round_to
        if extra == 0:
            self.taken += int(np.count_nonzero(~self.gone[due]))
            self.gone[due] = True

    def _stay(self, labels: np.ndarray) -> int:
        return int(np.count_nonzero(~self.gone[self.roots[labels]]))

    def _numbers(self) -> float:
        found = self.rest
        for cut in self.net.cuts.values():
            shape = enumerate(cut.variable.shape)
            found += math.prod(self._stay(cut.axes[a]) if a in cut.axes else n for a, n in shape)
        return found

    def _multiply_adds(self) -> float:
        counts = [work.count(self._stay) for work in self.net.works]
        if None in counts:
            layer = self.net.works[counts.index(None)].layer
            raise ArgumentError(
                f"What '{layer.path}' takes depends on a size that is free. Give keras.Input a "
                "whole shape, and EinsumDense a whole output_shape, or use of='channels'."
            )
        return float(sum(n for n in counts if n is not None))


def _nothing(net: Wiring, pinned: Sequence[Cut]) -> str:
    reasons = [f"{left.layer} ({left.kind}): {left.reason}" for left in net.left.values()]
    for cut in pinned:
        reasons.append(f"{cut.variable.path}: it is frozen, excluded, or computed from a pool")
    more = [f"and {len(reasons) - 8} more"] if len(reasons) > 8 else []
    return "\n  ".join(
        [
            "No channel can go: each one is an input or an output of the model, is not selected, "
            "or is used where nothing can be cut.",
            *reasons[:8],
            *more,
        ]
    )
