"""Sees what goes into layers while a model runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from smh.virtual_variable import own_layers
from smh.virtual_variable.inside_keras.recording import calls_through

# Gets a layer and its inputs, laid flat.
Before = Callable[[keras.Layer, list[Any]], None]


@contextlib.contextmanager
def watched(model: keras.Layer, layers: Iterable[keras.Layer], before: Before) -> Iterator[None]:
    """Calls `before` each time that one of `layers` is called, with tensors that have values.

    Relies on: a recurrent layer that is unrolled calls its cell in Python, with values; on PyTorch
    (where an LSTM backwards with a mask cannot be unrolled) every loop does, but PyTorch's own,
    which Keras takes on a CPU too, and which is left by `use_cudnn=False`.
    """

    def telling(layer, call, args, kwargs):
        before(layer, [t for t in keras.tree.flatten((args, kwargs)) if hasattr(t, "shape")])
        return call(*args, **kwargs)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_without_gradients())
        for layer in own_layers(model):
            if isinstance(layer, keras.layers.RNN):
                stack.enter_context(_unrolled(layer))
        stack.enter_context(calls_through(layers, telling))
        yield


def _without_gradients() -> contextlib.AbstractContextManager:
    """On PyTorch what is computed of trained weights keeps all that it was computed from."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


@contextlib.contextmanager
def _unrolled(layer: keras.layers.RNN) -> Iterator[None]:
    in_python = {"use_cudnn": False}
    if keras.backend.backend() != "torch":
        in_python["unroll"] = True
    before = {name: getattr(layer, name) for name in in_python if hasattr(layer, name)}
    for name in before:
        setattr(layer, name, in_python[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(layer, name, value)
