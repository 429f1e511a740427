"""The numbers that are no matrices: biases, scales and statistics, with fewer digits.

They stay floats and are rounded where the next ones cost more than they tell, at the same price of
a bit as the weights: each variable to whole numbers of a power of two, or (a variance, whose
numbers differ by orders of magnitude) to so many binary digits. `smh.save` stores bytes that are
zero in all of them for nothing, and the others by how often they occur.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from smh.sensitivity.examples import values
from smh.shrinking.items import Item
from smh.virtual_variable import own_layers
from smh.virtual_variable.inside_keras.hooks import has_own_hooks

WITHOUT_DATA = 7  # digits
_FINER = 2.0  # a bit may cost so many times less than one of a weight: there are few
_MOST, _LEAST = 20, 3  # digits
_OF_VARIANCE = 2  # digits behind the first
_OF_MEAN = 0.25  # of the deviation: the step, or half of it
_EXPONENT_BITS = 2.5  # of a number of so many digits, beside these


def rest_of(model: keras.Layer, items: Sequence[Item]) -> list[keras.Variable]:
    """The float32 variables of rank 0 and 1 that are not rounded as weights.

    Not those of layers that compute something else from them when they are loaded, such as
    `Normalization`: that would stay what it was.
    """
    every = list(own_layers(model))
    others = {id(v) for layer in every if has_own_hooks(layer) for v in layer.variables}
    others |= {id(item.candidate.variable) for item in items}
    found: dict[int, keras.Variable] = {}
    for layer in every:
        for v in [*layer.trainable_variables, *layer.non_trainable_variables]:
            if id(v) not in others and type(v) is keras.Variable:
                found[id(v)] = v
    return [v for v in found.values() if v.dtype == "float32" and len(v.shape) <= 1]


def fold_statistics(model: keras.Layer) -> None:
    """Leaves normalisations few digits of mean and variance; offset and scale take up the rest.

    Predictions stay the same. While training goes on, by the statistics of its own batches, a scale
    is off by at most 6 % and an offset by an eighth of a deviation, once.
    """
    for norm in own_layers(model):
        if isinstance(norm, keras.layers.BatchNormalization) and norm.built and _is_whole(norm):
            mean, variance = values(norm.moving_mean.value), values(norm.moving_variance.value)
            scale = values(norm.gamma.value)
            deviation = np.sqrt(variance.astype(np.float64) + norm.epsilon)
            near = to_digits(variance, _OF_VARIANCE)
            step = 2.0 ** np.floor(np.log2(np.exp(np.log(deviation).mean()) * _OF_MEAN))
            close = (np.rint(mean / step) * step + 0.0).astype(np.float32)
            norm.beta.assign(values(norm.beta.value) + (close - mean) * scale / deviation)
            norm.gamma.assign(scale * np.sqrt(near + norm.epsilon) / deviation)
            norm.moving_mean.assign(close)
            norm.moving_variance.assign(near)


def _is_whole(norm: keras.layers.BatchNormalization) -> bool:
    """It has a scale and an offset of its own, and numbers that can be divided by."""
    if not (norm.scale and norm.center):
        return False
    own = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    return (values(norm.moving_variance.value) + norm.epsilon > 0).all() and all(
        type(v) is keras.Variable and v.dtype == "float32" and np.isfinite(values(v.value)).all()
        for v in own
    )


def round_rest(
    variables: Sequence[keras.Variable],
    squares: Sequence[np.ndarray] | None,
    multiplier: float,
) -> None:
    """Rounds them in place; what is not finite stays as it is.

    Args:
        variables: what `rest_of` returns.
        squares: for each the squared gradients; `None`: there is no data.
        multiplier: what a bit of a weight costs.
    """
    for number, variable in enumerate(variables):
        before = values(variable.value)
        if squares is None:
            variable.assign(to_digits(before, WITHOUT_DATA))
        elif before.size and np.isfinite(before).all() and before.any():
            variable.assign(_rounded(before, squares[number], multiplier / _FINER))


def _rounded(numbers: np.ndarray, squares: np.ndarray, multiplier: float) -> np.ndarray:
    """By a step or by digits, whichever takes fewer bits at the same price."""
    step = _step(squares.mean(), multiplier)
    relative = _step((squares * np.square(numbers, dtype=np.float64)).mean(), multiplier)
    digits = min(max(math.ceil(-math.log2(relative)), _LEAST), _MOST)
    step = 2.0 ** math.floor(math.log2(min(step, float(np.abs(numbers).max()) / 2**_LEAST)))
    whole = np.rint(numbers.astype(np.float64) / step)
    by_step = 1 + np.log2(1 + np.abs(whole)).mean()
    if by_step <= digits + _EXPONENT_BITS:
        return (whole * step + 0.0).astype(np.float32)  # no negative zeros
    return to_digits(numbers, digits)


def _step(square: float, multiplier: float) -> float:
    """See `shares`."""
    return float(np.clip(math.sqrt(6 * multiplier / (math.log(2) * max(square, 1e-30))), 1e-6, 1e9))


def to_digits(numbers: np.ndarray, digits: int) -> np.ndarray:
    """The nearest numbers of so many binary digits behind the first; zero is zero."""
    fraction, exponent = np.frexp(numbers.astype(np.float32))
    rounded = np.rint(fraction * 2.0 ** (digits + 1)) / 2.0 ** (digits + 1)
    return np.ldexp(rounded + 0.0, exponent).astype(np.float32)
