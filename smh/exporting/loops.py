"""Loops that TensorFlow's calibration for LiteRT cannot run: it ends the process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.exporting.naming import layer_in, listed_layers

_LOOPS = ("While", "StatelessWhile")
# TensorFlow 2.21: a loop whose body has LiteRT's GATHER crashes, any other is calibrated.
_READS = ("TensorListGetItem", "Gather", "GatherV2", "GatherNd", "ResourceGather")


def refuse_loops(model: keras.Layer, graph: Any) -> None:
    """Raises if a traced model has a loop that reads a tensor step by step."""
    scopes = list(_reading_loops(graph))
    if not scopes:
        return
    found = [layer for layer in (layer_in(model, scope) for scope in scopes) if layer is not None]
    advice = (
        "Build it with unroll=True and give it the same weights"
        if any(hasattr(layer, "unroll") for layer in found)
        else "Write its steps one after the other, without a loop"
    )
    raise ArgumentError(
        f"'{model.name}' cannot be rounded to integers in LiteRT: TensorFlow's calibration crashes "
        f"on a loop over steps, as in {listed_layers(found, model)}. {advice}; or leave out "
        "activations and representative_dataset, and round the weights alone: "
        "smh.quantize_weights(model, bits=8). Nothing was written."
    )


def _reading_loops(graph: Any) -> Iterator[str]:
    """The names of the loops, with their scopes."""
    definition = graph.as_graph_def()
    functions = {f.signature.name: f.node_def for f in definition.library.function}
    for node in [*definition.node, *(node for nodes in functions.values() for node in nodes)]:
        if node.op in _LOOPS:
            inner = _inside(functions, node.attr["body"].func.name)
            if any(one.op in _READS for one in inner):
                yield node.name


def _inside(functions: Mapping[str, Sequence[Any]], name: str) -> Iterator[Any]:
    """The operations of a function, and of those that it calls."""
    for node in functions.get(name, ()):
        yield node
        for value in node.attr.values():
            if value.HasField("func"):
                yield from _inside(functions, value.func.name)
