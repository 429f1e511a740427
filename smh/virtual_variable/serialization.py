"""Keeps Keras from writing a whole-model file that could not be loaded.

A configuration says nothing of pools, so a `.keras` file of a compressed model would rebuild the
dense model and then find no weights for it. Refusing loses nothing; such a file loses everything.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar

import keras

from smh.errors import VirtualVariableError

_allowed: ContextVar[bool] = ContextVar("smh_serialization_allowed", default=False)


@contextlib.contextmanager
def serialization_allowed():
    """Inside, configurations of compressed layers can be taken: to rebuild the dense model."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def refuse_to_serialize(layer: keras.Layer) -> None:
    """Makes saving `layer`, or a model that contains it, an error.

    Relies on: `serialize_keras_object` calls `get_build_config` on the instance for everything it
    serialises; saving, `copy.deepcopy`, `pickle` and `to_json` all go through it. `save` is
    replaced as well, because Keras empties the file before it serialises.
    """

    def get_build_config():
        if not _allowed.get():
            raise _refusal(layer)
        return type(layer).get_build_config(layer)

    def save(*args, **kwargs):
        del args, kwargs
        raise _refusal(layer)

    layer.__dict__["get_build_config"] = get_build_config
    if isinstance(layer, keras.Model):
        layer.__dict__["save"] = save


def _refusal(layer: keras.Layer) -> VirtualVariableError:
    return VirtualVariableError(
        f"'{layer.name}' has weights that are computed from a pool, which Keras' model "
        "configuration cannot express, so the model cannot be saved or copied as a whole. Save "
        "`smh.materialize(model)` (dense), or `model.save_weights(path)` (the factors), which "
        "loads into a model that is built and compressed again."
    )
