"""What an integer costs in bits, and which one is cheapest."""

from __future__ import annotations

import numpy as np


class Price:
    """What integers cost, by how often each occurs; half a count for those that do not.

    Zero costs less than any other, so that where bits are dear nothing else is left.

    Args:
        integers: any shape: what the histogram is of.
        multiplier: what a bit costs.
    """

    def __init__(self, integers: np.ndarray, multiplier: float = 1.0):
        reach = 2 * int(np.abs(integers).max(initial=0)) + 8
        places = integers.astype(np.int64).ravel() + reach
        counts = np.bincount(places, minlength=2 * reach + 1) + 0.5
        counts[reach] = counts.max() + 0.5
        bits = np.log2(counts.sum()) - np.log2(counts)
        # As an index, a number below zero counts from the end.
        self._costs = np.roll(multiplier * bits, -reach).astype(np.float32)
        self._least, self._most = np.float32(-reach), np.float32(reach)

    def __call__(self, integers: np.ndarray) -> np.ndarray:
        """The cost of each."""
        return self._costs.take(integers.astype(np.intp))

    def cheapest(self, wanted: np.ndarray, cost: np.ndarray) -> np.ndarray:
        """Of the integers near each number, and zero, the one of least error and bits.

        Args:
            wanted: float32 numbers.
            cost: of the same shape: what a squared error of 1 costs.
        """
        candidates = np.zeros((4, *wanted.shape), np.float32)
        near, lower, below = candidates[0], candidates[1], candidates[2]
        np.minimum(wanted, self._most, out=below)
        np.maximum(below, self._least, out=below)
        np.rint(below, out=near)
        np.trunc(below, out=lower)  # towards zero
        np.subtract(lower, np.sign(lower), out=below)
        total = wanted - candidates
        total *= total
        total *= cost
        total += self(candidates)
        two = np.where(total[:2] <= total[2:], candidates[:2], candidates[2:])
        least = np.minimum(total[:2], total[2:])
        return np.where(least[0] <= least[1], two[0], two[1])
