"""Weights that share few values: `smh.cluster`, `smh.Quantizer`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from smh.doors.candidates import (
    Bits,
    Candidate,
    by_pattern,
    candidates,
    changed,
    pairs_of,
    reparametrize,
)
from smh.doors.kmeans import INITS, cluster_values
from smh.errors import ArgumentError
from smh.errors.limits import CODEBOOK_BITS
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.rounded import FakeQuantized
from smh.parametrizations.stepped import Stepped
from smh.progress import track
from smh.typing import Selector
from smh.virtual_variable import wrapping_of

_MOST_ITERATIONS = 3000  # of which each costs milliseconds; many clusters need many


def cluster(
    model: keras.Model,
    bits: Bits | None = 4,
    *,
    init: str = "optimal",
    zero: bool = False,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    seed: int | None = 0,
) -> keras.Model:
    """Replaces the numbers of each weight by `2 ** bits` shared values, in place.

    The values are found by k-means over the weight's numbers, and `fit` then trains them, each by
    the sum of its members' gradients. Zeros of a pruned weight stay zero and take no value. Of a
    compressed model the factors share values. Called again, it finds new values (fewer bits, for
    example) from the present ones.

    Args:
        model: a built Keras 3 model of any kind, or a layer.
        bits: 1 to 12: one number, or (pattern, number) pairs, or a mapping of these, as in
            `smh.prune`. `None`: every number of the weights by itself again, pruned ones pruned.
        init: where k-means starts: `"optimal"` (where the squared error is least), `"linear"`
            (evenly from the smallest to the largest, which
            keeps the few large weights; best in Deep Compression), `"density"` (evenly by
            their distribution), `"random"` (Forgy) or `"k-means++"`.
        zero: whether one of the values of a weight that is not pruned is zero, and stays zero; from
            2 bits on.
        apply_to: what to select, as in `smh.compress`. Default: kernels, embeddings and other
            trained weights of rank 2 or more; biases and scales stay (`smh.doors.weight_roles`).
        exclude: what to leave alone.
        seed: of `"random"` and `"k-means++"`.

    Returns:
        The same model.

    Raises:
        ArgumentError: a value that cannot work, or factors that `smh.quantize_factors` rounds.
        SelectionError: nothing is selected, or a weight with NaN in it, or one that its layer
            assigns to (`SpectralNormalization`), or LoRA adapters.
        UnbuiltModelError: the model has no weights yet.
        DeployedModelError: the model is deployed.
        In every case the model is as it was.

    Cost: one sort of each weight, a few seconds for 25 million numbers (benchmarks/README.md). In
    memory one byte for each number instead of four; two above 8 bits. The optimizer starts anew.

    Example:
        >>> model = smh.cluster(smh.prune(model, 0.9), bits=4)
        >>> model.fit(x, y)

    Reference: Han, Mao, Dally, "Deep Compression", ICLR 2016, section 3.
    """
    if init not in INITS:
        raise ArgumentError(f"init must be one of {', '.join(map(repr, INITS))}, got {init!r}.")
    items = candidates(model, apply_to, exclude)
    if bits is None:
        items = [item for item in items if isinstance(item.parametrization, Clustered)]
        made = [(item, item.masked) for item in items]
    else:
        wanted = by_pattern(model, items, bits, "bits", CODEBOOK_BITS.checked)
        items = [items[i] for i in wanted]
        for item in items:
            _check_not_rounded(item)
        pairs = list(zip(items, wanted.values(), strict=True))
        found = [
            _clustered(item, width, init, seed, zero)
            for item, width in track(pairs, "finding shared values")
        ]
        made = list(zip(items, found, strict=True))
    reparametrize(model, made)
    changed(items)
    return model


class Quantizer:
    """Lets given weights share values at given bits.

    Args:
        options: (path or pattern, bits) pairs, as in `smh.cluster`.
        init, zero: see `smh.cluster`.
        seed: of the random starts.

    Raises:
        ArgumentError: malformed options.

    Example:
        >>> quantizer = smh.Quantizer([("conv/kernel", 6), ("dense/kernel", 4)])
        >>> quantizer.quantize(model)

    The interface is that of nn-compression's quantizer.
    """

    def __init__(
        self,
        options: Mapping[str, int] | Sequence[Sequence],
        *,
        init: str = "optimal",
        zero: bool = False,
        seed: int | None = 0,
    ):
        self.options = pairs_of(options, "('dense/kernel', 4)", CODEBOOK_BITS.checked)
        self.init, self.zero, self.seed = init, zero, seed

    def quantize(self, model: keras.Model) -> keras.Model:
        """Lets the weights of `model` share values; see `smh.cluster` for what it raises."""
        return cluster(
            model,
            self.options,
            init=self.init,
            zero=self.zero,
            apply_to=lambda variable: True,
            seed=self.seed,
        )


def _clustered(item: Candidate, bits: int, init: str, seed: int | None, zero: bool):
    """Finds the values now; returns what makes the variables."""
    value, mask = item.numbers(), item.mask()
    pruned = not mask.all()
    if not mask.any():  # nothing but zeros: one value that nobody takes
        codebook, index = np.zeros(1, "float32"), np.zeros(value.shape, "uint16")
        return functools.partial(Clustered.of, item.path, codebook, index, True)
    zero = zero and bits > 1 and not pruned
    codebook, members = cluster_values(
        value[mask] if pruned else value, 2**bits, init, seed, _MOST_ITERATIONS, zero=zero
    )
    if zero:
        codebook, index = _zero_first(codebook, members)
    elif pruned:
        index = np.zeros(value.shape, "uint16")
        index[mask] = members + np.uint16(1)
    else:
        index = members
    return functools.partial(Clustered.of, item.path, codebook, index, pruned or zero)


def _zero_first(codebook: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values but zero, and indices of which 0 means zero."""
    others = np.flatnonzero(codebook != 0)
    codes = np.zeros(codebook.size, "uint16")
    codes[others] = np.arange(1, others.size + 1)
    return codebook[others], codes[members]


def _check_not_rounded(item: Candidate) -> None:
    if wrapping_of(item.variable) is not None:
        raise ArgumentError(
            f"'{item.path}' is rounded by smh.quantize_factors. Call smh.quantize_factors(model, "
            "bits=None) first: a factor is rounded or shares values, not both."
        )
    if isinstance(item.parametrization, FakeQuantized | Stepped):
        raise ArgumentError(
            f"'{item.path}' is rounded by smh.quantize_weights or smh.shrink: a weight is rounded "
            "or shares values, not both. Begin with smh.materialize(model)."
        )
