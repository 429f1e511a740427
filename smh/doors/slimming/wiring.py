"""What a walk over a model finds: who has to lose a channel together, and who reads it.

The rules of the layers write here; `removable`, `choosing` and `cutting` read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from smh.doors.slimming.labels import KEPT, Channels, Labels, unknown

# Gives the number of channels that stay among labels.
Count = Callable[[np.ndarray], int]
# Changes a layer's configuration to what stays.
Edit = Callable[[dict[str, Any], Count], None]


@dataclass(eq=False)
class Cut:
    """How the labels lie in a weight.

    Attributes:
        variable: the weight, as the layer sees it.
        layer: a layer that holds it.
        reads: axis to the labels of channels that come in.
        makes: axis to the labels of channels that it makes: without these numbers, they are not.
        state: not trained, but kept by the layer: it goes to zero with the channel.
        least: axis to how many stay along it, at least; one if it is not said.
        scale: what to multiply it by, given what stays.
    """

    variable: keras.Variable
    layer: keras.Layer
    reads: dict[int, np.ndarray] = field(default_factory=dict)
    makes: dict[int, np.ndarray] = field(default_factory=dict)
    state: bool = False
    least: dict[int, int] = field(default_factory=dict)
    scale: Callable[[Count], float] | None = None

    @property
    def axes(self) -> dict[int, np.ndarray]:
        """Axis to labels, of both kinds."""
        return {**self.reads, **self.makes}


@dataclass(frozen=True, eq=False)
class Reading:
    """One call of something that mixes channels: what it takes of each that comes in.

    Attributes:
        layer: what reads.
        part: which of its weights, if it reads by several.
        ins: labels `[n]` of what comes in, and what it always is, `values` `[n]`.
        outs: labels `[m]` of what goes out.
        used: bool `[n, m]`: whether what comes in has any weight in what goes out.
        sums: `[n, m]`: what a constant 1 adds to what goes out.
        absorbs: whether a constant can be added to the bias, exactly.
        bias: that bias, or `None` if the layer has none (it then gets one).
    """

    layer: keras.Layer
    part: str
    ins: np.ndarray
    values: np.ndarray
    outs: np.ndarray
    used: np.ndarray
    sums: np.ndarray
    absorbs: bool
    bias: keras.Variable | None

    @property
    def key(self) -> tuple[int, str]:
        """The same for all calls of one weight."""
        return id(self.layer), self.part


@dataclass(frozen=True, eq=False)
class Work:
    """Multiply-adds: `each` for every choice of one label out of each of `sides`.

    `each` is `None` if a side of the picture, or the length, is free.
    """

    layer: keras.Layer
    each: float | None
    sides: tuple[np.ndarray, ...]

    def count(self, count: Count) -> float | None:
        """How many there are, given what stays."""
        return None if self.each is None else self.each * math.prod(map(count, self.sides))


@dataclass(frozen=True)
class Left:
    """A layer around which nothing can be cut, and why."""

    layer: str
    kind: str
    reason: str


class Wiring:
    """What the rules said.

    Args:
        read: returns the numbers of a weight; not always those that it has (`choosing`).
        varying: of each label, whether its channel is no constant, whatever comes in; bool.
    """

    def __init__(
        self, read: Callable[[keras.Variable], np.ndarray], varying: np.ndarray | None = None
    ):
        self.read, self.varying = read, varying
        self.labels = Labels()
        self.cuts: dict[int, Cut] = {}
        self.readings: list[Reading] = []
        self.works: list[Work] = []
        self.edits: dict[int, Edit] = {}
        self.known: set[int] = set()  # layers with a rule
        self.whole: set[int] = set()  # layers around which nothing can be cut
        self.left: dict[int, Left] = {}
        self.times: float | None = 1  # how often the layer that is being looked at is called
        self._made: dict[tuple[int, str], np.ndarray] = {}

    def made_by(self, layer: keras.Layer, count: int, part: str = "") -> np.ndarray:
        """Returns the labels of the channels that a layer makes: in every call the same."""
        key = id(layer), part
        if key not in self._made:
            self._made[key] = self.labels.fresh(count)
        return self._made[key]

    def index(
        self,
        layer: keras.Layer,
        variable: keras.Variable | None,
        reads: Mapping[int, np.ndarray] | None = None,
        makes: Mapping[int, np.ndarray] | None = None,
        state: bool = False,
        least: Mapping[int, int] | None = None,
    ) -> None:
        """Says how labels lie in a weight; those of another call become one with these."""
        if variable is None:
            return
        cut = self.cuts.setdefault(id(variable), Cut(variable, layer))
        cut.state = state
        cut.least.update(least or {})
        for known, new in ((cut.reads, reads or {}), (cut.makes, makes or {})):
            for axis, labels in new.items():
                self.labels.unite(known.setdefault(axis, labels), labels)

    def resize(self, layer: keras.Layer, x: Channels, shape: Sequence[int | None]) -> None:
        """Says that a layer has the sizes of a tensor in its configuration: in all calls the same.

        Args:
            layer: it has no weights by which its calls would agree.
            x: the tensor, in `shape`.
            shape: with the batch.
        """
        for axis in range(1 - len(shape), 0):
            size = shape[axis]
            if size is not None:
                stays = np.full(size, KEPT)
                own = x.labels if axis == x.axis else stays
                made = self.made_by(layer, size, str(axis))
                same = len(own) == len(made)
                self.labels.unite(made, own if same else np.full(len(made), KEPT))

    def resized(
        self, layer: keras.Layer, shape: Sequence[int | None], count: Count
    ) -> tuple[int | None, ...]:
        """What stays of the sizes that `resize` was told, without the batch."""
        axes = range(1 - len(shape), 0)
        return tuple(
            None if shape[a] is None else count(self.made_by(layer, shape[a] or 0, str(a)))
            for a in axes
        )

    def mix(
        self,
        layer: keras.Layer,
        x: Channels,
        outs: np.ndarray,
        weights: tuple[np.ndarray, np.ndarray],
        bias: keras.Variable | None,
        absorbs: bool,
        part: str = "",
    ) -> np.ndarray:
        """Notes a reading, and returns what goes out always is, without the bias: `[m]`."""
        used, sums = weights
        self.readings.append(
            Reading(layer, part, x.labels, x.values, outs, used, sums, absorbs, bias)
        )
        constant = ~np.isnan(x.values) if absorbs else x.values == 0
        depends = used[~constant].any(axis=0)
        rows = np.flatnonzero(constant & (x.values != 0))
        total = x.values[rows] @ sums[rows].astype("float64") if rows.size else np.zeros(len(outs))
        return np.where(depends, np.nan, total)

    def work(self, layer: keras.Layer, each: float | None, *sides: np.ndarray) -> None:
        """Notes multiply-adds."""
        every = None if each is None or self.times is None else each * self.times
        self.works.append(Work(layer, every, sides))

    def edit(self, layer: keras.Operation, change: Edit) -> None:
        """Says how a layer's configuration follows."""
        self.edits[id(layer)] = change

    def keep(self, *tensors: Channels) -> None:
        """Says that nothing of these tensors goes."""
        for channels in tensors:
            self.labels.keep(channels.labels)

    def leave(self, layer: keras.Operation, reason: str) -> None:
        """Says that a layer, and with it what goes in and comes out, stays as it is."""
        path = getattr(layer, "path", None) or layer.name
        self.left.setdefault(id(layer), Left(path, type(layer).__name__, reason))

    def on_axis(self, x: Channels, axis: int, size: int | None = None) -> Channels:
        """Returns `x` as channels on `axis`; if they are on another one, nothing of it goes.

        Args:
            x: a tensor.
            axis: from the end.
            size: how many there are, if the shape leaves it free.
        """
        if x.axis == axis:
            return x
        self.keep(x)
        inside = len(x.shape) >= -axis
        size = size or (x.shape[axis] if inside else 1) or 0
        return Channels(x.shape, axis, np.full(size, KEPT), unknown(size))
