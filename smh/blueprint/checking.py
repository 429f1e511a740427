"""Looks, before a file is written, whether the model can be made again from what is in it."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable import holder_of
from smh.virtual_variable.inside_keras.blank import undisturbed, without_values
from smh.virtual_variable.inside_keras.members import (
    Member,
    members,
    members_named,
    names_of,
    paired,
)
from smh.virtual_variable.inside_keras.own_state import OwnState, load_own_states
from smh.virtual_variable.inside_keras.rebuilding import (
    dense_config,
    from_dense_config,
    objects_of,
)

# What was found out for a model, and for which configuration: checkpoints ask again and again.
_known: weakref.WeakKeyDictionary[keras.Layer, tuple[str, Any]] = weakref.WeakKeyDictionary()


def names_needed(
    model: keras.Layer, architecture: Mapping[str, Any], states: Mapping[int, OwnState]
) -> list[Any] | None:
    """Makes the model from its architecture, and compares; for `smh.save`.

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
    needs values for that, or has methods of its own by which it loads. What was found out is known
    the next time.
    """
    names = names_of(members(model), model)
    key = _key(architecture, names)
    if not states and _known.get(model, ("", None))[0] == key:
        return _known[model][1]
    try:
        made, found = _made_again(model, architecture, names, states, None)
    except Exception as error:  # a class of the user's may raise anything
        raise ArgumentError(
            f"{_what(model, error)} smh.load could not read the file. {_WAY_OUT} or save with "
            "architecture=False, and load by smh.load_weights(build_my_model(), path)."
        ) from error
    needed = None if _alike(found, members(made)) else names
    _known[model] = key, needed
    return needed


def check_made_again(model: keras.Layer) -> None:
    """Raises unless Keras could read the file that it is to write of a compressed model.

    Cost: the time in which the layers are made; the second time, that of their configurations.
    """
    architecture, names = dense_config(model), names_of(members(model), model)
    key = _key(architecture, names)
    if _known.get(model, ("", None))[0] == key:
        return
    unlike: dict[int, keras.Layer] = {}
    try:
        made, found = _made_again(model, architecture, names, {}, unlike)
        for number in unlike:
            _check_is_dense(members(model)[number].layer)
    except Exception as error:  # a class of the user's may raise anything
        raise ArgumentError(
            f"{_what(model, error)} Keras could not read the file. {_WAY_OUT} or call "
            "model.save_weights('m.weights.h5'), and load it into the model that your code builds."
        ) from error
    if not unlike:
        _known[model] = key, None if _alike(found, members(made)) else names


def _made_again(
    model: keras.Layer,
    architecture: Mapping[str, Any],
    names: list[Any],
    states: Mapping[int, OwnState],
    unlike: dict[int, keras.Layer] | None,
) -> tuple[keras.Layer, list[Member | None]]:
    def make() -> keras.Layer:
        return from_dense_config(architecture, objects_of(model, architecture), safe_mode=False)

    with undisturbed():
        made = make() if states else without_values(make)
        found = members_named(made, names, unlike)
        paired(members(model), found, unlike or ())
        if states:
            load_own_states(made, found, states)
    return made, found


def _key(architecture: Mapping[str, Any], names: list[Any]) -> str:
    text = json.dumps([architecture, names], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check_is_dense(layer: keras.Layer) -> None:
    if holder_of(layer) is not None:
        raise ArgumentError(f"'{layer.name}' is compressed, and has other variables then.")


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


def _what(model: keras.Layer, error: Exception) -> str:
    return (
        f"'{model.name}' ({type(model).__name__}) cannot be made again from its configuration: "
        f"{error!s:.600}"
    )


_WAY_OUT = (
    "Either let get_config() return all that decides which layers and weights there are, and "
    "build() create them;"
)
