"""Layers that make new channels out of those that come in: dense ones and convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from smh.doors.slimming.elementwise import activated
from smh.doors.slimming.labels import Channels
from smh.doors.slimming.seen import Seen, channel_axis, product
from smh.doors.slimming.wiring import Wiring

Pairs = tuple[np.ndarray, np.ndarray]

# Stay of a bias with several axes: one of `[n, 1]` Keras on TensorFlow adds along axis 1 of an
# output `[..., n, 1]`, if there are `n` as well (findings/keras_add_bias_axis.sh).
LEAST_OF_MATRIX = 2


def pairs(kernel: np.ndarray, groups: int = 1) -> Pairs:
    """Returns for each channel in and out whether there is a weight, and their sum.

    Args:
        kernel: `[*places, in / groups, out]`.
        groups: of a grouped convolution.

    Returns:
        bool and float `[in, out]`.
    """
    flat = kernel.reshape(-1, *kernel.shape[-2:])
    used, sums = (flat != 0).any(axis=0), flat.sum(axis=0) if len(flat) > 1 else flat[0]
    if groups == 1:
        return used, sums
    inside, outside = sums.shape[0], sums.shape[1] // groups
    spread = np.zeros((2, groups * inside, groups * outside))
    for group in range(groups):
        rows, columns = (slice(group * n, (group + 1) * n) for n in (inside, outside))
        spread[0, rows, columns], spread[1, rows, columns] = used[:, columns], sums[:, columns]
    return spread[0] != 0, spread[1]


def bias_of(net: Wiring, layer: Any) -> np.ndarray | float:
    """The numbers of a layer's bias, or zero."""
    return 0.0 if layer.bias is None else net.read(layer.bias).astype("float64")


def dense(seen: Seen, net: Wiring) -> list[Channels]:
    """`Dense`: kernel `[in, out]`."""
    layer, kernel = seen.layer, seen.layer.kernel
    x = net.on_axis(seen.inputs[0], -1, kernel.shape[0])
    outs = net.made_by(layer, kernel.shape[1])
    net.index(layer, kernel, {0: x.labels}, {1: outs})
    net.index(layer, layer.bias, makes={0: outs})
    values = net.mix(layer, x, outs, pairs(net.read(kernel)), layer.bias, True) + bias_of(
        net, layer
    )
    net.work(layer, seen.positions, x.labels, outs)
    net.edit(layer, lambda config, count: config.update(units=count(outs)))
    y = Channels(tuple(seen.shapes[0]), -1, outs, values)
    return [activated(layer.activation, y, net)]


def pads_nothing(layer: Any) -> bool:
    """Whether each number that a convolution gives is made of numbers of the picture only."""
    return layer.padding == "valid" or all(n == 1 for n in layer.kernel_size)


def convolution(seen: Seen, net: Wiring) -> list[Channels]:
    """`Conv1D` to `3D`, in groups or not: kernel `[*size, in / groups, out]`.

    Groups are cut evenly: the channels at one place of each group go together. Where a group has
    one channel, whole groups go.
    """
    layer, kernel = seen.layer, seen.layer.kernel
    axis, groups = channel_axis(layer, seen.inputs[0].shape), layer.groups
    inside, filters = kernel.shape[-2:]
    x = net.on_axis(seen.inputs[0], axis, inside * groups)
    outs = net.made_by(layer, filters)
    rank, whole_groups = len(kernel.shape), groups > 1 and inside == 1
    if whole_groups:
        net.labels.unite(outs, np.repeat(x.labels, filters // groups))
    elif groups > 1:
        for labels in (x.labels, outs):
            net.labels.unite(labels, np.tile(labels[: len(labels) // groups], groups))
    net.index(
        layer, kernel, {} if whole_groups else {rank - 2: x.labels[:inside]}, {rank - 1: outs}
    )
    net.index(layer, layer.bias, makes={0: outs})
    if whole_groups:
        values = _one_by_one(layer, net.read(kernel), np.repeat(x.values, filters // groups))
    else:
        weights = pairs(net.read(kernel), groups)
        values = net.mix(layer, x, outs, weights, layer.bias, pads_nothing(layer))
    places, own = _places(seen, axis), np.prod(kernel.shape[:-2]) / (1 if whole_groups else groups)
    each = None if places is None else places * own
    net.work(layer, each, *((outs,) if whole_groups else (x.labels, outs)))

    def change(config, count):
        config["filters"] = count(outs)
        if whole_groups:
            config["groups"] = count(x.labels)

    net.edit(layer, change)
    y = Channels(tuple(seen.shapes[0]), axis, outs, values + bias_of(net, layer))
    return [activated(layer.activation, y, net)]


def transposed(seen: Seen, net: Wiring) -> list[Channels]:
    """`Conv1DTranspose` to `3D`: kernel `[*size, out, in]`. Its border sees less of a constant."""
    layer, kernel = seen.layer, seen.layer.kernel
    axis = channel_axis(layer, seen.inputs[0].shape)
    filters, inside = kernel.shape[-2:]
    x = net.on_axis(seen.inputs[0], axis, inside)
    outs = net.made_by(layer, filters)
    rank = len(kernel.shape)
    net.index(layer, kernel, {rank - 1: x.labels}, {rank - 2: outs})
    net.index(layer, layer.bias, makes={0: outs})
    weights = pairs(np.swapaxes(net.read(kernel), -1, -2))
    values = net.mix(layer, x, outs, weights, layer.bias, False)
    places = product([n for i, n in enumerate(x.shape) if i and i != axis % len(x.shape)])
    each = None if places is None else places * np.prod(kernel.shape[:-2])
    net.work(layer, each, x.labels, outs)
    net.edit(layer, lambda config, count: config.update(filters=count(outs)))
    y = Channels(tuple(seen.shapes[0]), axis, outs, values + bias_of(net, layer))
    return [activated(layer.activation, y, net)]


def depthwise(seen: Seen, net: Wiring) -> list[Channels]:
    """`DepthwiseConv1D`, `2D`: kernel `[*size, in, multiplier]`; what comes in goes out."""
    layer, kernel = seen.layer, seen.layer.kernel
    axis = channel_axis(layer, seen.inputs[0].shape)
    inside, multiplier = kernel.shape[-2:]
    x = net.on_axis(seen.inputs[0], axis, inside)
    outs = np.repeat(x.labels, multiplier)
    rank = len(kernel.shape)
    net.index(layer, kernel, makes={rank - 2: x.labels})
    net.index(layer, layer.bias, makes={0: outs})
    values = _one_by_one(layer, net.read(kernel), np.repeat(x.values, multiplier))
    places = _places(seen, axis)
    net.work(layer, None if places is None else places * np.prod(kernel.shape[:-2]), outs)
    y = Channels(tuple(seen.shapes[0]), axis, outs, values + bias_of(net, layer))
    return [activated(layer.activation, y, net)]


def separable(seen: Seen, net: Wiring) -> list[Channels]:
    """`SeparableConv1D`, `2D`: depthwise, then pointwise `[1, in * multiplier, out]`."""
    layer = seen.layer
    first, second = layer.depthwise_kernel, layer.pointwise_kernel
    axis = channel_axis(layer, seen.inputs[0].shape)
    inside, multiplier = first.shape[-2:]
    x = net.on_axis(seen.inputs[0], axis, inside)
    outs, inner = net.made_by(layer, second.shape[-1]), np.repeat(x.labels, multiplier)
    rank = len(first.shape)
    net.index(layer, first, {rank - 2: x.labels})
    net.index(layer, second, {rank - 2: inner}, {rank - 1: outs})
    net.index(layer, layer.bias, makes={0: outs})
    numbers = net.read(first).reshape(-1, inside * multiplier)
    used, sums = pairs(net.read(second))
    used = used & (numbers != 0).any(axis=0)[:, None]
    sums = sums * numbers.sum(axis=0)[:, None]
    each_in = (inside, multiplier, -1)
    weights = used.reshape(each_in).any(axis=1), sums.reshape(each_in).sum(axis=1)
    values = net.mix(layer, x, outs, weights, layer.bias, pads_nothing(layer))
    places = _places(seen, axis)
    net.work(layer, None if places is None else places * np.prod(first.shape[:-2]), inner)
    net.work(layer, places, inner, outs)
    net.edit(layer, lambda config, count: config.update(filters=count(outs)))
    y = Channels(tuple(seen.shapes[0]), axis, outs, values + bias_of(net, layer))
    return [activated(layer.activation, y, net)]


def _one_by_one(layer: Any, kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What goes out always is, without the bias, where each channel is made of one `[out]`."""
    numbers = kernel.reshape(-1, len(values))
    dead = ~numbers.any(axis=0) | (values == 0)
    sums = values * numbers.sum(axis=0, dtype="float64")
    return np.where(dead, 0, sums if pads_nothing(layer) else np.nan)


def _places(seen: Seen, axis: int) -> int | None:
    shape = seen.shapes[0]
    return product([n for i, n in enumerate(shape) if i and i != axis % len(shape)])


def embedding(seen: Seen, net: Wiring) -> list[Channels]:
    """`Embedding`: embeddings `[words, out]`."""
    layer, table = seen.layer, seen.layer.embeddings
    net.keep(*seen.inputs)
    outs = net.made_by(layer, table.shape[1])
    net.index(layer, table, makes={1: outs})
    net.edit(layer, lambda config, count: config.update(output_dim=count(outs)))
    numbers = net.read(table)
    values = np.where((numbers == numbers[:1]).all(axis=0), numbers[0], np.nan)
    return [Channels(tuple(seen.shapes[0]), -1, outs, values)]


def einsum(seen: Seen, net: Wiring) -> list[Channels] | None:
    """`EinsumDense`, if one axis is summed over: the last one that it makes can be cut."""
    layer, kernel = seen.layer, seen.layer.kernel
    (left, right), out = layer.equation.split("->")[0].split(","), layer.equation.split("->")[1]
    summed = [letter for letter in right if letter in left and letter not in out]
    made = [letter for letter in out if letter in right and letter not in left]
    if len(summed) != 1 or not made or out[-1:] == ".":
        return None
    read, new = summed[0], made[-1]
    at_in, at_out = left.index(read) - len(left), out.index(new) - len(out)
    if "." in left[at_in:] + out[at_out:] or (
        layer.bias is not None and new not in layer.bias_axes
    ):
        return None
    rows, columns = right.index(read), right.index(new)
    x = net.on_axis(seen.inputs[0], at_in, kernel.shape[rows])
    outs = net.made_by(layer, kernel.shape[columns])
    net.index(layer, kernel, {rows: x.labels}, {columns: outs})
    numbers = np.moveaxis(net.read(kernel), (rows, columns), (-2, -1))
    values = net.mix(layer, x, outs, pairs(numbers), layer.bias, False)
    if layer.bias is not None:
        place = len(layer.bias.shape) + at_out  # [..., n, ...], 1 for what shares it
        least = {place: LEAST_OF_MATRIX} if len(layer.bias.shape) > 1 else {}
        net.index(layer, layer.bias, makes={place: outs}, least=least)
        bias = np.moveaxis(net.read(layer.bias).astype("float64"), place, -1).reshape(-1, len(outs))
        values = values + np.where((bias == bias[:1]).all(axis=0), bias[0], np.nan)
    shape = tuple(seen.shapes[0])
    places = product([n for i, n in enumerate(x.shape) if i and i != at_in % len(x.shape)])
    more = math.prod(kernel.shape[i] for i, n in enumerate(right) if n not in left + new)
    net.work(layer, None if places is None else places * more, x.labels, outs)

    def change(config, count):
        target = [config["output_shape"]] if isinstance(config["output_shape"], int) else []
        target = target or list(config["output_shape"])
        target[at_out] = count(outs)
        config["output_shape"] = tuple(target)

    net.edit(layer, change)
    return [activated(layer.activation, Channels(shape, at_out, outs, values), net)]
