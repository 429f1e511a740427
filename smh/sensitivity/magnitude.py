"""Which numbers of a weight a scan sets to zero. Needs NumPy only."""

from __future__ import annotations

import numpy as np


def kept(sizes: np.ndarray, sparsity: float, rng: np.random.Generator) -> np.ndarray:
    """Says which elements stay when the share `sparsity` of least size goes.

    Args:
        sizes: magnitudes or norms, of any shape.
        sparsity: share of elements to drop, in [0, 1]; their number is rounded to the nearest.
        rng: draws among equal sizes, which would else go from the low indices on. The same state
            gives nested choices for growing sparsities.

    Returns:
        bool, in the shape of `sizes`.
    """
    dropped = round(sparsity * sizes.size)
    if dropped == 0:
        return np.ones(sizes.shape, bool)
    threshold = np.partition(sizes, dropped - 1, axis=None)[dropped - 1]
    keep = sizes > threshold
    equal = np.flatnonzero(sizes == threshold)
    too_many = dropped - int(np.count_nonzero(sizes < threshold))
    keep.flat[rng.permutation(equal)[too_many:]] = True
    return keep


def kept_filters(
    sizes: np.ndarray, sparsity: float, axis: int, rng: np.random.Generator
) -> np.ndarray:
    """As `kept`, for whole filters: those of least L2 norm go.

    Args:
        sizes: magnitudes.
        sparsity: share of filters to drop.
        axis: the axis that counts filters, from the end: -1 for a kernel `[h, w, in, out]`.
        rng: draws among equal norms.

    Returns:
        bool, in the shape of `sizes`.

    Reference: H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.
    """
    inside = tuple(i for i in range(sizes.ndim) if i - sizes.ndim != axis)
    norms = np.square(sizes, dtype=np.float64).sum(axis=inside, keepdims=True)
    return np.broadcast_to(kept(norms, sparsity, rng), sizes.shape)
