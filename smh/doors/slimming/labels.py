"""Which channels are one: labels on the channels of tensors, and what unites them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

# The label of what stays whatever happens: it can be united with others, and then they stay too.
KEPT = 0


@dataclass(frozen=True, eq=False)
class Channels:
    """What is known of a tensor: the axis that may be cut, and what lies along it.

    Attributes:
        shape: of the tensor with its batch; `None` where it is free.
        axis: of the channels, from the end (-1 is the last); `None` if no axis can be cut.
        labels: int `[n]`, one for each channel. Equal labels go together.
        values: float64 `[n]`: the number that the channel always is, at every place, for every
            input; NaN if it is not always the same.
    """

    shape: tuple[int | None, ...]
    axis: int | None
    labels: np.ndarray
    values: np.ndarray

    def with_values(self, values: np.ndarray) -> Channels:
        """The same channels with other values."""
        return replace(self, values=values)


class Labels:
    """Sets of labels: a union-find over whole numbers, in which `KEPT` is always a root."""

    def __init__(self) -> None:
        self._parent = [KEPT]

    def fresh(self, count: int) -> np.ndarray:
        """Returns labels that were not there before, `[count]`."""
        begin = len(self._parent)
        self._parent.extend(range(begin, begin + count))
        return np.arange(begin, begin + count)

    def unite(self, one: np.ndarray, other: np.ndarray) -> None:
        """Makes one class of each label of `one` and the one at its place in `other`."""
        for a, b in set(zip(one.tolist(), other.tolist(), strict=True)):
            low, high = sorted((self._root(a), self._root(b)))
            self._parent[high] = low  # so that the root of a class is its smallest label

    def keep(self, labels: np.ndarray) -> None:
        """Says that these stay."""
        self.unite(labels, np.full(labels.shape, KEPT))

    def roots(self) -> np.ndarray:
        """Returns the class of each label, int `[labels]`: its smallest label."""
        roots = np.array(self._parent)
        for label, parent in enumerate(roots):  # parents are smaller, so they are done already
            roots[label] = roots[parent]
        return roots

    def _root(self, label: int) -> int:
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label


def whole(shape: Iterable[int | None]) -> Channels:
    """A tensor of which nothing can be cut."""
    return Channels(tuple(shape), None, np.zeros(0, int), np.zeros(0))


def zeros_of(values: np.ndarray) -> np.ndarray:
    """What stays of values where only zero stays what it is."""
    return np.where(values == 0, 0, np.nan)


def unknown(count: int) -> np.ndarray:
    """Values of channels that are not always the same number."""
    return np.full(count, np.nan)
