"""What symbols cost at least, counted in whole numbers so that every machine finds the same."""

from __future__ import annotations

import numpy as np

FRACTION = 16  # bits behind the point: costs are in 2**-16 bits

_ONE = 30  # mantissas are 2**30 up to 2**31


def log2(numbers: np.ndarray) -> np.ndarray:
    """Returns the logarithm of integers of 1 to 2**53, in 2**-16, rounded down to some units."""
    # frexp is exact, and gives 2**(exponent - 1) <= number.
    exponent = np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1
    up, down = np.maximum(_ONE - exponent, 0), np.maximum(exponent - _ONE, 0)
    mantissa = numbers.astype(np.int64) << up >> down
    for _ in range(FRACTION):
        mantissa = mantissa * mantissa >> _ONE
        above = mantissa >> (_ONE + 1)
        mantissa >>= above
        exponent = exponent << 1 | above
    return exponent


def bytes_of(counts: np.ndarray) -> int:
    """Returns the entropy of a histogram times its symbols, in bytes rounded up.

    Args:
        counts: int64 `[K]`, of each symbol.
    """
    there = counts[counts > 0]
    if not there.size:
        return 0
    cost = log2(there.sum(keepdims=True)) - log2(there)
    return in_bytes(int((there * cost).sum()))


def in_bytes(cost: int) -> int:
    """Returns a cost in 2**-16 bits as bytes, rounded up."""
    return -(-cost >> (FRACTION + 3))
