"""What a file may be expected to have at a price of a bit, before anything is rounded for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from smh.shrinking.flow import Rounded
from smh.shrinking.items import Item
from smh.shrinking.shares import steps_of

_FINEST, _COARSEST = -100, 100  # prices, as powers of two


class Curve:
    """Bytes against the price of a bit, asked for at powers of two alone, straight between them.

    Args:
        size_at: the bytes at a price, above 0; nearly falling.
        start: where to begin to look.

    Attributes:
        ENDS: the lowest and the highest price that it returns.
    """

    ENDS = 2.0**_FINEST, 2.0**_COARSEST

    def __init__(self, size_at: Callable[[float], float], start: float):
        self._size_at = size_at
        self._start = min(max(round(math.log2(start)), _FINEST), _COARSEST - 1)
        self._known: dict[int, float] = {}

    def __call__(self, price: float) -> float:
        """The logarithm of the bytes."""
        at = math.log2(price)
        low = math.floor(at)
        below, above = self._at(low), self._at(low + 1)
        return below + (above - below) * (at - low)

    def price_of(self, size: float) -> float:
        """At which the logarithm of the bytes is `size`; one of the ends, if there is none."""
        low, high = self._start, self._start + 1
        step = 1
        while low > _FINEST and self._at(low) < size:
            low, high, step = max(_FINEST, low - step), low, 2 * step
        while high < _COARSEST and self._at(high) >= size:
            low, high, step = high, min(_COARSEST, high + step), 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._at(middle) < size else (middle, high)
        below, above = self._at(low), self._at(high)
        part = (below - size) / (below - above) if below > above else float(below >= size)
        return 2.0 ** (low + min(max(part, 0.0), 1.0))

    def _at(self, power: int) -> float:
        if power not in self._known:
            self._known[power] = math.log(self._size_at(2.0**power))
        return self._known[power]


def expected_bytes(items: Sequence[Item], price: float) -> float:
    """Of all numbers, each rounded to the nearest of its steps, by how often each occurs.

    The numbers that the rounding makes have 0.95 to 1.05 times as many on most networks, and up to
    three times where nearly all are zero.

    Cost: some ten operations for each number.
    """
    return sum(_nearest(item, price).entropy for item in items)


def _nearest(item: Item, price: float) -> Rounded:
    steps, shape = steps_of(item, price), tuple(item.candidate.variable._shape)
    spread = item.product.to_matrices(np.broadcast_to(steps.spread(len(shape)), shape))
    scaled = item.original / spread
    if item.keep is not None:
        scaled = scaled * item.keep
    return Rounded(np.rint(scaled).astype(np.int32), steps, 0.0)
