"""`MultiHeadAttention`: its heads, and the numbers in each head, can go."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from smh.doors.slimming.labels import Channels
from smh.doors.slimming.mixing import LEAST_OF_MATRIX, bias_of
from smh.doors.slimming.seen import Seen, product
from smh.doors.slimming.wiring import Wiring


def multi_head(seen: Seen, net: Wiring) -> list[Channels] | None:
    """Kernels of query and key `[in, heads, size]`, value `[in, heads, value size]`, output.

    A head is one in all of them, `size` is one in query and key, `value size` one in value and
    output, each in all heads. Scores are divided by the root of `size`, so the query makes up for
    what goes of it. On JAX both sizes are one: Keras 3.15 computes attention by
    `jax.nn.dot_product_attention`, which takes no others (findings/keras_attention_on_jax.sh).
    """
    layer = seen.layer
    if len(seen.shapes) != 1:  # the scores are asked for as well
        return None
    names = ("query", "value", "key")
    given = {**dict(zip(names, seen.args, strict=False)), **seen.kwargs}
    net.keep(*(x for x in seen.inputs if not any(x is given.get(name) for name in names)))
    query, value = given["query"], given["value"]
    key = value if given.get("key") is None else given["key"]
    heads = net.made_by(layer, layer.num_heads, "heads")
    sizes = net.made_by(layer, layer.key_dim, "size")
    tied = keras.backend.backend() == "jax" and layer.value_dim == layer.key_dim
    value_sizes = sizes if tied else net.made_by(layer, layer.value_dim, "value_size")
    q = _project(layer.query_dense, query, heads, sizes, net)
    k = _project(layer.key_dense, key, heads, sizes, net)
    v = _project(layer.value_dense, value, heads, value_sizes, net)
    gate = getattr(layer, "_gate_dense", None)
    if gate is not None:
        _project(gate, query, heads, value_sizes, net)
    _scores(layer, q, k, heads, sizes, net)
    y = _output(layer, v, heads, value_sizes, tuple(seen.shapes[0]), net)
    _scaled(layer, sizes, net)
    _works(layer, (query, key), (heads, sizes, value_sizes), net)
    _edit(layer, (heads, sizes, value_sizes, y.labels), net)
    return [y]


def _project(part: Any, x: Channels, heads, sizes, net: Wiring) -> np.ndarray:
    """Returns what query, key or value always is, `[heads, size]`."""
    kernel = part.kernel
    x = net.on_axis(x, -1, kernel.shape[0])
    net.known.add(id(part))
    net.index(part, kernel, {0: x.labels}, {1: heads, 2: sizes})
    net.index(part, part.bias, makes={0: heads, 1: sizes}, least={1: LEAST_OF_MATRIX})
    numbers = net.read(kernel).reshape(len(x.labels), -1)
    # What goes out has two labels. By that of its head it is there longer than it may be.
    outs, absorbs = np.repeat(heads, len(sizes)), part.bias is not None
    values = net.mix(part, x, outs, (numbers != 0, numbers), part.bias, absorbs)
    net.work(part, product(x.shape[1:-1]), x.labels, heads, sizes)
    added = np.ravel(bias_of(net, part))
    return (values + added).reshape(len(heads), len(sizes))


def _scores(layer: Any, q: np.ndarray, k: np.ndarray, heads, sizes, net: Wiring) -> None:
    """A size of which query or key is zero in every head adds nothing to the scores."""
    product_of = np.where(((q == 0) | (k == 0)).all(axis=0), 0, np.nan)
    used = np.ones((len(sizes), len(heads)), bool)
    x = Channels((None, len(sizes)), -1, sizes, product_of)
    net.mix(layer, x, heads, (used, used.astype("float32")), None, False, "scores")


def _output(layer: Any, v: np.ndarray, heads, sizes, shape, net: Wiring) -> Channels:
    """What the heads give goes through the last kernel `[heads, value size, ...]`."""
    part = layer.output_dense
    kernel = part.kernel
    net.known.add(id(part))
    flat = net.read(kernel).reshape(len(heads) * len(sizes), -1)
    plain = len(kernel.shape) == 3
    outs = net.made_by(layer, kernel.shape[-1], "out") if plain else np.zeros(flat.shape[1], int)
    net.index(part, kernel, {0: heads, 1: sizes}, {2: outs} if plain else {})
    net.index(part, part.bias, makes={0: outs} if plain else {})
    net.work(part, product(shape[1:-1]) if plain else None, heads, sizes, outs)
    zero = np.where(v.ravel() == 0, 0, np.nan)
    values = np.zeros(0)
    for number, ins in enumerate((np.repeat(heads, len(sizes)), np.tile(sizes, len(heads)))):
        x = Channels((None, len(ins)), -1, ins, zero)
        weights = flat != 0, flat
        values = net.mix(part, x, outs, weights, None, False, f"kernel {number}")
    values = values + np.ravel(bias_of(net, part))
    axis = -1 if plain else None
    return Channels(
        shape, axis, outs if plain else np.zeros(0, int), values if plain else values[:0]
    )


def _scaled(layer: Any, sizes: np.ndarray, net: Wiring) -> None:
    part = layer.query_dense
    for variable in (part.kernel, part.bias):
        if variable is not None:
            cut = net.cuts[id(variable)]
            cut.scale = lambda count: math.sqrt(count(sizes) / len(sizes))


def _works(layer: Any, inputs, labels, net: Wiring) -> None:
    query, key = (product(x.shape[1:-1]) for x in inputs)
    heads, sizes, value_sizes = labels
    each = None if query is None or key is None else query * key
    net.work(layer, each, heads, sizes)
    net.work(layer, each, heads, value_sizes)


def _edit(layer: Any, labels, net: Wiring) -> None:
    heads, sizes, value_sizes, outs = labels

    def change(config, count):
        config.update(num_heads=count(heads), key_dim=count(sizes), value_dim=count(value_sizes))
        if len(outs):  # else the output has several axes, and none of them is cut
            config["output_shape"] = (count(outs),)

    net.edit(layer, change)
