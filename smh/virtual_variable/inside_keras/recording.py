"""What a model's layers are called with, and who owns a variable."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from smh.virtual_variable.inside_keras.own import own_layers, own_seeds, own_variables


@contextlib.contextmanager
def calls_through(
    layers: Iterable[keras.Layer], around: Callable[[keras.Layer, Callable, tuple, dict], Any]
) -> Iterator[None]:
    """Inside, a call of one of `layers` is `around(layer, call, args, kwargs)`.

    Relies on: `Layer.__call__` looks `call` up on the instance, as `once` does.
    """
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.callback(_put_back, layer, layer.__dict__.get("call"))
            layer.__dict__["call"] = _through(layer, layer.call, around)
        yield


def _through(layer: keras.Layer, call: Callable, around: Callable) -> Callable:
    @functools.wraps(call)
    def through(*args, **kwargs):
        return around(layer, call, args, kwargs)

    return through


def _put_back(layer: keras.Layer, call: Callable | None) -> None:
    layer.__dict__.pop("call", None)
    if call is not None:
        layer.__dict__["call"] = call


@contextlib.contextmanager
def recorded_calls(
    layers: Iterable[keras.Layer],
) -> Iterator[list[tuple[keras.Layer, tuple]]]:
    """Inside, each call of one of `layers` adds the layer and its positional arguments."""
    calls: list[tuple[keras.Layer, tuple]] = []

    def recording(layer, call, args, kwargs):
        calls.append((layer, args))
        return call(*args, **kwargs)

    with calls_through(layers, recording):
        yield calls


def owner_of(model: keras.Layer, variable: keras.Variable) -> keras.Layer | None:
    """The layer of `model` that owns `variable`: a weight, or the state of a generator of its own.

    Returns:
        `None` for a variable that no layer lists as its own, such as Keras' global seed.
    """
    for layer in own_layers(model):
        if any(owned is variable for owned in [*own_variables(layer), *own_seeds(layer)]):
            return layer
    return None
