"""The layers of a model, each with inputs that it is called with, to be tried out alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from smh.exporting.samples import Sample, answer, as_array
from smh.exporting.signatures import Signature
from smh.virtual_variable import own_layers
from smh.virtual_variable.inside_keras.recording import recorded_calls

# Another of these in the configuration makes no other kind of layer.
_SAME_KIND = ("name", "units", "filters", "kernel_initializer", "bias_initializer")


@dataclasses.dataclass(frozen=True)
class Call:
    """A layer, and what it was called with."""

    layer: keras.Layer
    signature: Signature
    sample: Sample


def first_calls(model: keras.Layer, sample: Sample) -> list[Call]:
    """Returns a call of each kind of layer without layers below it, in the order of the calls.

    What such a layer cannot be called with by position alone is left out.
    """
    leaves = [layer for layer in own_layers(model) if not below(layer)]
    with recorded_calls(leaves) as calls:
        answer(model, sample.arguments)
    kinds: dict[Any, tuple[keras.Layer, tuple]] = {}
    for layer, arguments in calls:
        kinds.setdefault(_kind(layer), (layer, arguments))
    return list(_callable(list(kinds.values())))


def below(layer: keras.Layer) -> list[keras.Layer]:
    """The layers inside of `layer`."""
    return list(own_layers(layer))[1:]


def _callable(found: Sequence[tuple[keras.Layer, tuple]]) -> Iterator[Call]:
    for layer, arguments in found:
        arrays = keras.tree.map_structure(as_array, list(arguments))
        flat = keras.tree.flatten(arrays)
        specs = [_spec(array, f"input_{i}") for i, array in enumerate(flat)]
        try:
            outputs = answer(layer, arrays)
        except Exception:  # the layer's own, of any kind: it needs keywords
            continue
        yield Call(layer, list(keras.tree.pack_sequence_as(arrays, specs)), Sample(arrays, outputs))


def _spec(array: Any, name: str) -> keras.KerasTensor:
    dtype = "string" if array.dtype.kind in "SUO" else str(array.dtype)
    return keras.KerasTensor((None, *array.shape[1:]), dtype=dtype, name=name)


def _kind(layer: keras.Layer) -> Any:
    try:
        config = layer.get_config()
    except Exception:  # a user's layer need not have one
        return id(layer)
    return type(layer), repr(
        sorted((key, repr(value)) for key, value in config.items() if key not in _SAME_KIND)
    )
