"""Names layers in messages, by what a converter knows of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras

from smh.virtual_variable import own_layers


def described(layer: keras.Layer) -> str:
    """A layer as a message names it: by its name, its class, and what it does at the end."""
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None)
    more = f", activation={name!r}" if name not in (None, "linear") else ""
    return f"layer '{layer.name}' ({type(layer).__name__}{more})"


def listed_layers(layers: Sequence[keras.Layer], model: keras.Layer) -> str:
    """Up to three layers, each once; where there is none, what a model does besides."""
    different = list({id(layer): layer for layer in layers if layer is not model}.values())
    if not different:
        parts = [p for p in getattr(model, "operations", []) if not isinstance(p, keras.Layer)]
        named = ", ".join(f"'{part.name}' ({type(part).__name__})" for part in parts[:9])
        return f"its call between the layers: {named}" if parts else "its call itself"
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(map(described, different[:3])) + more


def layer_in(model: keras.Layer, scope: str) -> keras.Layer | None:
    """The innermost layer of `model` that a name scope of TensorFlow names.

    TensorFlow adds a number to a name that it has had before, as Keras does: `dense_1_2` is the
    layer `dense_1_2`, or else `dense_1` in its third call.

    Relies on: a Keras layer opens a name scope of its name when it is called.
    """
    layers = {layer.name: layer for layer in own_layers(model)}
    for part in reversed(scope.split("/")):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in layers:
                return layers[name]
    return None
