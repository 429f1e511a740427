"""A model made again from its configuration, with its weights and all that its layers are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.virtual_variable import copy_of
from smh.virtual_variable.inside_keras.members import (
    Member,
    members,
    members_named,
    names_of,
    paired,
    paths_by_name,
)
from smh.virtual_variable.inside_keras.own import set_trainable_alone
from smh.virtual_variable.inside_keras.own_state import load_anew, load_own_states, own_states
from smh.virtual_variable.inside_keras.rebuilding import rebuild


def remade(
    model: keras.Layer,
    edit: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    numbers: Callable[[keras.Variable], np.ndarray] = copy_of,
    biases: Mapping[int, np.ndarray] | None = None,
    without: Collection[int] = (),
) -> keras.Layer:
    """Returns a new plain model with the weights of `model`, what is frozen, and other states.

    Args:
        model: a built model.
        edit: changes its configuration, if the new model is to be another one.
        numbers: what a variable of `model` is in the new one.
        biases: for layers of `model`, by their `id`, the bias that `edit` gives them in addition.
        without: the `id`s of layers that `edit` takes out.

    Raises:
        ArgumentError: the model cannot be rebuilt from its own configuration.
    """
    plain = rebuild(model, edit)
    counted, added = [m for m in members(model) if id(m.layer) not in without], biases or {}
    # Without a layer Keras' files call others differently.
    paths, new_paths = (paths_by_name(x) if without else None for x in (model, plain))
    values = {id(m.layer): [numbers(variable) for variable in m.variables] for m in counted}
    for key, bias in added.items():
        values[key].append(bias)  # Keras makes a bias after the kernel
    try:
        unlike: dict[int, keras.Layer] = {}
        found = members_named(plain, names_of(counted, model, paths), unlike, new_paths)
        shapes = {key: [value.shape for value in of_layer] for key, of_layer in values.items()}
        same = paired(counted, found, unlike, lambda member: shapes[id(member.layer)])
    except ArgumentError as error:
        raise ArgumentError(_differs(model, error)) from error
    states = own_states(counted)
    for old, new in same:
        _copy(old, new, values[id(old.layer)])
    for number, layer in unlike.items():
        load_anew(layer, counted[number].layer)
    load_own_states(plain, found, states)
    return plain


def _copy(old: Member, new: Member, values: list[np.ndarray]) -> None:
    for target, value in zip(new.variables, values, strict=True):
        target.assign(value)
    for source, target in zip(old.variables, new.variables, strict=False):
        target.trainable = source.trainable
    for source, target in zip(old.states, new.states, strict=True):
        target.assign(copy_of(source))
    set_trainable_alone(new.layer, old.layer.trainable)


def _differs(model: keras.Layer, why: ArgumentError) -> str:
    return (
        f"'{model.name}' ({type(model).__name__}) cannot be materialised: rebuilt from its own "
        f"get_config() it is another model. {why} Let get_config return every argument that "
        "decides which layers and weights there are."
    )
