"""A fresh model from a live one's configuration."""

from __future__ import annotations

import keras

from smh.errors import ArgumentError


def rebuild(model: keras.Layer) -> keras.Layer:
    """Returns an equal model with fresh weights, built as `model` was.

    Relies on: `get_build_config` returns the shapes that the model was built with; a `Lambda`
    is only deserialised outside of safe mode, which is right here: it comes from this process.
    """
    from keras.src.saving.serialization_lib import SafeModeScope

    try:
        with SafeModeScope(safe_mode=False):
            fresh = type(model).from_config(model.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"'{model.name}' ({type(model).__name__}) cannot be rebuilt from its configuration: "
            f"{error} A subclassed model needs get_config() (and from_config() if an argument is "
            "itself an object)."
        ) from error
    if not fresh.built:
        fresh.build_from_config(model.get_build_config())
    return fresh
