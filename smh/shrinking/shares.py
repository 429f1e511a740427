"""How fine each weight is rounded: one price of a bit for the whole network.

Rounded by a step `d`, the error of a number is `level * weight * d ** 2 / 12`, where `level` is
what is left of its inputs' variance after the other numbers made good, and its bits grow by one as
`d` is halved. So the step where the error falls as fast as the bits rise, at `multiplier` for a
bit, is `d ** 2 = 6 * multiplier / (ln 2 * level * weight)`: in reverse, water is filled to one
level.

Reference: Cover, Thomas, "Elements of Information Theory", section 10.3.3; Gish, Pierce,
"Asymptotically Efficient Quantizing", 1968, for entropy-coded uniform steps.
"""

from __future__ import annotations

import math

import numpy as np

from smh.coding import nearest_steps
from smh.parametrizations.counting import Steps
from smh.shrinking.items import Item

_SIDE_BITS = 3.0  # of the exponent of a channel's step, coded
_HIGH_RATE = 2.05  # bits of a Gaussian number whose deviation is the step: log2(sqrt(2 pi e))
_SMALL = 1 / 16  # of the model's numbers
_FINEST = 2.0**-22  # of the largest number: finer steps are not told apart in float32


def steps_of(item: Item, multiplier: float) -> Steps:
    """The steps of one weight, of the whole or of each channel, by what they gain and cost."""
    assert item.inputs is not None and item.weights is not None
    groups, n, m = item.original.shape
    level = np.broadcast_to(item.inputs.level[:, None] * item.weights, (groups, m))
    if item.outputs is not None:
        level = level * item.outputs.relief[:, None]
    largest = float(np.abs(item.original).max(initial=0))
    if largest == 0:
        return Steps(1.0)
    one = _step(level.mean(), multiplier, largest)
    if _has_channels(item, groups):
        axis = item.product.output
        variance = _channel_means(item, np.square(item.original, dtype=np.float64), axis)
        costs = _channel_means(item, np.broadcast_to(level[:, None], item.original.shape), axis)
        steps = _step(costs, multiplier, largest)
        numbers = item.original.size / len(steps)
        saved = numbers * (
            _cost(np.full_like(steps, one), variance, costs, multiplier)
            - _cost(steps, variance, costs, multiplier)
        )
        if saved.sum() > _SIDE_BITS * len(steps) + 16:
            steps *= _short(float(steps.min()), item) / steps.min()
            step, exponents = nearest_steps(steps)
            return Steps(step, exponents, axis)
    return Steps(nearest_steps(_short(float(one), item))[0])


def _step(level, multiplier: float, largest: float):
    wanted = np.sqrt(6 * multiplier / (math.log(2) * np.maximum(level, 1e-300)))
    return np.clip(wanted, largest * _FINEST, largest * 4)


def _short(step: float, item: Item) -> float:
    """Of a weight that is little of the model, a step of three binary digits takes fewer bytes.

    Of one that is much of it, the size of the file would jump.
    """
    if item.share > _SMALL:
        return step
    fraction, exponent = math.frexp(step)
    return math.ldexp(round(fraction * 8), exponent - 3)


def _cost(step, variance, level, multiplier: float):
    """Bits, and error in bits, of one number of each channel."""
    bits = np.maximum(0, 0.5 * np.log2(np.maximum(variance, 1e-300) / step**2) + _HIGH_RATE)
    return bits + level * np.minimum(step**2 / 12, variance) / multiplier


def _has_channels(item: Item, groups: int) -> bool:
    """Whether the weight's outputs are known to cost more and less."""
    assert item.weights is not None
    return len(item.candidate.variable._shape) > 1 and (item.weights.size > 1 or groups > 1)


def _channel_means(item: Item, matrices: np.ndarray, axis: int) -> np.ndarray:
    whole = item.product.from_matrices(np.ascontiguousarray(matrices))
    return whole.mean(tuple(i for i in range(whole.ndim) if i != axis))
