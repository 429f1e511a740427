"""Back to a plain Keras model: `smh.materialize`."""

from __future__ import annotations

import keras
import numpy as np

from smh.errors import ArgumentError, UnbuiltModelError
from smh.virtual_variable.inside_keras.members import (
    Member,
    members,
    members_named,
    names_of,
    paired,
)
from smh.virtual_variable.inside_keras.own_state import load_anew, load_own_states, own_states
from smh.virtual_variable.inside_keras.rebuilding import rebuild


def materialize(model: keras.Model) -> keras.Model:
    """Returns a new plain Keras model with dense weights and no smh in it.

    Use it to hand a model to tools that know nothing of smh, or to change weights one by one.
    The given model is unchanged. Neither optimizer nor compilation is carried over.

    Args:
        model: a built model, compressed or not.

    Returns:
        A model of the same class and configuration, whose predictions are equal.

    Raises:
        ArgumentError: if the model cannot be rebuilt from its own configuration; a subclassed
            model needs `get_config`.

    Cost: the dense weights once more in memory.

    Example:
        >>> plain = smh.materialize(smh.compress(model, fraction=0.1))
        >>> plain.save("plain.keras")
    """
    if not isinstance(model, keras.Layer):
        raise ArgumentError(f"model must be a Keras 3 model or layer, got {type(model).__name__}.")
    if not model.built:
        raise UnbuiltModelError(f"'{model.name}' is not built: there are no weights to copy.")
    plain = rebuild(model)
    counted = members(model)
    try:
        unlike: dict[int, keras.Layer] = {}
        found = members_named(plain, names_of(counted, model), unlike)
        same = paired(counted, found, unlike)
    except ArgumentError as error:
        raise ArgumentError(_differs(model, error)) from error
    states = own_states(counted)
    for old, new in same:
        _copy(old, new)
    for number, layer in unlike.items():
        load_anew(layer, counted[number].layer)
    load_own_states(plain, found, states)
    return plain


def _copy(old: Member, new: Member) -> None:
    for source, target in zip(old.variables, new.variables, strict=True):
        # Copies: on JAX an assigned array is shared, and a training step deletes what it updates.
        target.assign(np.array(keras.ops.convert_to_numpy(source.value)))
        target.trainable = source.trainable
    for source, target in zip(old.states, new.states, strict=True):
        target.assign(np.array(keras.ops.convert_to_numpy(source.value)))
    new.layer._trainable = old.layer.trainable


def _differs(model: keras.Model, why: ArgumentError) -> str:
    return (
        f"'{model.name}' ({type(model).__name__}) cannot be materialised: rebuilt from its own "
        f"get_config() it is another model. {why} Let get_config return every argument that "
        "decides which layers and weights there are."
    )
