"""Biases that do nothing: those of layers that a batch normalisation follows.

Its mean takes such a bias away again. So the mean can have it, and the bias be zero: predictions
stay the same, `fit` too, and zeros cost nothing in a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from smh.sensitivity.examples import values
from smh.virtual_variable import calls_as_keras, own_layers


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
            by_name = {layer.name: layer for layer in inner.layers}
            for name, read_by in _readers(inner).items():
                layer, norm = by_name.get(name), by_name.get(read_by[0])
                once = len(read_by) == 1 and all(
                    uses[id(one)] <= 1 and _calls(one) <= 1 for one in (layer, norm)
                )
                if once and _is_dead(layer) and _takes_it_away(norm):
                    yield layer, norm


def _inside(layer: keras.Layer) -> list[keras.Layer]:
    return list(layer.layers) if isinstance(layer, keras.Model) else []


def _calls(layer: Any) -> int:
    """In how many places of graphs.

    Relies on: each call of a layer with a symbolic tensor adds a node to `_inbound_nodes`.
    """
    return len(getattr(layer, "_inbound_nodes", ()))


def _readers(model: keras.Model) -> dict[str, list[str]]:
    """For each layer of a functional model, by name, the layers that read its output."""
    if isinstance(model, keras.Sequential):
        names = [layer.name for layer in model.layers]
        return {a: [b] for a, b in zip(names, names[1:], strict=False)}
    try:
        config = model.get_config()
    except Exception:  # a model of somebody's own
        return {}
    found: dict[str, list[str]] = {}
    for entry in config.get("layers", ()) if "output_layers" in config else ():
        for name in _named(entry.get("inbound_nodes", ())):
            found.setdefault(name, []).append(entry["name"])
    for name, *_ in _flat_outputs(config.get("output_layers", ())):
        found.setdefault(name, []).append("")
    return found


def _named(entry: Any) -> Iterator[str]:
    """The layers whose outputs a description of a call mentions."""
    if isinstance(entry, Mapping):
        history = entry.get("keras_history")
        if history is not None:
            yield history[0]
        for inner in entry.values():
            yield from _named(inner)
    elif isinstance(entry, list | tuple):
        for inner in entry:
            yield from _named(inner)


def _flat_outputs(outputs: Any) -> list[Any]:
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if outputs and isinstance(outputs[0], str):
        return [outputs]
    return [one for inner in outputs for one in _flat_outputs(inner)]


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
