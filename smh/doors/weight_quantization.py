"""Few bits for dense weights: `smh.quantize_weights`."""

from __future__ import annotations

import functools

import keras
import numpy as np

from smh.doors.candidates import Bits, Candidate, by_pattern, candidates, reparametrize
from smh.errors import ArgumentError, SelectionError
from smh.errors.limits import GRID_BITS
from smh.parametrizations.rounded import PER, FakeQuantized, fit_grid
from smh.progress import track
from smh.typing import Selector
from smh.virtual_variable import Source, stored_variable

_GRANULARITIES = ("auto", *PER)


def quantize_weights(
    model: keras.Model,
    bits: Bits = 8,
    *,
    granularity: str = "auto",
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
) -> keras.Model:
    """Rounds dense weights to few bits, in place, while the model goes on training.

    Each call of the model rounds the weights, and the gradient passes as if they had not been
    rounded (straight-through), so that `fit` finds weights that work after rounding. `smh.save`
    stores the integers. For the factors of a compressed model there is `smh.quantize_factors`, and
    `smh.cluster` for values that need not lie evenly.

    `get_weights` lists the float numbers; where the grid of each ends is in files alone
    (`smh.save`, `.weights.h5`, `.keras`). A model that is given the list rounds it to its own.

    Args:
        model: a built Keras 3 model of any kind, or a layer.
        bits: 2 to 8: one number, or (pattern, number) pairs, or a mapping of these, as in
            `smh.prune`. Called again it changes them.
        granularity: what shares a scale: `"tensor"`, `"row"` (index of the first axis), `"column"`
            (of the last, the output units), or `"auto"`: for each weight the one of least error
            for its bytes.
        apply_to: what to select, as in `smh.compress`. Default: kernels, embeddings and other
            trained weights of rank 2 or more that are neither compressed nor pruned; biases and
            scales stay (`smh.doors.weight_roles`).
        exclude: what to leave alone.

    Returns:
        The same model.

    Raises:
        ArgumentError: a value that cannot work, or a weight that is pruned or shares its values.
        SelectionError: nothing is selected, or a weight with NaN in it, or one that its layer
            assigns to (`SpectralNormalization`), or LoRA adapters.
        UnbuiltModelError: the model has no weights yet.
        DeployedModelError: the model is deployed.
        In every case the model is as it was.

    Cost: some ten passes over the weights per call. The first call resets the optimizer's state.

    Example:
        >>> smh.quantize_weights(model, bits=4).fit(x, y)

    Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018; the grid: `smh.parametrizations.rounded`.
    """
    if granularity not in _GRANULARITIES:
        raise ArgumentError(
            f"granularity must be one of {', '.join(map(repr, _GRANULARITIES))}, got "
            f"{granularity!r}."
        )
    items = _dense(candidates(model, apply_to, exclude), model, apply_to is not None)
    wanted = by_pattern(model, items, bits, "bits", GRID_BITS.checked)
    made = []
    for number, width in track(wanted.items(), "rounding"):
        item = items[number]
        grid = fit_grid(_stored(item), width, granularity, item.path)
        made.append((item, functools.partial(_rounded, item, grid)))
    reparametrize(model, made)
    return model


def _dense(items: list[Candidate], model: keras.Model, chosen: bool) -> list[Candidate]:
    """The candidates that may be rounded; raises if one that was chosen may not."""
    dense = [i for i in items if i.parametrization is None or _is_rounded(i)]
    dense = [item for item in dense if not isinstance(item.owners[0], Source)]
    if chosen and len(dense) < len(items):
        other = next(item for item in items if item not in dense)
        raise ArgumentError(
            f"'{other.path}' cannot be rounded: it is pruned, shares its values or is a factor. "
            "smh.cluster(model, bits) takes these; factors have smh.quantize_factors."
        )
    if not dense:
        raise SelectionError(
            f"'{model.name}' has no dense weight to round. Factors have "
            "smh.quantize_factors(model, bits), pruned weights smh.cluster(model, bits)."
        )
    return dense


def _is_rounded(item: Candidate) -> bool:
    return isinstance(item.parametrization, FakeQuantized)


def _stored(item: Candidate) -> np.ndarray:
    """The float numbers that are trained."""
    p = item.parametrization
    item.numbers()  # raises if any is not finite
    value = keras.ops.convert_to_numpy((item.variable if p is None else p.factor).value)
    return np.asarray(value, "float32")


def _rounded(item: Candidate, grid) -> FakeQuantized:
    p = item.parametrization
    if p is not None:
        return FakeQuantized(p.factor, grid)
    return FakeQuantized(stored_variable(f"{item.path}/weight", _stored(item)), grid)
