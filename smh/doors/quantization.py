"""Few bits for the factors: `smh.quantize_factors`."""

from __future__ import annotations

import keras
from keras import ops

from smh.errors import ArgumentError
from smh.errors.limits import FACTOR_BITS
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.integers import Quantized, grid_of, quantized
from smh.parametrizations.rounded import PER, FakeQuantized, fit_grid
from smh.progress import track
from smh.variable_pool import VariablePool
from smh.virtual_variable import forget_all_traces, virtual_variables, wrap
from smh.virtual_variable.given import check_is_model, check_not_deployed

__all__ = ["FakeQuantized", "Quantized", "grid_of", "quantize_factors", "quantized"]

_GRANULARITIES = ("auto", *PER)


def quantize_factors(
    model: keras.Model, bits: int | None = 4, *, granularity: str = "auto"
) -> keras.Model:
    """Rounds the factors of a compressed model to few bits, in place, while it goes on training.

    Each call of the model rounds the factors, once, before their product. The gradient passes as
    if they had not been rounded (straight-through), so that `fit` finds factors that work after
    rounding. The variables stay float32 and stay the same: an optimizer keeps its state, and files
    of weights load before and after. Train with float factors first (some 60 % of the steps), then
    call this, then train on::

        model.fit(x, y, epochs=36)
        smh.quantize_factors(model, bits=4)
        model.fit(x, y, initial_epoch=36, epochs=60)

    Called again it changes the bits. Scales and biases stay as they are. Where the grid of a factor
    ends is in files of any kind, and not in `get_weights`: a model that is given that list rounds
    it to its own grid. See
    `smh.parametrizations.rounded` for the grid, and for how its scales are chosen and what other
    choices gave.

    Args:
        model: a model compressed with a pool of any kind.
        bits: 2 to 8, or `None`: float again.
        granularity: what shares a scale: `"tensor"`, `"row"` or `"column"` of a factor, or
            `"auto"`: for each factor the one of least error for its bytes. A vector (the factor
            of a `HashVariablePool`) has one scale.

    Returns:
        The same model. Another model that uses the same pool is changed with it.

    Raises:
        ArgumentError: a value that cannot work, a model without a pool, or factors that are not
            finite.
        DeployedModelError: the model is deployed.
        In every case the model is as it was.

    Cost: some ten passes over the factors per call, little beside their product. In mode
    `"stream"` every layer rounds all factors for itself: half as much time again was seen with 54
    layers (benchmarks/README.md); mode `"cached"` rounds nothing.

    Example:
        >>> model = smh.quantize_factors(smh.compress(model, fraction=0.1), bits=4)
        >>> model.fit(x, y)

    Reference: S. Han, H. Mao, W. J. Dally, "Deep Compression", ICLR 2016, for the idea to round
    and train on; see `smh.parametrizations.rounded` for the estimator.
    """
    pools = _pools_of(model)
    bits = None if bits is None else FACTOR_BITS.checked(bits, "bits")
    _check(model, granularity)
    chosen: list[tuple[keras.Variable, FakeQuantized | None]] = []
    for factor in track([factor for pool in pools for factor in pool.core_variables], "rounding"):
        if bits is None:
            chosen.append((factor, None))
            continue
        if isinstance(getattr(factor, "parametrization", None), Clustered):
            raise ArgumentError(
                f"'{factor.path}' shares its values (smh.cluster): a factor is rounded or shares "
                "values, not both. smh.cluster(model, bits=None) undoes that."
            )
        weight = ops.convert_to_numpy(factor.value)
        grid = fit_grid(weight, bits, granularity, factor.path)
        chosen.append((factor, FakeQuantized(factor, grid)))
    for factor, wrapping in chosen:
        wrap(factor, wrapping)
    forget_all_traces(model)
    for pool in pools:
        pool.changed()  # for another model, that is deployed
    return model


def _pools_of(model: keras.Model) -> list[VariablePool]:
    check_is_model(model)
    sources = [virtual.parametrization.source for virtual in virtual_variables(model)]
    pools = list({id(s): s for s in sources if isinstance(s, VariablePool)}.values())
    if not pools:
        raise ArgumentError(
            f"'{model.name}' has no factors to round: nothing in it is computed from a pool. Call "
            "smh.compress(model, fraction=...) first."
        )
    return pools


def _check(model: keras.Model, granularity: str) -> None:
    if granularity not in _GRANULARITIES:
        raise ArgumentError(
            f"granularity must be one of {', '.join(map(repr, _GRANULARITIES))}, got "
            f"{granularity!r}."
        )
    check_not_deployed(model, "changing the bits of its factors")
