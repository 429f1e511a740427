"""The methods by which a layer saves and loads itself, as if none of its weights was computed.

`save_own_variables`, `load_own_variables`, `save_assets` and `load_assets` are how a layer says
what it is beyond its variables. A layer's own override may name a weight (`store["pos"] =
self.pos`), count the variables that Keras tracks, or compute something from what it loads. It is
called here with all of its weights in their places, and what it assigns to a computed weight is
left aside: that value comes from elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from smh.virtual_variable.inside_keras.own import own_variables
from smh.virtual_variable.variable import loading_around_computed

_HOOKS = ("save_own_variables", "load_own_variables")
# Where Keras' own hooks assign variables by name and do nothing else, but for quantised layers.
_KERAS = ("keras.src.layers.core.", "keras.src.layers.convolutional.")


def has_own_hooks(layer: keras.Layer) -> bool:
    """Whether there is more to saving or loading a layer than the values of its variables.

    Relies on: the hooks of `Dense`, `EinsumDense`, `Embedding` and the convolutions; a layer that
    is quantised notes in them that it was calibrated, and one with LoRA stores a merged kernel,
    which is not needed where all variables are kept.
    """
    hooks = [getattr(type(layer), name) for name in _HOOKS]
    hooks = [hook for hook in hooks if hook not in map(keras.Layer.__dict__.get, _HOOKS)]
    if all(hook.__module__.startswith(_KERAS) for hook in hooks):
        quantised = getattr(layer, "quantization_mode", None) is not None
        return bool(hooks) and quantised and not getattr(layer, "lora_enabled", False)
    return True


def has_assets(layer: keras.Layer) -> bool:
    """Whether it has files that Keras would save with it."""
    return hasattr(layer, "save_assets") or hasattr(layer, "load_assets")


def saved(layer: keras.Layer) -> dict[str, Any]:
    """Returns what its `save_own_variables` stores: variables, also computed ones, or numbers."""
    store: dict[str, Any] = {}
    with _all_weights_in_place(layer):
        type(layer).save_own_variables(layer, store)
    return store


def load(layer: keras.Layer, store: Mapping[str, Any], in_place: bool = True) -> dict:
    """Calls its `load_own_variables`; what is assigned to a computed weight is left aside.

    Args:
        layer: the layer.
        store: the numbers.
        in_place: whether the layer sees its computed weights among those that Keras tracks.

    Returns:
        What was left aside: `(variable, value)` by the variable's `id`.
    """
    places = _all_weights_in_place(layer) if in_place else contextlib.nullcontext()
    with places, loading_around_computed() as assigned:
        type(layer).load_own_variables(layer, dict(store))
    return assigned


@contextlib.contextmanager
def _all_weights_in_place(layer: keras.Layer) -> Iterator[None]:
    """Inside, the layer's list of trainable variables has the computed ones where they were.

    Relies on: `Layer.save_own_variables` and `load_own_variables` read `_trainable_variables` and
    `_non_trainable_variables` from the instance; setting them in `__dict__` tracks nothing.
    """
    tracked, every = layer._trainable_variables, own_variables(layer)
    layer.__dict__["_trainable_variables"] = every[
        : len(every) - len(layer._non_trainable_variables)
    ]
    try:
        yield
    finally:
        layer.__dict__["_trainable_variables"] = tracked
