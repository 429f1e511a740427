"""Biases that do nothing: those of layers that a batch normalisation follows.

Its mean takes such a bias away again. So the mean can have it, and the bias be zero: predictions
stay the same, `fit` too, and zeros cost nothing in a file.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from smh.sensitivity.examples import values
from smh.virtual_variable import calls_as_keras, own_layers
from smh.virtual_variable.inside_keras.graph import calls_in_graphs, graph_of


def fold_biases(model: keras.Layer) -> list[keras.Variable]:
    """Moves dead biases of functional models into the statistics that follow; returns them."""
    folded = []
    for layer, norm in _pairs(model):
        folded.append(layer.bias)
        mean = values(norm.moving_mean.value) - values(layer.bias.value)
        norm.moving_mean.assign(mean)
        layer.bias.assign(np.zeros_like(mean))
    return folded


def _pairs(model: keras.Layer) -> Iterator[tuple[Any, Any]]:
    """Each layer with a bias and no activation that a normalisation reads, and neither else."""
    every = list(own_layers(model))
    uses = Counter(id(layer) for other in every for layer in _inside(other))
    # What calls layers in code of its own may call those inside of its models, too.
    in_code = {id(x) for other in every if not calls_as_keras(other) for x in own_layers(other)}
    for inner in every:
        if isinstance(inner, keras.Model) and id(inner) not in in_code:
            for layer, readers in _read(inner):
                once = len(readers) == 1 and all(
                    uses[id(one)] <= 1 and calls_in_graphs(one) <= 1 for one in (layer, *readers)
                )
                if once and _is_dead(layer) and _takes_it_away(readers[0]):
                    yield layer, readers[0]


def _inside(layer: keras.Layer) -> list[keras.Layer]:
    return list(layer.layers) if isinstance(layer, keras.Model) else []


def _read(model: keras.Model) -> list[tuple[Any, list[Any]]]:
    """What a functional model calls, and what reads the outputs of each; `None`: the caller."""
    if isinstance(model, keras.Sequential):
        return [(layer, [reader]) for layer, reader in itertools.pairwise(model.layers)]
    graph = graph_of(model)
    if graph is None:
        return []
    made = {id(output): call.operation for call in graph.calls for output in call.outputs}
    found: dict[int, tuple[Any, list[Any]]] = {id(one): (one, []) for one in made.values()}
    reads = [(tensor, call.operation) for call in graph.calls for tensor in call.inputs]
    for tensor, reader in [*reads, *((output, None) for output in graph.outputs)]:
        if id(tensor) in made:
            found[id(made[id(tensor)])][1].append(reader)
    return list(found.values())


def _is_dead(layer: Any) -> bool:
    kinds = (
        keras.layers.Dense,
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
        keras.layers.DepthwiseConv1D,
        keras.layers.DepthwiseConv2D,
    )
    bias = getattr(layer, "bias", None)
    return (
        type(layer) in kinds
        and type(bias) is keras.Variable
        and layer.activation is keras.activations.linear
        and layer.bias_regularizer is None
        and layer.bias_constraint is None
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _takes_it_away(norm: Any) -> bool:
    if type(norm) is not keras.layers.BatchNormalization or not norm.built:
        return False
    last = norm.axis in (-1, len(norm.input.shape) - 1) if _has_input(norm) else norm.axis == -1
    return last and norm.trainable


def _has_input(layer: Any) -> bool:
    try:
        return layer.input is not None
    except (AttributeError, ValueError):
        return False
