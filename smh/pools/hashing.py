"""The seeded hash of a `HashVariablePool`: integers only."""

from __future__ import annotations

import numpy as np


def hashed_indices(start: int, stop: int, buckets: int, seed: int) -> np.ndarray:
    """`h(i)` for `start <= i < stop`: splitmix64 of the seeded index, modulo `buckets`.

    Reference: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    with np.errstate(over="ignore"):
        key = np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15)
        z = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) % np.uint64(buckets)).astype(np.int32)
