"""The factors of a pool of several blocks that are closest to the one weight it holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from smh.pools.fit import PoolFit, elements, fit_pool
from smh.pools.shape import PoolShape


def fit_blocks(weight: Any, path: str, shape: PoolShape, seed: int | None = None) -> PoolFit:
    """Fits each block by itself, see `fit_pool`; the weight has one scale for all of them.

    Args:
        weight: a variable or an array, whose first number is entry 0 of the pool.
        path: its name, for messages.
        shape: sides, replicas and blocks of the pool.
        seed: as in `fit_pool`.

    Raises:
        SelectionError: the weight is not finite.
    """
    one = shape.rows * shape.cols
    length = math.prod(tuple(weight.shape))
    random = np.random.default_rng(seed or 0)
    left = np.zeros((shape.blocks, shape.rows, shape.replicas), np.float32)
    # What is not fitted, as the last block may be too short for, is there to be trained.
    right = random.standard_normal((shape.blocks, shape.replicas, shape.cols), np.float32)
    scales, kept, energies = np.zeros((3, shape.blocks))
    for block in range(shape.blocks):
        part = elements(weight, block * one, min((block + 1) * one, length))
        rows = -(-len(part) // shape.cols)
        rank = min(rows, shape.replicas)
        if rank:
            sides = PoolShape(rows, shape.cols, rank)
            fit = fit_pool([part], [path], sides, seed)
            left[block, :rows, :rank], right[block, :rank] = fit.left, fit.right
            (scales[block],), (kept[block],) = fit.scales, fit.energies
            energies[block] = np.square(part, dtype="float64").sum()
    scale = math.sqrt(np.mean(scales**2)) or 1.0
    left *= (scales / scale).astype(np.float32)[:, None, None]
    total = energies.sum()
    energy = float((kept * energies).sum() / total) if total > 0 else 1.0
    return PoolFit(
        left.reshape(-1, shape.replicas), right.reshape(-1, shape.cols), (scale,), (energy,), energy
    )
