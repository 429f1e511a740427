"""The smaller model: the same layers with fewer channels, and what is left of their weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from smh.doors.remaking import remade
from smh.doors.slimming.recurrent import wrapped_configs
from smh.doors.slimming.wiring import Count, Wiring
from smh.virtual_variable import copy_of
from smh.virtual_variable.inside_keras.graph import configured_layers, graph_of


def cut(model: keras.Model, net: Wiring, gone: np.ndarray) -> keras.Model:
    """Returns a model without the channels that are gone.

    Args:
        model: the model.
        net: what a walk over it found.
        gone: bool, for each label.

    Raises:
        ArgumentError: the model cannot be rebuilt from its configuration.
    """
    onto, new_bias = _constants(net, gone)
    config = _Config(net, counting(gone), set(new_bias))
    numbers = _Numbers(net, gone, onto)
    return remade(model, lambda whole: config.edited(model, whole), numbers.of, new_bias)


def counting(gone: np.ndarray) -> Count:
    """Returns a function that counts what stays among labels."""
    return lambda labels: int(np.count_nonzero(~gone[labels]))


def _constants(net: Wiring, gone: np.ndarray):
    """What biases take over from channels that are gone, and the new biases of layers without."""
    onto: dict[int, np.ndarray] = {}
    new: dict[int, np.ndarray] = {}
    seen = set()
    for reading in net.readings:
        rows = gone[reading.ins] & np.nan_to_num(reading.values).astype(bool) & reading.absorbs
        if reading.key in seen or not rows.any():  # all calls of it give the same
            continue
        seen.add(reading.key)
        added = reading.values[rows] @ reading.sums[rows].astype("float64")
        if reading.bias is not None:
            onto[id(reading.bias)] = added
        elif added[~gone[reading.outs]].any():
            new[id(reading.layer)] = added[~gone[reading.outs]]
    return onto, new


class _Numbers:
    """What stays of a weight."""

    def __init__(self, net: Wiring, gone: np.ndarray, onto: dict[int, np.ndarray]):
        self.net, self.gone, self.onto = net, gone, onto
        self.count = counting(gone)

    def of(self, variable: keras.Variable) -> np.ndarray:
        """Returns the numbers of a variable that stay."""
        value, cut = copy_of(variable), self.net.cuts.get(id(variable))
        if cut is None:
            return value
        if id(variable) in self.onto:
            added = self.onto[id(variable)]
            value.ravel()[: added.size] += added.astype(value.dtype)  # of a GRU's two the first
        for axis, labels in cut.axes.items():
            value = np.compress(~self.gone[labels], value, axis)
        return (
            value if cut.scale is None else value * np.asarray(cut.scale(self.count), value.dtype)
        )


class _Config:
    """Configurations with fewer channels."""

    def __init__(self, net: Wiring, count: Count, with_bias: set[int]):
        self.net, self.count, self.with_bias = net, count, with_bias

    def edited(self, layer: Any, config: dict[str, Any]) -> dict[str, Any]:
        """Changes the configuration of a layer, and of those inside it, in place."""
        change = self.net.edits.get(id(layer))
        if change is not None:
            change(config, self.count)
            _without_constants(config)
        if id(layer) in self.with_bias:
            config["use_bias"] = True
        for inner, serialized in _inside(layer, config):
            self.edited(inner, serialized["config"])
            if id(inner) in self.net.known:
                serialized.pop("build_config", None)  # else Keras builds it for the old sizes
        if config.get("build_input_shape") and isinstance(layer, keras.Sequential):
            first = config["layers"][0]["config"]
            config["build_input_shape"] = first.get("batch_shape", config["build_input_shape"])
        return config


def _inside(layer: Any, config: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    if graph_of(layer) is None:
        return wrapped_configs(layer, config)
    return list(zip(configured_layers(layer), config["layers"], strict=True))


def _without_constants(config: dict[str, Any]) -> None:
    """An initializer with an array in it would not fit the new shape."""
    for key, value in config.items():
        if key.endswith("_initializer") and isinstance(value, dict):
            constant = (value.get("config") or {}).get("value", 0)
            if not isinstance(constant, int | float):
                config[key] = "zeros"
