"""A functional or sequential model as the calls that it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer, or of another operation, in a graph.

    Attributes:
        operation: what is called.
        args: its arguments; tensors are `keras.KerasTensor`.
        kwargs: those by name.
        outputs: the tensors that it gives.
    """

    operation: keras.Operation
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[keras.KerasTensor, ...]

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The tensors among the arguments, in their order."""
        flat = keras.tree.flatten((self.args, self.kwargs))
        return [value for value in flat if isinstance(value, keras.KerasTensor)]


@dataclass(frozen=True, eq=False)
class Graph:
    """The calls of a model, each after those whose outputs it takes.

    Attributes:
        inputs: the tensors that the model takes.
        input_layers: the layer that stands for each of them in the model's configuration.
        calls: without those of the input layers.
        outputs: the tensors that it gives.
    """

    inputs: tuple[keras.KerasTensor, ...]
    input_layers: tuple[keras.Operation, ...]
    calls: tuple[Call, ...]
    outputs: tuple[keras.KerasTensor, ...]


def graph_of(model: Any) -> Graph | None:
    """Returns the graph of a functional or sequential model, or `None` if it is none.

    A subclass counts if its call and its configuration are those of its base class.

    Relies on: a `Functional` keeps its nodes by depth, the deepest first in a call; a built
    `Sequential` keeps a `Functional` of its layers; a node has an operation, arguments and outputs,
    and the operation of an input is its `InputLayer`.
    """
    from keras.src.models.functional import Functional, functional_like_constructor

    kind = type(model)
    if isinstance(model, keras.Sequential):
        if kind.call is not keras.Sequential.call or model._functional is None:
            return None
        inner = model._functional
    elif isinstance(model, Functional) and kind.call is Functional.call:
        if not functional_like_constructor(kind):
            return None
        inner = model
    else:
        return None
    depths = sorted(inner._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in inner._nodes_by_depth[depth]]
    return Graph(
        tuple(inner.inputs),
        tuple(tensor._keras_history.operation for tensor in inner.inputs),
        tuple(
            Call(n.operation, tuple(n.arguments.args), dict(n.arguments.kwargs), tuple(n.outputs))
            for n in nodes
            if not n.is_input
        ),
        tuple(inner.outputs),
    )


def calls_in_graphs(operation: Any) -> int:
    """In how many places of graphs an operation is called.

    Relies on: each call with a symbolic tensor adds a node to `_inbound_nodes`.
    """
    return len(getattr(operation, "_inbound_nodes", ()))


def inputs_in_order(model: Any, given: Any) -> list[Any]:
    """What a functional or sequential model is called with, in the order of its graph's inputs.

    Relies on: Keras reads a dict by the names of the inputs, where these were given as a list.
    """
    inputs = model.input if hasattr(model, "input") else None
    flat = keras.tree.flatten(inputs)
    if isinstance(given, dict) and not isinstance(inputs, dict):
        return [given.get(x.name) for x in flat]
    return keras.tree.flatten(given)


def input_names(inputs: Iterable[keras.KerasTensor]) -> list[str]:
    """What the inputs of a model are called: by their layers, as a summary and Keras' errors do.

    Relies on: the tensor of an `InputLayer` that was given no name has an automatic one of its own.
    """
    return [x._keras_history.operation.name for x in inputs]


def configured_layers(model: keras.Model) -> list[keras.Operation]:
    """The layers and operations that the configuration of a graph lists, in its order.

    Relies on: `get_config()["layers"]` of a functional model is in the order of `operations`, and
    that of a sequential one is its list of layers with the input.
    """
    if isinstance(model, keras.Sequential):
        return list(model._layers)
    return list(model.operations)
