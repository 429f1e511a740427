"""Batch normalisations that become part of the layer before them: fewer operations in a call.

While predicting, a normalisation multiplies each channel by a number and adds another. Where it
follows a product directly, and nothing else reads that, both go into its kernel and bias.

Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from smh.doors.remaking import remade
from smh.doors.slimming.seen import channel_axis
from smh.virtual_variable import calls_as_keras, copy_of, own_layers
from smh.virtual_variable.inside_keras.graph import Call, Graph, configured_layers, graph_of

_PRODUCTS = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)


@dataclass(frozen=True, eq=False)
class Pair:
    """A normalisation and the product that it follows."""

    product: Any
    norm: layers.BatchNormalization

    @property
    def kernel(self) -> keras.Variable:
        """The one that makes the channels."""
        is_separable = isinstance(self.product, _SEPARABLE)
        return self.product.pointwise_kernel if is_separable else self.product.kernel

    @property
    def factors(self) -> np.ndarray:
        """What each channel is multiplied by."""
        norm = self.norm
        deviation = np.sqrt(copy_of(norm.moving_variance).astype(np.float64) + norm.epsilon)
        return (copy_of(norm.gamma) if norm.scale else 1.0) / deviation

    @property
    def fits(self) -> bool:
        """Whether the numbers are in the range of what the layer computes in."""
        most = 65504.0 if self.product.compute_dtype == "float16" else np.finfo(np.float32).max
        numbers = (self.scaled_kernel(), self.new_bias())
        return all(bool((np.abs(each.astype(np.float64)) <= most).all()) for each in numbers)

    def scaled_kernel(self) -> np.ndarray:
        """The kernel that gives normalised channels."""
        kernel, factors = copy_of(self.kernel), self.factors
        if isinstance(self.product, _DEPTHWISE):  # channels and multipliers
            factors = factors.reshape(kernel.shape[-2:])
        elif isinstance(self.product, _TRANSPOSED):
            factors = factors[:, None]
        return (kernel * factors).astype(kernel.dtype)

    def new_bias(self) -> np.ndarray:
        """The bias that goes with it."""
        product, norm = self.product, self.norm
        bias = copy_of(product.bias).astype(np.float64) if product.use_bias else 0.0
        beta = copy_of(norm.beta) if norm.center else 0.0
        moved = (bias - copy_of(norm.moving_mean)) * self.factors + beta
        return moved.astype(copy_of(self.kernel).dtype)


def pairs_of(model: keras.Layer) -> list[Pair]:
    """All normalisations of a plain graph, and of those inside it, that can be folded."""
    found: dict[int, tuple[Graph, bool]] = {}
    _visit(model, False, found)
    used: Counter[int] = Counter()
    for graph, _ in found.values():
        for call in graph.calls:
            used.update({id(call.operation), *map(id, _inside(call.operation))})
    pairs = []
    for graph in (graph for graph, trains in found.values() if not trains):
        makers = {id(tensor): call for call in graph.calls for tensor in call.outputs}
        read = Counter(id(x) for call in graph.calls for x in call.inputs)
        read.update(map(id, graph.outputs))
        for call in graph.calls:
            norm = call.operation
            if isinstance(norm, layers.BatchNormalization) and len(call.inputs) == 1:
                (given,) = call.inputs
                product = getattr(makers.get(id(given)), "operation", None)
                once = used[id(product)] == used[id(norm)] == read[id(given)] == 1
                if once and _can_fold(product, call):
                    pairs.append(Pair(product, norm))
    return pairs


def _visit(model: Any, trains: bool, found: dict[int, tuple[Graph, bool]]) -> None:
    """Notes the graphs inside a model, and which are called as in training, by whatever call."""
    graph = graph_of(model)
    if graph is None:
        return
    _, before = found.get(id(model), (graph, False))
    found[id(model)] = graph, trains or before
    for call in graph.calls:
        _visit(call.operation, trains or _as_in_training(call), found)


def _as_in_training(call: Call) -> bool:
    return any(value is True for value in keras.tree.flatten((call.args, call.kwargs)))


def _inside(operation: Any) -> Iterable[keras.Layer]:
    """The layers that a call of it calls, but for those that its graph calls."""
    if isinstance(operation, keras.Layer) and graph_of(operation) is None:
        return own_layers(operation)
    return ()


def _can_fold(product: Any, call: Call) -> bool:
    """Whether predictions are the same without it."""
    norm = call.operation
    if not (isinstance(product, _PRODUCTS) and calls_as_keras(product) and calls_as_keras(norm)):
        return False
    shape = call.inputs[0].shape
    axis = norm.axis if norm.axis < 0 else norm.axis - len(shape)
    return (
        axis == channel_axis(product, shape)
        and product.activation is keras.activations.linear
        and not _as_in_training(call)
        and len(call.args) == 1
        and all(type(variable) is keras.Variable for variable in (*product.weights, *norm.weights))
        and product.compute_dtype == norm.compute_dtype
        and product.variable_dtype == norm.variable_dtype
        and not _is_held(product)
        and Pair(product, norm).fits
    )


def _is_held(product: Any) -> bool:
    """Whether training holds the kernel to what it would not be any more, or it is quantised."""
    held = ("kernel_constraint", "pointwise_constraint", "bias_constraint", "quantization_mode")
    lora = getattr(product, "lora_enabled", False)
    return lora or any(getattr(product, name, None) is not None for name in held)


def folded(model: keras.Model, pairs: list[Pair]) -> keras.Model:
    """Returns a model without these normalisations.

    Raises:
        ArgumentError: the model cannot be rebuilt from its configuration.
    """
    kernels: dict[int, Callable[[], np.ndarray]] = {}
    biases: dict[int, np.ndarray] = {}
    for pair in pairs:
        kernels[id(pair.kernel)] = pair.scaled_kernel
        if pair.product.use_bias:
            kernels[id(pair.product.bias)] = pair.new_bias
        else:
            biases[id(pair.product)] = pair.new_bias()

    def numbers(variable: keras.Variable) -> np.ndarray:
        return kernels[id(variable)]() if id(variable) in kernels else copy_of(variable)

    gone = {id(pair.norm) for pair in pairs}
    config = _Without(gone, set(biases))
    return remade(model, lambda whole: config.edited(model, whole), numbers, biases, gone)


class _Without:
    """Configurations of graphs without some layers that have one input and one output."""

    def __init__(self, gone: set[int], with_bias: set[int]):
        self._gone, self._with_bias = gone, with_bias

    def edited(self, layer: Any, config: dict[str, Any]) -> dict[str, Any]:
        """Changes the configuration of a layer, and of those inside it, in place."""
        if id(layer) in self._with_bias:
            config["use_bias"] = True
        if graph_of(layer) is None:
            return config
        both = list(zip(configured_layers(layer), config["layers"], strict=True))
        for one, serialized in both:
            self.edited(one, serialized["config"])
        config["layers"] = [entry for one, entry in both if id(one) not in self._gone]
        if not isinstance(layer, keras.Sequential):
            sources = {e["name"]: _source(e) for one, e in both if id(one) in self._gone}
            for entry in config["layers"]:
                entry["inbound_nodes"] = _rewired(entry["inbound_nodes"], sources)
            config["output_layers"] = _rewired(config["output_layers"], sources)
        return config


def _source(entry: dict[str, Any]) -> list[Any]:
    """Where the input of a layer comes from: `[layer, call, output]`."""
    (call,) = entry["inbound_nodes"]
    return call["args"][0]["config"]["keras_history"]


def _rewired(nodes: Any, sources: dict[str, list[Any]]) -> Any:
    """The same with other places in the stead of those that are gone."""
    if isinstance(nodes, dict):
        return {key: _rewired(value, sources) for key, value in nodes.items()}
    if not isinstance(nodes, list | tuple):
        return nodes
    if len(nodes) == 3 and isinstance(nodes[0], str) and nodes[1:] == [0, 0]:
        return sources.get(nodes[0], nodes)
    return type(nodes)(_rewired(value, sources) for value in nodes)
