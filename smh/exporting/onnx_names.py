"""Short names for what is inside an ONNX file: TensorFlow's take more bytes than small weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any


def shorten(proto: Any) -> None:
    """Renames the inner tensors and the nodes of an ONNX model; inputs and outputs keep theirs.

    A name is one tensor in all graphs of the model: those of loops and branches read what is
    outside of them. What the file says of the types of inner tensors is left out: runtimes infer
    it.
    """
    kept = [value.name for value in (*proto.graph.input, *proto.graph.output)]
    names = {name: name for name in ["", *kept]}
    free = (name for name in map("t{}".format, itertools.count()) if name not in kept)
    counter = itertools.count()

    def short(name: str) -> str:
        if name not in names:
            names[name] = next(free)
        return names[name]

    for graph in graphs_of(proto.graph):
        for stored in (*graph.initializer, *graph.input, *graph.output):
            stored.name = short(stored.name)
        del graph.value_info[:]
        for sparse in graph.sparse_initializer:
            sparse.values.name = short(sparse.values.name)
        for node in graph.node:
            node.name = f"n{next(counter)}"
            for listed in (node.input, node.output):
                listed[:] = [short(name) for name in listed]


def graphs_of(graph: Any) -> Iterator[Any]:
    """A graph, and those of its loops and branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for below in inner:
                yield from graphs_of(below)
