"""Layers that move numbers: pooling, padding, reshaping, wrapping."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from smh.doors.slimming.labels import Channels, whole
from smh.doors.slimming.seen import Seen, all_whole, channel_axis
from smh.doors.slimming.wiring import Count, Wiring


def by_place(seen: Seen, net: Wiring) -> list[Channels]:
    """Layers that change the places and keep the channels: pooling, cropping, upsampling."""
    axis = channel_axis(seen.layer, seen.inputs[0].shape)
    x = net.on_axis(seen.inputs[0], axis)
    return [Channels(tuple(seen.shapes[0]), axis, x.labels, x.values)]


def padding(seen: Seen, net: Wiring) -> list[Channels]:
    """Layers that put zeros, or an average with zeros, at the border."""
    (x,) = by_place(seen, net)
    pads = getattr(seen.layer, "padding", None) != "valid"
    return [x.with_values(np.where(x.values == 0, 0, np.nan)) if pads else x]


def global_pooling(seen: Seen, net: Wiring) -> list[Channels]:
    """Pooling over all places: channels are on the last axis then, or where they were."""
    layer = seen.layer
    axis = channel_axis(layer, seen.inputs[0].shape)
    x = net.on_axis(seen.inputs[0], axis)
    return [Channels(tuple(seen.shapes[0]), axis if layer.keepdims else -1, x.labels, x.values)]


def flatten(seen: Seen, net: Wiring) -> list[Channels]:
    """`Flatten`: each channel at every place."""
    x = seen.inputs[0]
    if x.axis is None or None in x.shape[1:]:
        net.keep(x)
        return all_whole(seen)
    full = _spread(x)
    if seen.layer.data_format == "channels_first" and len(x.shape) > 2:
        full = np.moveaxis(full, 0, -1)
    labels, values = (part.ravel() for part in (full["label"], full["value"]))
    return [Channels(tuple(seen.shapes[0]), -1, labels, values)]


def reshape(seen: Seen, net: Wiring) -> list[Channels]:
    """`Reshape`, if the channels lie along one axis of the result."""
    y = _reshaped(seen.inputs[0], tuple(seen.shapes[0]))
    if y.axis is None:
        net.keep(seen.inputs[0])
    net.resize(seen.layer, y, y.shape)

    def change(config: dict[str, Any], count: Count) -> None:
        now = net.resized(seen.layer, y.shape, count)
        target = zip(config["target_shape"], now, strict=True)
        config["target_shape"] = tuple(n if n == -1 or size is None else size for n, size in target)

    net.edit(seen.layer, change)
    return [y]


def _reshaped(x: Channels, shape: tuple[int | None, ...]) -> Channels:
    if x.axis is None or None in x.shape[1:] or None in shape[1:]:
        return whole(shape)
    full = _spread(x).reshape([n or 0 for n in shape[1:]])  # none is free
    for axis in reversed(range(full.ndim)):
        line = full[tuple(slice(None) if a == axis else slice(1) for a in range(full.ndim))]
        if (full["label"] == line["label"]).all():
            break
    else:
        return whole(shape)
    labels, rows = line["label"].ravel(), np.moveaxis(full["value"], axis, -1)
    rows = rows.reshape(-1, len(labels))
    values = np.where((rows == rows[0]).all(axis=0), rows[0], np.nan)
    return Channels(shape, axis - full.ndim, labels, values)


def _spread(x: Channels) -> np.ndarray:
    """The label and the value of each number of one example."""
    kind = np.dtype([("label", int), ("value", "float64")])
    line = np.empty(len(x.labels), kind)
    line["label"], line["value"] = x.labels, x.values
    assert x.axis is not None
    return np.broadcast_to(
        line.reshape([-1] + [1] * (-x.axis - 1)), [n for n in x.shape[1:] if n is not None]
    )


def permute(seen: Seen, net: Wiring) -> list[Channels]:
    """`Permute`: the channels' axis moves."""
    x, rank = seen.inputs[0], len(seen.inputs[0].shape)
    if x.axis is None:
        return all_whole(seen)
    place = list(seen.layer.dims).index(x.axis + rank) + 1
    return [Channels(tuple(seen.shapes[0]), place - rank, x.labels, x.values)]


def repeat_vector(seen: Seen, net: Wiring) -> list[Channels]:
    """`RepeatVector`: the channels stay on the last axis."""
    x = net.on_axis(seen.inputs[0], -1)
    return [Channels(tuple(seen.shapes[0]), -1, x.labels, x.values)]


def get_item(seen: Seen, net: Wiring) -> list[Channels] | None:
    """`x[:, ::2, -1]`, if it takes all channels."""
    x = seen.inputs[0]
    key = seen.args[1] if len(seen.args) > 1 else seen.kwargs.get("key")
    key = tuple(key) if isinstance(key, list | tuple) else (key,)
    if x.axis is None or not all(isinstance(part, slice | int) for part in key):
        return None
    key += (slice(None),) * (len(x.shape) - len(key))
    place = len(x.shape) + x.axis
    if key[place] != slice(None) or isinstance(key[0], int):
        return None
    axis = x.axis + sum(isinstance(part, int) for part in key[place:])
    return [Channels(tuple(seen.shapes[0]), axis, x.labels, x.values)]


def pad(seen: Seen, net: Wiring) -> list[Channels] | None:
    """`keras.ops.pad` with zeros, at the border or as channels that are always zero."""
    x, widths = seen.inputs[0], [tuple(width) for width in seen.layer.pad_width]
    others = [v for v in keras.tree.flatten((seen.args[1:], seen.kwargs)) if v is not x]
    if x.axis is None or seen.layer.mode != "constant" or any(v is not None for v in others):
        return None
    widths = widths * len(x.shape) if len(widths) == 1 else widths
    place = len(x.shape) + x.axis
    before, after = widths[place]
    at_border = any(max(width) for axis, width in enumerate(widths) if axis != place)
    values = np.where(x.values == 0, 0, np.nan) if at_border else x.values
    first, last = (
        net.made_by(seen.layer, n, side) for n, side in ((before, "before"), (after, "after"))
    )

    def change(config: dict[str, Any], count: Count) -> None:
        widths[place] = (count(first), count(last))
        config["pad_width"] = [list(width) for width in widths]

    net.edit(seen.layer, change)
    labels = np.concatenate([first, x.labels, last])
    values = np.concatenate([np.zeros(before), values, np.zeros(after)])
    return [Channels(tuple(seen.shapes[0]), x.axis, labels, values)]


def at_input(seen: Seen, net: Wiring) -> list[Channels] | None:
    """`Normalization`, where nothing could be cut anyway."""
    if seen.inputs[0].labels.size:
        return None
    for variable in seen.layer.variables:
        net.index(seen.layer, variable)
    return all_whole(seen)
