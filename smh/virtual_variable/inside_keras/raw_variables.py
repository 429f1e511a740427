"""Variables that Keras cannot see."""

from __future__ import annotations

import sys

import keras


def raw_variables(layer: keras.Layer) -> list[str]:
    """Names of a layer's attributes that are `tf.Variable`s, which Keras 3 does not track."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not hasattr(tf, "Variable"):
        return []
    return [name for name, value in vars(layer).items() if isinstance(value, tf.Variable)]


def is_torch_module(layer: keras.Layer) -> bool:
    """Whether the layer wraps a PyTorch module, which reads its own parameters.

    The layer's variables share their storage, but the module never asks them for a value.
    """
    return isinstance(layer, keras.layers.TorchModuleWrapper)
