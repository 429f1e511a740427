"""Which numbers of a weight a scan sets to zero."""

from __future__ import annotations

import numpy as np

from smh.doors.output_units import Units


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
    sizes: np.ndarray, sparsity: float, units: Units, rng: np.random.Generator
) -> np.ndarray:
    """As `kept`, for whole filters: those of least L2 norm go, but never all.

    Args:
        sizes: magnitudes.
        sparsity: share of filters to drop.
        units: which numbers make a filter.
        rng: draws among equal norms.

    Returns:
        bool, in the shape of `sizes`.

    Reference: H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.
    """
    norms = units.sums(np.square(sizes, dtype=np.float64))
    most = (units.count - 1) / units.count
    return units.spread(kept(norms, min(sparsity, most), rng), sizes.shape)
