"""A penalty on the bits that rounded weights take in a file."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.errors import SelectionError
from smh.errors.limits import AT_LEAST_0
from smh.parametrizations.rounded import FakeQuantized
from smh.parametrizations.stepped import Stepped
from smh.recipes.losses import own_regularizer
from smh.typing import Tensor
from smh.virtual_variable import (
    Source,
    own_layers,
    own_variables,
    virtual_variables,
    wrapping_of,
)
from smh.virtual_variable.given import check_is_model

_MOST = 127  # whole numbers beyond count as this one: hardly any
_UNSEEN = 0.5  # how often a number that does not occur is taken to: one bit more than one that does


def penalise_bits(model: keras.Model, rate: float) -> keras.Model:
    """Adds what the rounded weights of a model cost in bits, once coded, to its loss.

    Training with rounded weights makes files larger, not smaller: the weights spread over the
    numbers there are. This draws each of them to the neighbour that is more frequent, by as much as
    its bits tell, so that the loss decides which are worth theirs.

    Args:
        model: a model whose weights (`smh.quantize_weights`, `smh.shrink`) or factors
            (`smh.quantize_factors`) are rounded. It is changed in place. Compile it afterwards.
        rate: what one bit for each rounded number adds to the loss, at least 0. 0.01 to 0.3 are
            worth trying for a cross-entropy. 0 takes away what this has added before.

    Returns:
        The same model. Only this one has the penalty: call this again after loading a file,
        `copy.deepcopy`, `pickle`, `keras.models.clone_model`, or another `smh.shrink`.

    Raises:
        ArgumentError: `rate` is negative or no number, or `model` is no Keras model.
        SelectionError: nothing in the model is rounded.

    Numbers that are whole already cost what their file takes, up to what the coder and its tables
    add. Those in between cost somewhat more than they do once rounded: 2.98 bits instead of 2.79
    for each of 944 random weights at 3 bits.

    Cost: some ten passes over the rounded numbers in a step.

    Example:
        >>> import smh
        >>> model = smh.quantize_weights(smh.zoo.lenet_300_100(), bits=4)
        >>> model = smh.recipes.penalise_bits(model, 0.05)

    Reference: the bits are those of an ideal coder that knows how often each whole number of a
    weight occurs, linear between whole numbers; one that does not occur has a bit more than one
    that occurs once; C. Shannon, "A mathematical theory of communication" (1948). A rate in the
    loss of a network: S. Wiedemann et al., "DeepCABAC", IEEE JSTSP 14 (2020); here it acts while
    training goes on, as in J. Balle et al., "End-to-end optimized image compression", ICLR 2017.
    """
    check_is_model(model)
    rate = AT_LEAST_0.checked(rate, "rate")
    found = _rounded(model)
    if not found:
        raise SelectionError(
            f"Nothing in '{model.name}' is rounded. Call smh.quantize_weights(model, bits), "
            "smh.quantize_factors(model, bits) or smh.shrink(model, ...) first."
        )
    numbers = sum(math.prod(latent.shape) for latent, _ in found)
    for latent, rounding in found:
        own = own_regularizer(latent.regularizer)
        latent.regularizer = CodedBits(rounding, rate / numbers, own) if rate else own
    return model


def _rounded(model: keras.Layer) -> list[tuple[keras.Variable, Any]]:
    """What training changes of each rounded weight and factor, and how it is rounded."""
    found: dict[int, tuple[keras.Variable, Any]] = {}
    for variable in virtual_variables(model):
        how = variable.parametrization
        if isinstance(how, FakeQuantized | Stepped):
            latent = how.factor if isinstance(how, FakeQuantized) else how.weight
            found[id(latent)] = (latent, how)
        for factor in _factors(how.source):
            if isinstance(wrapping_of(factor), FakeQuantized):
                found[id(factor)] = (factor, wrapping_of(factor))
    return list(found.values())


def _factors(pool: Source | None) -> list[keras.Variable]:
    """All that a pool is computed from."""
    layers = [] if pool is None else own_layers(pool)
    return [variable for layer in layers for variable in own_variables(layer)]


class CodedBits(keras.regularizers.Regularizer):
    """`rate` times the bits of a rounded weight, and the penalty that was there before."""

    def __init__(self, rounding: FakeQuantized | Stepped, rate: float, own: Any):
        self.rounding, self.rate, self.smh_own = rounding, rate, own

    def __call__(self, latent):
        """Returns the penalty of what is rounded."""
        latent = ops.convert_to_tensor(latent)
        steps = ops.stop_gradient(self.rounding.step_sizes(ops.stop_gradient(latent)))
        safe = ops.where(steps == 0, 1.0, steps)
        bits = self.rate * ops.sum(coded_bits(ops.clip(latent / safe, -_MOST, _MOST)))
        return bits if self.smh_own is None else bits + self.smh_own(latent)


def coded_bits(units: Tensor) -> Tensor:
    """Bits of each number, in the shape of `units`: numbers in units of their step.

    Linear between two whole numbers; how often they occur is taken as it is, without a gradient.
    """
    nearest = ops.cast(ops.round(ops.stop_gradient(units)), "int32") + (_MOST + 1)
    flat = ops.reshape(nearest, [-1])
    counts = ops.segment_sum(ops.ones(flat.shape, "float32"), flat, num_segments=2 * _MOST + 3)
    table = ops.log(flat.shape[0] / ops.maximum(counts, _UNSEEN)) / np.float32(math.log(2.0))
    below = ops.floor(ops.stop_gradient(units))
    index = ops.cast(below, "int32") + (_MOST + 1)
    low, high = ops.take(table, index), ops.take(table, index + 1)
    return low + (units - below) * (high - low)
