"""Fills models from an artifact: what `smh.load` and `smh.load_weights` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from smh.artifact.grids import roundings
from smh.artifact.layout.records import Factor, Model, Stored
from smh.artifact.order import other_variables, variables_in_order, virtuals_in_order
from smh.blueprint.describe import describe, sources
from smh.blueprint.restore import described_variables, restore
from smh.errors import ArgumentError, ArtifactError, SmhError
from smh.parametrizations.rounded import behind
from smh.progress import track
from smh.virtual_variable import forget_all_traces, virtual_variables
from smh.virtual_variable.inside_keras.blank import starting_at_zero
from smh.virtual_variable.inside_keras.holder import drop_snapshot, settle_pool
from smh.virtual_variable.inside_keras.hooks import has_assets, has_own_hooks
from smh.virtual_variable.inside_keras.members import Member, members_as
from smh.virtual_variable.inside_keras.own_state import OwnState, load_own_states, numbered
from smh.virtual_variable.inside_keras.rebuilding import from_dense_config


def build(path: str, entry: Model, custom_objects, safe_mode) -> keras.Model:
    """Returns the dense model that a file describes."""
    if entry.architecture is None:
        raise ArgumentError(
            f"{path} was saved without the architecture. Build the model by your own code and call "
            "smh.load_weights(model, path)."
        )
    try:
        with starting_at_zero():
            model = from_dense_config(entry.architecture, custom_objects, safe_mode)
    except Exception as error:  # a file may hold anything, and so may Keras raise
        raise ArtifactError(
            f"{path}: the model '{entry.name:.100}' cannot be built: {error!s:.600}"
        ) from error
    if not isinstance(model, keras.Layer):
        raise ArtifactError(
            f"{path}: the architecture of '{entry.name:.100}' makes no model but "
            f"{type(model).__name__}"
        )
    return model


def fill(model, entry: Model, stored: Stored, path: str, pools: dict) -> None:
    """Compresses `model` as described and assigns all values.

    It checks before it changes; what shows only then leaves the model changed.
    """
    names = entry.description.get("layers")
    states = _checked_states(members_as(model, names), entry, stored, path)
    compressed = bool(virtual_variables(model))
    if not compressed:
        keys = [_key(pool["factors"]) for pool in entry.pools]
        try:
            _check_others(model, entry, stored, path)
            with starting_at_zero():
                restore(model, entry.description, [pools.get(key) for key in keys])
        except SmhError:
            raise
        except Exception as error:  # the description may hold anything, and so may Keras raise
            raise ArtifactError(
                f"{path}: the description of '{entry.name:.100}' cannot be followed: {error}"
            ) from error
        pools.update(zip(keys, sources(model), strict=True))
    elif _structure(describe(model, members_as(model, names))) != _structure(entry.description):
        raise ArgumentError(
            f"'{model.name}' is compressed in another way than the model in {path}. Build it "
            "without smh.compress or rounding, or load the file by smh.load."
        )
    variables = variables_in_order(model, entry.description)
    found = [stored.shape(number) for number in entry.order]
    _check_shapes(model, [tuple(v.shape) for v in variables], found, path)
    rounded = roundings(model)
    grids = [rounding.grid for rounding in rounded.values()]
    for variable, number in track(list(zip(variables, entry.order, strict=True)), "decoding"):
        value, rounding = stored.value(number), rounded.get(id(variable))
        if rounding is not None:
            value, rounding.grid = behind(value, rounding.grid, variable.path)
        variable.assign(value)
    _settle(model, entry.description)
    if grids != [rounding.grid for rounding in rounded.values()]:
        forget_all_traces(model)  # where grids are constants
    for virtual in virtual_variables(model):
        virtual.refresh_cache()
    load_own_states(model, members_as(model, names), states)


def _check_others(model: keras.Layer, entry: Model, stored: Stored, path: str) -> None:
    """Looks, before weights become virtual, whether all other variables fit."""
    counted = members_as(model, entry.description.get("layers"))
    others = other_variables(counted, described_variables(model, entry.description))
    found = [stored.shape(number) for number in entry.order]
    computed = found[: len(found) - entry.others]
    _check_shapes(model, computed + [tuple(v.shape) for v in others], found, path)


def _check_shapes(model: keras.Layer, expected: list, found: list, path: str) -> None:
    if expected != found:
        raise ArgumentError(
            f"{path} has {len(found)} variables, '{model.name}' has {len(expected)}, or their "
            f"shapes differ: {_first_difference(expected, found)}."
        )


def _checked_states(
    counted: Sequence[Member | None], entry: Model, stored: Stored, path: str
) -> dict[int, OwnState]:
    """What the file has of the layers beside variables; it fits the model."""
    states = {}
    for state in entry.states:
        member = dict(enumerate(counted)).get(state.layer)
        if member is None:
            raise ArgumentError(
                f"{path} has a state of layer {state.layer} of '{entry.name:.100}', and there are "
                f"{len(counted)} layers."
            )
        variables = state.variables
        if variables is None:
            variables = numbered(member.variables)
        loads = has_own_hooks(member.layer) or not (state.values or state.variables)
        if not loads or (state.assets and not has_assets(member.layer)):
            raise ArgumentError(
                f"{path} has {sorted({**state.values, **state.assets})} for '{member.layer.name}' "
                f"({type(member.layer).__name__}), which has no load_own_variables or load_assets "
                "of its own to take it."
            )
        if any(number >= len(member.variables) for number in variables.values()):
            raise ArgumentError(
                f"{path} has {variables} for '{member.layer.name}', which has "
                f"{len(member.variables)} variables."
            )
        values = {key: _typed(stored, name) for key, name in state.values.items()}
        assets = {name: stored.extra(tensor).tobytes() for name, tensor in state.assets.items()}
        states[state.layer] = OwnState(variables, values, assets)
    return states


def _typed(stored: Stored, tensor: str) -> np.ndarray:
    value = stored.extra(tensor)
    if stored.type_of(tensor) == "bfloat16":  # which NumPy by itself has not
        return np.array(keras.ops.convert_to_numpy(keras.ops.cast(value, "bfloat16")))
    return value


def _settle(model: keras.Layer, description: Mapping[str, Any]) -> None:
    """Freezes what is frozen at the values that were loaded, where the file has none of its own."""
    virtuals = virtuals_in_order(members_as(model, description.get("layers")), description)
    for virtual, weight in zip(virtuals, description["weights"], strict=True):
        if not weight["frozen"]:
            drop_snapshot(virtual)
    for pool in sources(model):
        settle_pool(pool)


def _key(factors: Sequence[int | Factor]) -> tuple:
    """What pools of several models have in common if they are one: the stored variables."""
    return tuple(tuple(sorted(f.parts.items())) if isinstance(f, Factor) else f for f in factors)


def _structure(description: Mapping[str, Any]) -> Any:
    """What has to be equal for one model's variables to be another's.

    Numbers on a grid are nothing without it; how far it reaches follows from them (`behind`).
    """
    weights = [
        {k: w[k] for k in ("layers", "variable", "shape", "pool", "slot")}
        | {
            "grid": _grid(w["parametrization"]),
            "parts": [
                {k: p[k] for k in ("name", "shape", "dtype", "trainable")} for p in w["parts"]
            ],
        }
        for w in description["weights"]
    ]
    pools = [
        (
            pool["config"].get("product"),
            [g for w in pool["config"].get("wrappings") or () if (g := _grid(w)) is not None],
        )
        for pool in description["pools"]
    ]
    inside = [_structure(p["inside"]) for p in description["pools"] if "inside" in p]
    return weights, pools, inside


def _grid(parametrization: Any) -> Any:
    """The bits of numbers on a grid, and what shares a scale; `None` of others."""
    config = parametrization.get("config") if isinstance(parametrization, Mapping) else None
    if not isinstance(config, Mapping) or "ratio" not in config:
        return None
    return {key: value for key, value in config.items() if key != "ratio"}


def _first_difference(expected: list, found: list) -> str:
    for i, (a, b) in enumerate(zip(expected, found, strict=False)):
        if a != b:
            return f"variable {i} is {a} in the model and {b} in the file"
    return "one has more than the other"
