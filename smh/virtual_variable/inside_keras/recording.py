"""What a model's layers are called with, and who owns a variable."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras

from smh.virtual_variable.inside_keras.attachment import own_layers, own_variables


@contextlib.contextmanager
def recorded_calls(
    layers: Sequence[keras.Layer],
) -> Iterator[list[tuple[keras.Layer, tuple]]]:
    """Inside, each call of one of `layers` adds the layer and its positional arguments to a list.

    Relies on: `Layer.__call__` looks `call` up on the instance.
    """
    calls: list[tuple[keras.Layer, tuple]] = []
    kept = [layer.__dict__.get("call") for layer in layers]
    try:
        for layer in layers:
            layer.__dict__["call"] = _recording(layer, layer.call, calls)
        yield calls
    finally:
        for layer, before in zip(layers, kept, strict=True):
            layer.__dict__.pop("call", None)
            if before is not None:
                layer.__dict__["call"] = before


def _recording(layer: keras.Layer, call: Callable, calls: list) -> Callable:
    def recording(*args, **kwargs):
        calls.append((layer, args))
        return call(*args, **kwargs)

    return recording


def owner_of(model: keras.Layer, variable: keras.Variable) -> keras.Layer | None:
    """The layer of `model` that owns `variable`: a weight, or the state of a generator of its own.

    Returns:
        `None` for a variable that no layer lists as its own, such as Keras' global seed.

    Relies on: a layer tracks its generators in `_seed_generators`; a generator has a `state`.
    """
    for layer in own_layers(model):
        seeds = [generator.state for generator in layer._seed_generators]
        if any(owned is variable for owned in [*own_variables(layer), *seeds]):
            return layer
    return None
