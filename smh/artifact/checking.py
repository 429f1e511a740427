"""Looks, before a file is written, whether `smh.load` will be able to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable.inside_keras.blank import without_values
from smh.virtual_variable.inside_keras.members import (
    Member,
    members,
    members_named,
    names_of,
    paired,
)
from smh.virtual_variable.inside_keras.own_state import OwnState, load_own_states
from smh.virtual_variable.inside_keras.rebuilding import from_dense_config, objects_of


def names_needed(
    model: keras.Layer, architecture: Mapping[str, Any], states: Mapping[int, OwnState]
) -> list[Any] | None:
    """Makes the model from its architecture, and compares.

    Args:
        model: the model to save.
        architecture: Keras' configuration of it.
        states: what its layers have beside variables.

    Returns:
        The names of its layers, if the model that is made counts them or their variables in
        another order, else `None`.

    Raises:
        ArgumentError: it cannot be made, or is another model then.

    Cost: the time in which the layers are made. The dense weights are allocated only where a layer
    needs values for that, or has methods of its own by which it loads.
    """

    def make() -> keras.Layer:
        return from_dense_config(architecture, objects_of(model, architecture), safe_mode=False)

    counted = members(model)
    names = names_of(counted, model)
    try:
        made = make() if states else without_values(make)
        found = members_named(made, names)
        paired(counted, found)
        load_own_states(made, found, states)
    except Exception as error:  # a class of the user's may raise anything
        raise ArgumentError(_message(model, error)) from error
    return None if _alike(found, members(made)) else names


def _alike(found: Sequence[Member | None], listed: Sequence[Member]) -> bool:
    """Whether a model lists its members as they are counted."""
    if len(found) != len(listed):
        return False
    return all(
        one is not None
        and one.layer is two.layer
        and [id(v) for v in one.variables] == [id(v) for v in two.variables]
        for one, two in zip(found, listed, strict=True)
    )


def _message(model: keras.Layer, error: Exception) -> str:
    return (
        f"'{model.name}' ({type(model).__name__}) cannot be made again from its configuration, so "
        f"smh.load could not read the file: {error!s:.600} Either let get_config() return "
        "all that decides which layers and weights there are, and build() create them; or save "
        "with architecture=False, and load by smh.load_weights(build_my_model(), path)."
    )
