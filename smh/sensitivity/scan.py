"""The scans: one weight is changed, the model evaluated, the weight put back; then the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from smh.doors.kmeans import cluster_values, nearest
from smh.errors import ArgumentError
from smh.errors.limits import (
    CODEBOOK_BITS,
    MOST_CODEBOOK_BITS,
    SCANNED_SPARSITY,
    Limit,
    checked_seed,
)
from smh.sensitivity.magnitude import kept, kept_filters
from smh.sensitivity.plan import Plan, scan
from smh.sensitivity.result import ScanResult, ScanRow
from smh.sensitivity.scanned import Scanned, find_candidates
from smh.typing import Selector


def sensitivity_scan(
    model: keras.Model,
    evaluate: Any,
    sparsities: Iterable[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    structure: str | None = None,
    metric: str | int | None = None,
    higher_is_better: bool | None = None,
    stop: Callable[[ScanRow], bool] | None = None,
    method: str = "exact",
    seed: int | None = None,
    verbose: int = 1,
) -> ScanResult:
    """Measures how much a trained model loses when one weight after the other is pruned.

    Use it to choose the sparsities of `smh.prune`. Of each weight the numbers of least magnitude
    become zero, the model is evaluated, and the weight gets its numbers back, bit for bit: also
    after an error or an interrupt in `evaluate`, and before this returns. Nothing is trained.

    In a compressed model the factors of its pool are pruned, and whatever is still dense. What a
    weight has lost already goes first; weights that share their values (`smh.cluster`) are left
    out, because they can no longer be pruned.

    Args:
        model: a built, trained model or layer of any kind. A weight that layers share is one row.
        evaluate: a function of the model that returns a number, a dict, or a tuple of numbers. It
            must neither train nor change the model. Or data for a compiled model: `(x, y)`,
            `(x, y, sample_weight)`, a list of such batches, or a dataset that has an end and can be
            read again, measured by `model.evaluate`.
        sparsities: shares of zeros, above 0 and below 1.
        apply_to: what to scan, as in `smh.compress`, of weights and factors. Default: kernels,
            embeddings and other trained weights of rank 2 or more (`smh.doors.weight_roles`), and
            every trained factor of a pool.
        exclude: what to leave out, in the same form.
        structure: `None`: single numbers. `"filters"`: whole filters (output channels, see
            `smh.doors.output_units`) of least L2 norm, never all of a weight; factors have none
            and are left out.
        metric: which of several measured numbers decides, by name, or by index into a tuple.
            Default: the first that is known to be better when higher (as `accuracy`), else `loss`;
            of a model with several outputs `loss`, in which all have a part.
        higher_is_better: in which direction. Default: by the words of the metric's name (of
            `dice_loss`, `top_5_error` and `nll` less is better); `True` if they do not tell it.
        stop: called with each new row; once it returns true the scan ends.
        method: `"exact"`: evaluates the model for each row. `"fisher"`: estimates all rows from the
            gradients of up to 512 examples, which are given in the place of `evaluate`, without
            labels or as `(x, y)`, and measures at most two rows of each weight on 32 of them, where
            the change is not small (all, where gradients are not finite). The metric is then
            `divergence`, of the outputs from what they were (see `smh.sensitivity.second_order`).
            It tells which weights bear less than others, not what accuracy is left.
        seed: makes the choice among equal magnitudes repeatable.
        verbose: 1 shows progress, 0 nothing.

    Returns:
        A `ScanResult`: `print(result)`, `.to_csv(path)`, `.to_png(path)`,
        `.suggest(budget=0.9)`. An accuracy is a share in it and in the file; what is printed and
        drawn is in percent. Ended by `stop`, or by Ctrl-C (which also warns), it holds what was
        measured until then.

    Raises:
        UnbuiltModelError: the model has no weights yet.
        DeployedModelError: the model is deployed with cached weights.
        SelectionError: nothing is selected, or a weight is not finite, is assigned to by its
            layer (`SpectralNormalization`), or is a LoRA adapter that was not named.
        ArgumentError: a value that cannot work, also one that `evaluate` returns, or data that the
            model cannot be evaluated on.
        In every case, and whatever `evaluate` raises, the model is as it was.

    Cost: `1 + weights * sparsities` evaluations, and memory for four copies of the largest weight.
        Of a functional model of Keras' own layers that is compiled and evaluated on arrays, only
        what lies behind the changed weight is evaluated, on average half of it; the inputs of that
        are kept, up to 1 GiB (`smh.sensitivity.resuming`).
        By `"fisher"`, a forward and a backward pass of the examples, at most two forward passes of
        32 from each weight on (and of what is kept for that), and memory for as many copies of the
        weights as there are sparsities.

    Example:
        >>> result = smh.sensitivity_scan(model, accuracy, [0.5, 0.9], verbose=0)
        >>> len(result.rows)
        4

    Reference: S. Han et al., "Learning both Weights and Connections for Efficient Neural
    Networks", NIPS 2015, section 3.3 and figure 6.
    """
    levels = _levels(sparsities, "sparsities", SCANNED_SPARSITY, "numbers above 0 and below 1")
    if structure not in (None, "filters"):
        raise ArgumentError(f"structure must be None or 'filters', got {structure!r}.")
    entropy = _entropy(seed)
    filters = structure == "filters"
    candidates = find_candidates(model, apply_to, exclude, prunable=True, filters=filters)

    def prune(candidate: Scanned, stored: np.ndarray, level: float, number: int) -> np.ndarray:
        rng = np.random.default_rng([entropy, number])
        sizes = candidate.magnitudes(stored)
        if structure is None:
            keep = kept(sizes, level, rng)
        else:
            keep = kept_filters(sizes, level, candidate.units, rng)
        return np.where(keep, stored, np.zeros((), stored.dtype))

    plan = Plan("sparsity", candidates, levels, prune)
    return scan(model, plan, evaluate, metric, higher_is_better, stop, method, verbose)


def bits_scan(
    model: keras.Model,
    evaluate: Any,
    bits: Iterable[int] = (8, 6, 4, 3, 2),
    *,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    init: str = "optimal",
    metric: str | int | None = None,
    higher_is_better: bool | None = None,
    stop: Callable[[ScanRow], bool] | None = None,
    method: str = "exact",
    seed: int | None = None,
    verbose: int = 1,
) -> ScanResult:
    """Measures how much a trained model loses when one weight after the other gets few bits.

    Use it to choose the bits of `smh.cluster`. Each number of a weight is replaced by the nearest
    of `2**bits` centroids, which k-means finds. Zeros of a pruned weight stay and take none.
    Everything else is as in `smh.sensitivity_scan`.

    Args:
        model: a built, trained model or layer of any kind.
        evaluate: a function of the model, or data; see `smh.sensitivity_scan`.
        bits: whole numbers from 1 to 12.
        apply_to: what to scan; see `smh.sensitivity_scan`.
        exclude: what to leave out, in the same form.
        init: where k-means starts: `"optimal"`, `"linear"`, `"random"`, `"density"` or
            `"k-means++"`; see `smh.doors.kmeans.cluster_values`.
        metric: which of several measured numbers decides.
        higher_is_better: in which direction.
        stop: called with each new row; once it returns true the scan ends.
        method: `"exact"`, or `"fisher"`, which takes no labels; see `smh.sensitivity_scan`.
        seed: makes `"random"` and `"k-means++"` repeatable.
        verbose: 1 shows progress, 0 nothing.

    Returns:
        A `ScanResult`, as `smh.sensitivity_scan`; `.suggest(budget=4)` is then in bits.

    Raises:
        As `smh.sensitivity_scan`; the model is as it was.

    Cost: as of `smh.sensitivity_scan`, and a run of k-means for each row: some seconds for 25
        million numbers.

    Example:
        >>> result = smh.bits_scan(model, accuracy, [4, 2], verbose=0)
        >>> result.levels
        (4, 2)

    Reference: S. Han, H. Mao, W. J. Dally, "Deep Compression", ICLR 2016, section 3.
    """
    levels = _levels(bits, "bits", CODEBOOK_BITS, f"whole numbers from 1 to {MOST_CODEBOOK_BITS}")[
        ::-1
    ]
    entropy = _entropy(seed)
    cluster_values([0.0], 1, init)  # refuses another init before anything is evaluated
    candidates = find_candidates(model, apply_to, exclude)

    def cluster(candidate: Scanned, stored: np.ndarray, level: float, number: int) -> np.ndarray:
        own_seed = int(np.random.default_rng([entropy, number]).integers(2**32))
        visible = candidate.visible(stored)
        values = visible if candidate.is_shared else stored
        if candidate.weight is not candidate.variable and not visible.all():
            values = values[visible != 0]
        if not values.size:
            return stored
        centroids, indices = cluster_values(values, 2 ** int(level), init, own_seed)
        if values.shape != stored.shape:  # a mask or a codebook lies between
            indices = nearest(stored, centroids)
        return centroids.astype(stored.dtype)[indices]

    plan = Plan("bits", candidates, levels, cluster)
    return scan(model, plan, evaluate, metric, higher_is_better, stop, method, verbose)


def _levels(given, argument: str, limit: Limit, expected: str) -> list[float]:
    try:
        levels = sorted(set(given))
    except TypeError:
        raise ArgumentError(f"{argument} must be {expected}, in a list, got {given!r}.") from None
    wrong = [level for level in levels if not limit.fits(level)]
    if wrong or not levels:
        raise ArgumentError(
            f"{argument} must be {expected}, at least one, got {wrong[0] if wrong else given!r}."
        )
    return [limit.kind(level) for level in levels]


def _entropy(seed: int | None) -> int:
    given = checked_seed(seed)
    return int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given
