"""What one call of each kind of layer takes, in multiply-adds, from shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from smh.typing import Shape
from smh.virtual_variable import own_layers, own_variables

# A rule gets a layer, the shapes of its inputs and of its output, with a batch of 1.
Rule = Callable[[Any, Sequence[Shape], Shape], int]


def rule_of(layer: keras.Layer) -> Rule | None:
    """Returns the rule for a layer, or `None` if there is none."""
    return next((rule for kinds, rule in _RULES if isinstance(layer, kinds)), None)


def counts_what_is_inside(layer: keras.Layer) -> bool:
    """Whether the rule of `layer` counts for the layers inside it, too: a loop over time."""
    return isinstance(layer, layers.RNN)


def _dense(layer, inputs, output):
    return math.prod(output) * layer.kernel.shape[0]


def _einsum(layer, inputs, output):
    """The size of each letter that occurs, multiplied: of one in both operands once."""
    left, right = layer.equation.split("->")[0].split(",")
    tail = left.replace("...", "")
    shape = inputs[0][len(inputs[0]) - len(tail) :] if "..." in left else inputs[0]
    shared = [n for letter, n in zip(tail, shape, strict=True) if letter in right]
    return math.prod(inputs[0]) * math.prod(layer.kernel.shape) // math.prod(shared)


def _conv(layer, inputs, output):
    return math.prod(output) * math.prod(layer.kernel.shape[:-1])  # [*size, in / groups, out]


def _transposed(layer, inputs, output):
    return math.prod(inputs[0]) * math.prod(layer.kernel.shape[:-1])  # [*size, out, in]


def _depthwise(layer, inputs, output):
    return math.prod(output) * math.prod(layer.kernel.shape[:-2])  # [*size, in, multiplier]


def _separable(layer, inputs, output):
    kernels = layer.depthwise_kernel, layer.pointwise_kernel
    return math.prod(output) // layer.filters * sum(math.prod(k.shape) for k in kernels)


def _recurrent(layer, inputs, output):
    inside = [v for part in own_layers(layer.cell) for v in own_variables(part)]
    matrices = [v.shape for v in inside if len(v.shape) == 2 and v.name != "bias"]  # a GRU has two
    return inputs[0][1] * sum(map(math.prod, matrices))


def _multi_head(layer, inputs, output):
    """The products of queries with keys and of weights with values; the projections are layers."""
    config = layer.get_config()
    heads = config.get("num_heads") or config["num_query_heads"]
    size = config.get("key_dim") or config["head_dim"]
    queries, keys = (math.prod(shape[1:-1]) for shape in inputs[:2])
    return heads * queries * keys * (size + (config.get("value_dim") or size))


def _attention(layer, inputs, output):
    query, value = inputs[:2]  # [1, t, d], [1, s, e]
    return query[1] * value[1] * (query[2] + value[2])


def _nothing(layer, inputs, output):
    return 0


# The first that fits counts: a `ConvLSTM` is an `RNN` whose products are not those of matrices.
_RULES: tuple[tuple[Any, Rule | None], ...] = (
    (layers.Dense, _dense),
    (layers.EinsumDense, _einsum),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _conv),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    ((layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D), None),
    (layers.RNN, _recurrent),
    ((layers.MultiHeadAttention, layers.GroupQueryAttention), _multi_head),
    ((layers.Attention, layers.AdditiveAttention), _attention),
    ((layers.Embedding, layers.PReLU, layers.LayerNormalization), _nothing),
)
