"""Recurrent layers: a unit is its columns in all gates, and its row in the recurrent kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers

from smh.doors.slimming.elementwise import COMBINED, acts_alone, applied, merged
from smh.doors.slimming.labels import Channels, zeros_of
from smh.doors.slimming.seen import Seen
from smh.doors.slimming.wiring import Wiring
from smh.virtual_variable import calls_as_keras

# Which gate gives what a unit takes in: of `i f c o`, of `z r h`, of the only one. While that is
# zero, a unit that starts at zero is zero.
_CANDIDATE = ((layers.LSTMCell, 2), (layers.GRUCell, 2), (layers.SimpleRNNCell, 0))


def recurrent(seen: Seen, net: Wiring) -> list[Channels] | None:
    """`LSTM`, `GRU`, `SimpleRNN`, and `RNN` around one of their cells.

    Their kernels are `[in, gates * units]` and `[units, gates * units]`.
    """
    layer, cell = seen.layer, seen.layer.cell
    gate = _candidate_of(layer)
    if gate is None:
        return None
    units = net.made_by(layer, cell.units)
    x, *states = seen.inputs
    x = net.on_axis(x, -1, cell.kernel.shape[0])
    if seen.training:  # what comes in is dropped then, each time anew
        x = x.with_values(zeros_of(x.values))
    states = [net.on_axis(state, -1, cell.units) for state in states]
    for state in states:
        net.labels.unite(units, state.labels)
    starts = np.all([state.values == 0 for state in states] or [np.ones(cell.units, bool)], axis=0)
    values = _weights(cell, x, units, gate, starts, net)
    if x.shape[1] is None:
        net.work(layer, None, x.labels, units)
    else:
        gates = cell.kernel.shape[1] // cell.units
        net.work(layer, x.shape[1] * gates, x.labels, units)
        net.work(layer, x.shape[1] * gates, units, units)
    _edit(layer, units, net)
    return [Channels(tuple(shape), -1, units, values) for shape in seen.shapes]


def _candidate_of(layer: Any) -> int | None:
    """The gate that gives what a unit takes in; `None` if the rule does not know the layer.

    A cell may be any object with a `call`, so only that of a known kind is asked for more.
    """
    cell = layer.cell
    gate = next((gate for kind, gate in _CANDIDATE if isinstance(cell, kind)), None)
    if gate is None or layer.stateful or not (calls_as_keras(layer) and calls_as_keras(cell)):
        return None
    functions = [cell.activation, getattr(cell, "recurrent_activation", cell.activation)]
    return gate if all(map(acts_alone, functions)) else None


def _weights(cell: Any, x: Channels, units, gate: int, starts, net: Wiring) -> np.ndarray:
    """Indexes the weights of a cell; returns 0 for units that are always zero, else NaN."""
    count, columns = cell.units, cell.kernel.shape[1]
    outs = np.tile(units, columns // count)
    net.known.add(id(cell))
    net.index(cell, cell.kernel, {0: x.labels}, {1: outs})
    net.index(cell, cell.recurrent_kernel, {0: units}, {1: outs})
    zero = starts & (applied(cell.activation, np.zeros(1)) == 0)
    if cell.bias is not None:
        net.index(cell, cell.bias, makes={len(cell.bias.shape) - 1: outs})
        numbers = net.read(cell.bias).reshape(-1, columns)
        zero &= ~numbers[:, gate * count : (gate + 1) * count].any(axis=0)
    kernel, own = net.read(cell.kernel), net.read(cell.recurrent_kernel)
    taken = net.mix(
        cell, x, outs, (kernel != 0, kernel), cell.bias, cell.bias is not None, "kernel"
    )
    candidate = slice(gate * count, (gate + 1) * count)
    zero &= (taken[candidate] == 0) & ~own[:, candidate].any(axis=0)
    values = np.where(zero, 0, np.nan)
    state = Channels((None, count), -1, units, values)
    net.mix(cell, state, outs, (own != 0, own), None, False, "recurrent_kernel")
    return values


def _edit(layer: Any, units: np.ndarray, net: Wiring) -> None:
    """The layer's configuration has the units, or that of its cell."""

    def change(config, count):
        inner = config["cell"]["config"] if "cell" in config else config
        inner["units"] = count(units)

    net.edit(layer, change)


def bidirectional(seen: Seen, net: Wiring) -> list[Channels] | None:
    """`Bidirectional`: two recurrent layers, whose outputs are joined or merged."""
    layer, merge = seen.layer, seen.layer.merge_mode
    halves = (layer.forward_layer, layer.backward_layer)
    if len(seen.inputs) != 1 or not all(isinstance(half, layers.RNN) for half in halves):
        return None
    if any(_candidate_of(half) is None for half in halves):
        return None
    # Keras takes the output to be twice as wide as that of the first: both have to stay equal.
    if len({half.cell.units for half in halves}) != 1:
        return None
    both = []
    shape = tuple(seen.shapes[0])
    for half in halves:
        if half.return_state:
            return None
        inside = replace(seen, layer=half, shapes=[(*shape[:-1], half.cell.units)])
        outputs = recurrent(inside, net)
        if outputs is None:
            return None
        net.known.add(id(half))
        both.append(outputs[0])
    net.labels.unite(both[0].labels, both[1].labels)
    if merge is None:
        return both
    if merge == "concat":
        labels = np.concatenate([y.labels for y in both])
        return [Channels(shape, -1, labels, np.concatenate([y.values for y in both]))]
    kind = {"sum": "Add", "mul": "Multiply", "ave": "Average"}[merge]
    return [merged(both, net, COMBINED[kind], shape)]


def wrapped_configs(layer: Any, config: dict[str, Any]) -> list[tuple[keras.Layer, dict[str, Any]]]:
    """The layers inside a wrapper with their serialized configurations."""
    if isinstance(layer, layers.Bidirectional):
        inner = (("layer", layer.forward_layer), ("backward_layer", layer.backward_layer))
        return [(part, config[key]) for key, part in inner if config.get(key)]
    if isinstance(layer, layers.TimeDistributed):
        return [(layer.layer, config["layer"])]
    if isinstance(layer, layers.RNN) and "cell" in config:  # of `RNN` itself
        return [(layer.cell, config["cell"])]
    return []
