"""Stands between what a layer computes and its activation: sees it, and adds to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import keras

from smh.typing import Tensor


@contextlib.contextmanager
def tapped(
    layers: Iterable[keras.Layer], tap: Callable[[keras.Layer, Tensor], Tensor]
) -> Iterator[None]:
    """Puts `tap(layer, x)` in the place of each `x` that a layer gives to its activation.

    Relies on: Keras' dense and convolution layers end with `self.activation(x)`, bias included, and
    keep the function as an attribute. A layer without one is left alone.
    """
    before = {}
    for layer in layers:
        if callable(layer.__dict__.get("activation")):
            before[layer] = layer.__dict__["activation"]
            layer.__dict__["activation"] = _behind(tap, layer)
    try:
        yield
    finally:
        for layer, activation in before.items():
            layer.__dict__["activation"] = activation


def _behind(tap, layer):
    activation = layer.activation
    return lambda x: activation(tap(layer, x))
