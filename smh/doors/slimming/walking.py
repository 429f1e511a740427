"""One walk over a model: every call by its rule, from the inputs to the outputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers

from smh.doors.slimming.labels import Channels, whole
from smh.doors.slimming.rules import MIXES, rule_of
from smh.doors.slimming.seen import Seen, all_whole
from smh.doors.slimming.wiring import Wiring
from smh.errors import ArgumentError
from smh.virtual_variable import floats_of, own_layers, own_variables
from smh.virtual_variable.inside_keras.graph import Call, Graph, graph_of, inputs_in_order

NO_RULE = "there is no rule for this kind of layer"
_ALL_AT_ONCE = "it looks at all channels at once"
_OTHER_USE = "it is of a kind, or used in a way, that its rule does not know"
_OWN_WEIGHTS = "it has weights that its rule does not know"


def walk(
    model: keras.Model,
    read: Callable[[keras.Variable], np.ndarray] = floats_of,
    varying: np.ndarray | None = None,
) -> Wiring:
    """Returns what the layers of a model say about each other.

    Labels come out the same in every walk over the same model.

    Args:
        model: a built model.
        read: gives the numbers of a weight.
        varying: labels of an earlier walk that are no constants, see `Wiring`.

    Raises:
        ArgumentError: the model is no graph of layers.

    Cost: one pass over the weights.
    """
    graph = graph_of(model)
    if graph is None:
        raise ArgumentError(
            f"'{getattr(model, 'name', model)}' ({type(model).__name__}) is no graph of layers, so "
            "nothing says which layer reads which. Build it with keras.Sequential, or as "
            "keras.Model(inputs, outputs) from keras.Input tensors; a layer with a call() of its "
            "own may be inside and is left whole."
        )
    net = Wiring(read, varying)
    net.keep(*_through(graph, [whole(x.shape) for x in graph.inputs], net))
    return net


def _through(
    graph: Graph, inputs: Sequence[Channels], net: Wiring, training: bool = False
) -> list[Channels]:
    """Takes tensors through a graph, call by call; those inside train if the graph does."""
    known = {id(x): channels for x, channels in zip(graph.inputs, inputs, strict=True)}
    for call in graph.calls:
        args, kwargs, masks = _named(call)
        if training and isinstance(call.operation, keras.Layer):
            kwargs.setdefault("training", True)
        # A mask says which places count; no rule takes numbers from it, so all that makes it stays.
        net.keep(*(known[id(x)] for x in masks))
        outputs = _seen(_with_channels(call, args, kwargs, known), net)
        known.update((id(x), y) for x, y in zip(call.outputs, outputs, strict=True))
    return [known[id(x)] for x in graph.outputs]


def _named(call: Call):
    """The arguments of a call, `training` by its name, and the tensors in that called `mask`.

    Keras computes the masks of steps in the graph, and passes them by this name.
    """
    args, kwargs = list(call.args), dict(call.kwargs)
    if isinstance(call.operation, keras.Layer):
        names = list(inspect.signature(call.operation.call).parameters)[: len(args)]
        for name in {"mask", "training"}.intersection(names):
            kwargs[name], args[names.index(name)] = args[names.index(name)], None
    masks = keras.tree.flatten(kwargs.pop("mask", None))
    return tuple(args), kwargs, [x for x in masks if isinstance(x, keras.KerasTensor)]


def _with_channels(call: Call, args, kwargs, known: dict[int, Channels]) -> Seen:
    def channels(value):
        return known[id(value)] if isinstance(value, keras.KerasTensor) else value

    args, kwargs = keras.tree.map_structure(channels, (args, kwargs))
    flat = keras.tree.flatten((args, kwargs))
    inputs = [value for value in flat if isinstance(value, Channels)]
    return Seen(call.operation, inputs, [x.shape for x in call.outputs], args, kwargs)


def _seen(seen: Seen, net: Wiring) -> Sequence[Channels]:
    """Returns the outputs of a call, by the rule of its layer or the graph inside it."""
    inner = graph_of(seen.layer)
    if inner is not None:
        return _nested(inner, seen, net)
    if isinstance(seen.layer, layers.TimeDistributed):
        return _at_each_time(seen, net)
    rule = rule_of(seen.layer)
    known = rule is not None and id(seen.layer) not in net.whole
    outputs = rule(seen, net) if rule and known else None
    if outputs is not None and _knows_all(seen.layer, net):
        net.known.add(id(seen.layer))
        return outputs if net.varying is None else [_varying(y, net.varying) for y in outputs]
    reason = NO_RULE if rule is None else _OTHER_USE if outputs is None else _OWN_WEIGHTS
    return _left(seen, _ALL_AT_ONCE if isinstance(seen.layer, MIXES) else reason, net)


def _varying(y: Channels, varying: np.ndarray) -> Channels:
    return y.with_values(np.where(varying[y.labels], np.nan, y.values))


def _left(seen: Seen, reason: str, net: Wiring) -> Sequence[Channels]:
    """A layer around which nothing goes: neither what comes in, nor what it has, nor makes.

    In no other call of it either.
    """
    net.keep(*seen.inputs)
    for part in _layers_of(seen.layer):
        net.whole.add(id(part))
        for variable in own_variables(part):
            cut = net.cuts.pop(id(variable), None)
            for labels in cut.axes.values() if cut else ():
                net.labels.keep(labels)
        net.edits.pop(id(part), None)
        net.known.discard(id(part))
    if _layers_of(seen.layer) and seen.layer.weights or any(x.labels.size for x in seen.inputs):
        net.leave(seen.layer, reason)
    return all_whole(seen)


def _knows_all(layer: Any, net: Wiring) -> bool:
    """Whether each weight is indexed, so that none is overlooked."""
    weights = [v for part in _layers_of(layer) for v in own_variables(part)]
    return all(id(v) in net.cuts or not v.shape or _is_state(v) for v in weights)


def _is_state(variable: keras.Variable) -> bool:
    return "int" in str(variable.dtype)  # seeds, counters


def _layers_of(operation: Any) -> list[keras.Layer]:
    return list(own_layers(operation)) if isinstance(operation, keras.Layer) else []


def _nested(graph: Graph, seen: Seen, net: Wiring) -> list[Channels]:
    """A model inside: its input layers take the sizes of what comes in."""
    given = inputs_in_order(seen.layer, seen.args[0] if seen.args else seen.kwargs.get("inputs"))
    if not all(isinstance(x, Channels) for x in given) or len(given) != len(graph.inputs):
        return list(_left(seen, _OTHER_USE, net))
    inputs = []
    for number, (layer, x) in enumerate(zip(graph.input_layers, given, strict=True)):
        inner = graph.inputs[number].shape
        if len(inner) != len(x.shape):  # Keras adds or takes away an axis of length 1
            net.keep(x)
            x = whole(inner)
        net.resize(layer, x, inner)
        _resize_input(layer, inner, net)
        inputs.append(x)
    net.known.add(id(seen.layer))
    outputs = _through(graph, inputs, net, seen.training)
    shapes = zip(outputs, seen.shapes, strict=True)
    return [replace(y, shape=tuple(shape)) for y, shape in shapes]


def _resize_input(layer: Any, shape: Sequence[int | None], net: Wiring) -> None:
    def change(config, count):
        config["batch_shape"] = (shape[0], *net.resized(layer, shape, count))

    net.edit(layer, change)
    net.known.add(id(layer))


def _at_each_time(seen: Seen, net: Wiring) -> Sequence[Channels]:
    """`TimeDistributed`: the layer inside sees one time; the channels are counted from the end."""
    x, shape = seen.inputs[0], seen.shapes[0]
    if x.axis is not None and len(x.shape) + x.axis < 2:  # the channels are the times
        net.keep(x)
        x = whole(x.shape)
    inside = Seen(
        seen.layer.layer,
        [replace(x, shape=(x.shape[0], *x.shape[2:]))],
        [(shape[0], *shape[2:])],
        (replace(x, shape=(x.shape[0], *x.shape[2:])),),
        {"training": seen.training},
    )
    times = net.times
    net.times = None if times is None or x.shape[1] is None else times * x.shape[1]
    outputs = _seen(inside, net)
    net.times = times
    net.known.add(id(seen.layer))
    return [replace(outputs[0], shape=tuple(shape))]
