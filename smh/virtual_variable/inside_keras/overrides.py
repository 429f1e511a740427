"""Stands between a layer's own `save_own_variables` and the weights of it that are computed.

Many layers save a weight under a name (`store["pos"] = self.pos`) and load it by assigning. In
Keras' files of a compressed layer such a weight has an entry that says which of the computed ones
it is, in place of its numbers: those are the holder's to save. When it is loaded, the layer is
given the computed value, and what it assigns is left aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.virtual_variable.inside_keras import hooks
from smh.virtual_variable.inside_keras.holder import VirtualWeights
from smh.virtual_variable.inside_keras.own import holder_of, own_variables
from smh.virtual_variable.variable import VirtualVariable

_COMPUTED = "smh computed "  # in files, before the key of a computed weight


def save(owner: keras.Layer, store) -> None:
    """Saves what the layer saves, but for the computed weights of it."""
    own = {id(virtual): i for i, virtual in enumerate(_virtuals(owner))}
    for key, value in hooks.saved(owner).items():
        if id(value) in own:
            store[_COMPUTED + key] = np.array(own[id(value)], "int64")
        else:
            store[key] = value


def load(owner: keras.Layer, store) -> None:
    """Lets the layer load itself now, as Keras does, and again once its holder has loaded.

    What a layer computes from its weights while it loads is right the second time only.
    """
    stored = {key: np.array(store[key]) for key in store.keys()}
    _load(owner, stored)

    def load_again() -> None:
        for virtual, value in _load(owner, stored).values():
            if any(virtual is own for own in _virtuals(owner)):
                _check_is_computed(owner, virtual, value)

    _holder(owner).after_loading(load_again)


def stored_dense(owner: keras.Layer) -> str:
    """The message for a file that has the weights of a compressed layer in full."""
    expected = len(owner._trainable_variables) + len(owner._non_trainable_variables)
    return (
        f"'{owner.name}' is compressed, and the file has its weights stored dense: "
        f"{len(own_variables(owner))} variables, expected {expected}. Load the file into the dense "
        "model, before smh.compress(model, ...), or load a file that a compressed model wrote."
    )


def _holder(owner: keras.Layer) -> VirtualWeights:
    holder = holder_of(owner)
    assert holder is not None  # only the owner of one is stood between
    return holder


def _virtuals(owner: keras.Layer) -> list[VirtualVariable]:
    return _holder(owner).virtuals


def _load(owner: keras.Layer, stored: Mapping[str, np.ndarray]) -> dict:
    virtuals = _virtuals(owner)
    computed = {k: int(v) for k, v in stored.items() if k.startswith(_COMPUTED)}
    if any(not 0 <= number < len(virtuals) for number in computed.values()):
        raise ArgumentError(
            f"The file has weights of '{owner.name}' computed that are not. Load it into a model "
            "that was compressed by the same call."
        )
    if not computed:
        _check_keys(owner, stored)
    given: dict[str, Any] = {k: v for k, v in stored.items() if k not in computed}
    given |= {k.removeprefix(_COMPUTED): virtuals[i].numpy() for k, i in computed.items()}
    # Early files have no entry for a computed weight, where the layer did not name it.
    return hooks.load(owner, given, in_place=bool(computed) or not stored)


def _check_keys(owner: keras.Layer, stored: Mapping[str, np.ndarray]) -> None:
    try:
        keys = hooks.saved(owner)
    except Exception:  # of the user's code, which may need what is not loaded yet
        return
    own = {id(virtual) for virtual in _virtuals(owner)}
    if any(id(value) in own for value in keys.values()) and set(keys) <= set(stored):
        raise ArgumentError(stored_dense(owner))


def _check_is_computed(owner: keras.Layer, virtual: VirtualVariable, value: Any) -> None:
    """Numbers that a layer saved for a computed weight have to be those that are computed."""
    found, expected = np.asarray(keras.ops.convert_to_numpy(value)), virtual.numpy()
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-3, atol=1e-5):
        raise ArgumentError(stored_dense(owner))
