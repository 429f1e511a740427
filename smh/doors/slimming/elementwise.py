"""Layers and operations that keep every channel by itself, and merge tensors channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from smh.doors.slimming.labels import Channels, unknown, zeros_of
from smh.doors.slimming.seen import Seen
from smh.doors.slimming.wiring import Wiring
from smh.virtual_variable import calls_as_keras

# Of `keras.activations`; those left out (softmax, glu, sparsemax) look at several channels at once.
_ACTIVATIONS = (
    "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear "
    "log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus "
    "squareplus tanh tanh_shrink threshold"
).split()
_FUNCTIONS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)


def acts_alone(activation: Any) -> bool:
    """Whether an activation looks at each number by itself."""
    if isinstance(activation, _FUNCTIONS):
        return calls_as_keras(activation)
    name = getattr(activation, "__name__", "")
    return name in _ACTIVATIONS and getattr(keras.activations, name, None) is activation


def activated(activation: Any, x: Channels, net: Wiring) -> Channels:
    """Returns what an activation makes of a tensor. One that mixes channels keeps them all."""
    if activation is None:
        return x
    if acts_alone(activation):
        return x.with_values(applied(activation, x.values))
    net.keep(x)
    return x.with_values(unknown(len(x.labels)))


def applied(function: Callable, values: np.ndarray) -> np.ndarray:
    """Returns a function of those values that are known."""
    known, result = ~np.isnan(values), unknown(len(values))
    if known.any():
        tensor = keras.ops.convert_to_tensor(values[known], "float32")
        given = np.asarray(keras.ops.convert_to_numpy(function(tensor)), "float64")
        result[known] = np.where(np.isfinite(given), given, np.nan)
    return result


def activation(seen: Seen, net: Wiring) -> list[Channels]:
    """`Activation`."""
    return [activated(seen.layer.activation, seen.inputs[0], net)]


def function(seen: Seen, net: Wiring) -> list[Channels]:
    """Layers that are a function of each number: `ReLU`, `LeakyReLU`, `ELU`."""
    x = seen.inputs[0]
    return [x.with_values(applied(seen.layer.call, x.values))]


def unchanged(seen: Seen, net: Wiring) -> list[Channels]:
    """Layers that do nothing at inference: `Dropout` and its kin. Training, most keep zeros."""
    x = seen.inputs[0]
    if not seen.training:
        return [x]
    adds = isinstance(seen.layer, keras.layers.GaussianNoise | keras.layers.AlphaDropout)
    return [x.with_values(unknown(len(x.labels)) if adds else zeros_of(x.values))]


def rescaling(seen: Seen, net: Wiring) -> list[Channels] | None:
    """`Rescaling` by one number."""
    layer, x = seen.layer, seen.inputs[0]
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        return None
    return [x.with_values(x.values * layer.scale + layer.offset)]


def prelu(seen: Seen, net: Wiring) -> list[Channels]:
    """`PReLU`: a slope for each number, or one for each channel."""
    layer = seen.layer
    x = net.on_axis(seen.inputs[0], -1)
    alpha = layer.alpha  # [..., n], 1 for each axis that shares
    if alpha.shape[-1] == len(x.labels):
        net.index(layer, alpha, {len(alpha.shape) - 1: x.labels})
    rows = net.read(alpha).reshape(-1, alpha.shape[-1])
    same = (rows == rows[:1]).all(axis=0)
    values = np.where(x.values > 0, x.values, rows[0] * x.values)
    return [x.with_values(np.where(same | (x.values >= 0), values, np.nan))]


def layer_scale(seen: Seen, net: Wiring) -> list[Channels]:
    """`LayerScale` of ConvNeXt: a factor for each channel."""
    layer = seen.layer
    x = net.on_axis(seen.inputs[0], -1)
    net.index(layer, layer.gamma, makes={0: x.labels})
    net.edit(layer, lambda config, count: config.update(projection_dim=count(x.labels)))
    gamma = net.read(layer.gamma).astype("float64")
    return [x.with_values(_times([x.values, np.where(gamma == 0, 0, gamma)]))]


def batch_normalization(seen: Seen, net: Wiring) -> list[Channels]:
    """`BatchNormalization`: four vectors, with a number for each channel."""
    layer = seen.layer
    rank = len(seen.inputs[0].shape)
    axis = layer.axis if layer.axis < 0 else layer.axis - rank
    x = net.on_axis(seen.inputs[0], axis, layer.moving_mean.shape[0])
    net.index(layer, layer.gamma, makes={0: x.labels})
    net.index(layer, layer.beta, makes={0: x.labels})
    net.index(layer, layer.moving_variance, {0: x.labels})
    # Of a channel that is zero the mean goes to zero. Without a `gamma` it has to be there.
    side = {"reads": {0: x.labels}} if layer.scale else {"makes": {0: x.labels}, "state": True}
    net.index(layer, layer.moving_mean, **side)
    mean, variance = (
        net.read(v).astype("float64") for v in (layer.moving_mean, layer.moving_variance)
    )
    gamma = net.read(layer.gamma).astype("float64") if layer.scale else np.ones(len(mean))
    scaled = (x.values - mean) * gamma / np.sqrt(variance + layer.epsilon)
    if seen.training:  # by the batch's own mean, but in `predict`: only zero is the same in both
        scaled = zeros_of(scaled)
    values = np.where(gamma == 0, 0, scaled)
    if layer.center:
        values = values + net.read(layer.beta).astype("float64")
    return [x.with_values(values)]


def _times(values: Sequence[np.ndarray]) -> np.ndarray:
    """Products: zero times anything is zero."""
    zero = np.any([np.broadcast_to(v == 0, values[0].shape) for v in values], axis=0)
    product = values[0]
    for other in values[1:]:
        product = product * other
    return np.where(zero, 0, product)


def _over(fold: Callable) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    def combine(values: Sequence[np.ndarray]) -> np.ndarray:
        result = values[0]
        for other in values[1:]:
            result = fold(result, other)
        return result

    return combine


_SUM = _over(np.add)
COMBINED: dict[str, Callable[[Sequence[np.ndarray]], np.ndarray]] = {
    "Add": _SUM,
    "Subtract": _over(np.subtract),
    "Multiply": _times,
    "Average": lambda values: _SUM(values) / len(values),
    "Maximum": _over(np.maximum),
    "Minimum": _over(np.minimum),
}


def merging(kind: str) -> Callable[[Seen, Wiring], list[Channels]]:
    """Returns the rule of a merging layer or operation: its inputs lose the same channels."""

    def rule(seen: Seen, net: Wiring) -> list[Channels]:
        return [merged(seen.inputs, net, COMBINED[kind], seen.shapes[0])]

    return rule


def merged(inputs: Sequence[Channels], net: Wiring, combine: Callable, shape) -> Channels:
    """Returns tensors, merged number by number. One of size 1 on the axis goes to all channels."""
    axis = next((x.axis for x in inputs if x.axis is not None), -1)
    parts = [net.on_axis(x, axis) for x in inputs]
    size = max(len(x.labels) for x in parts)
    full = [x for x in parts if len(x.labels) == size]
    for x in parts:
        if len(x.labels) == size:
            net.labels.unite(full[0].labels, x.labels)
        else:
            net.keep(x)
    values = [
        x.values if len(x.values) else unknown(1)
        for x in sorted(parts, key=lambda x: len(x.labels) != size)
    ]
    if combine is COMBINED["Subtract"]:
        values = [x.values if len(x.values) else unknown(1) for x in parts]
    combined = np.broadcast_to(combine(values), (size,))
    return replace(full[0], shape=tuple(shape), values=combined)


def custom_scale(seen: Seen, net: Wiring) -> list[Channels]:
    """`CustomScaleLayer` of Inception-ResNet: the first input plus a multiple of the second."""
    one, other = seen.inputs
    scaled = other.with_values(other.values * seen.layer.scale)
    return [merged([one, scaled], net, COMBINED["Add"], seen.shapes[0])]


def concatenate(seen: Seen, net: Wiring) -> list[Channels]:
    """`Concatenate`: side by side on the channels' axis; on another one, the same channels."""
    shape = seen.shapes[0]
    axis = seen.layer.axis if seen.layer.axis < 0 else seen.layer.axis - len(shape)
    axes = {x.axis for x in seen.inputs} - {None}
    if axes and axis not in axes:
        first = next(x.axis for x in seen.inputs if x.axis is not None)
        parts = [net.on_axis(x, first) for x in seen.inputs]
        for x in parts[1:]:
            net.labels.unite(parts[0].labels, x.labels)
        stacked = np.stack([x.values for x in parts])
        values = np.where((stacked == stacked[0]).all(axis=0), stacked[0], np.nan)
        return [Channels(tuple(shape), first, parts[0].labels, values)]
    parts = [net.on_axis(x, axis) for x in seen.inputs]
    labels = np.concatenate([x.labels for x in parts])
    return [Channels(tuple(shape), axis, labels, np.concatenate([x.values for x in parts]))]


# Operations of `keras.ops` in a functional graph that look at each number by itself.
ALONE = set(
    "Abs Absolute Celu Clip Elu Exp Gelu HardSigmoid HardSilu HardSwish HardTanh Identity "
    "LeakyRelu LogSigmoid Mish Negative Relu Relu6 Selu Sigmoid Silu SoftShrink Softplus Softsign "
    "Sqrt Square Tanh TanhShrink Cast Add Subtract Multiply Divide TrueDivide Maximum Minimum "
    "Power".split()
)


def operation(seen: Seen, net: Wiring) -> list[Channels] | None:
    """An operation with one tensor, the rest of whose arguments are single numbers, or a merge."""
    kind = type(seen.layer).__name__
    if len(seen.inputs) == 2 and kind in COMBINED and kind != "Average":
        same_rank = len(seen.inputs[0].shape) == len(seen.inputs[1].shape)
        return merging(kind)(seen, net) if same_rank else None
    kept = [value for name, value in vars(seen.layer).items() if not name.startswith("_")]
    others = [
        value
        for value in [*keras.tree.flatten((seen.args, seen.kwargs)), *kept]
        if not isinstance(value, Channels)
    ]
    if len(seen.inputs) != 1 or any(np.ndim(value) for value in others):
        return None
    x = seen.inputs[0]

    def of_values(values):
        args, kwargs = keras.tree.map_structure(
            lambda value: values if isinstance(value, Channels) else value,
            (seen.args, seen.kwargs),
        )
        return seen.layer.call(*args, **kwargs)

    return [x.with_values(applied(of_values, x.values))]
