"""What a layer is beyond its variables, as Keras' own files carry it.

An adapted `Normalization` computes from its variables what it applies, a `TextVectorization` has a
vocabulary, a layer of the user's own has a table. Keras asks each layer for it by
`save_own_variables` and `save_assets` and gives it back by `load_own_variables` and `load_assets`.
smh copies and stores variables by itself, one by one. What is left is gathered here, and given back
once all variables have their values.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.virtual_variable.inside_keras import hooks
from smh.virtual_variable.inside_keras.members import Member
from smh.virtual_variable.inside_keras.saveables import saveables
from smh.virtual_variable.variable import copy_of

_KINDS = "biuf"


@dataclass(frozen=True, eq=False)
class OwnState:
    """What one layer has beyond its variables.

    Attributes:
        variables: the numbers of those of its own that it stores as they are, by key.
        values: other numbers, by the key under which it stores them.
        assets: files, by their paths below the layer's folder, with `/`.
    """

    variables: Mapping[str, int]
    values: Mapping[str, np.ndarray]
    assets: Mapping[str, bytes]


def own_states(counted: Sequence[Member]) -> dict[int, OwnState]:
    """Returns what the layers of a model have beyond their variables.

    Args:
        counted: the members of the model.

    Returns:
        For each member that has to be loaded by its own methods, by its number.

    Raises:
        ArgumentError: a layer cannot save itself, or what it stores is no number; it names the
            layer and the way out.
    """
    found = {}
    for number, member in enumerate(counted):
        layer = member.layer
        if not hooks.has_own_hooks(layer) and not hooks.has_assets(layer):
            continue
        try:
            stored = hooks.saved(layer) if hooks.has_own_hooks(layer) else None
            assets = _assets_of(layer)
        except Exception as error:  # of the layer's own code
            raise ArgumentError(
                f"'{layer.name}' ({type(layer).__name__}) cannot be saved: its save_own_variables "
                f"or save_assets raises {error!r:.300}. Does it have to be built or adapted first?"
            ) from error
        if stored is None:
            found[number] = OwnState(numbered(member.variables), {}, assets)
            continue
        own = {id(variable): i for i, variable in enumerate(member.variables)}
        variables = {key: own[id(v)] for key, v in stored.items() if id(v) in own}
        values = {k: _numbers(layer, k, v) for k, v in stored.items() if id(v) not in own}
        found[number] = OwnState(variables, values, assets)
    return found


def load_own_states(
    model: keras.Layer, counted: Sequence[Member | None], states: Mapping[int, OwnState]
) -> None:
    """Lets the layers of a model load what others like them have; their variables are assigned.

    Args:
        model: a model or layer.
        counted: its members, in the order of those that `states` is of.
        states: what `own_states` returned; layers that are not in it, but have methods of their
            own, are given their variables.

    Raises:
        ArgumentError: a layer cannot load it; the message names the layer.
    """
    found = {
        id(m.layer): (m, states.get(i))
        for i, m in enumerate(counted)
        if m is not None and (hooks.has_own_hooks(m.layer) or hooks.has_assets(m.layer))
    }
    if not found:  # as of most models; what Keras saves is a long walk
        return
    # As Keras does: a layer before those in it.
    for layer in saveables(model).values():
        if id(layer) in found:
            _load(layer, *found[id(layer)])


def load_anew(layer: keras.Layer, other: keras.Layer) -> None:
    """Lets a layer load what Keras would save of another one that has other variables.

    Raises:
        ArgumentError: it cannot.
    """
    stored = hooks.saved(other)
    values = {k: np.array(keras.ops.convert_to_numpy(v)) for k, v in stored.items()}
    _load(layer, Member(layer, []), OwnState({}, values, {}), always=True)


def _load(layer: keras.Layer, member: Member, state: OwnState | None, always: bool = False) -> None:
    if state is None:
        state = OwnState(numbered(member.variables), {}, {})
    # Copies: on JAX an assigned array is shared, and a training step deletes what it updates.
    store = {key: copy_of(member.variables[i]) for key, i in state.variables.items()}
    store |= {key: np.array(value) for key, value in state.values.items()}
    try:
        if always or hooks.has_own_hooks(layer):
            hooks.load(layer, store)
        if hooks.has_assets(layer):
            _load_assets(layer, state.assets)
    except Exception as error:  # of the layer's own code
        raise ArgumentError(
            f"'{layer.name}' ({type(layer).__name__}) cannot load what was saved of it: its "
            f"load_own_variables or load_assets raises {error!r:.300}, given the keys "
            f"{sorted(store)} and the files {sorted(state.assets)}. (A file that an "
            "early smh wrote has variables only: save the model again.)"
        ) from error


def numbered(variables: Sequence[keras.Variable]) -> dict[str, int]:
    """The keys under which a layer stores its variables, unless it says otherwise."""
    return {str(i): i for i in range(len(variables))}


def _numbers(layer: keras.Layer, key: str, value: object) -> np.ndarray:
    array = np.array(keras.ops.convert_to_numpy(value))
    if array.dtype.kind not in _KINDS and array.dtype.name != "bfloat16":
        raise ArgumentError(
            f"'{layer.name}' ({type(layer).__name__}) stores {key!r} of type {array.dtype} in "
            "save_own_variables, and only numbers can be stored. Write anything else into a file, "
            "in save_assets, and read it in load_assets."
        )
    return array


def _assets_of(layer: keras.Layer) -> dict[str, bytes]:
    if not hasattr(layer, "save_assets"):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        return dict(sorted(_files_in(folder)))


def _files_in(folder: str) -> Iterator[tuple[str, bytes]]:
    for place, _, names in os.walk(folder):
        for name in names:
            whole = os.path.join(place, name)
            with open(whole, "rb") as file:
                yield os.path.relpath(whole, folder).replace(os.sep, "/"), file.read()


def _load_assets(layer: keras.Layer, assets: Mapping[str, bytes]) -> None:
    if not hasattr(layer, "load_assets"):
        return
    with tempfile.TemporaryDirectory() as folder:
        for path, content in assets.items():
            whole = os.path.join(folder, *path.split("/"))
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            with open(whole, "wb") as file:
                file.write(content)
        layer.load_assets(folder)
