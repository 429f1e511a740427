"""Describes how a live model is compressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from smh.errors import ArgumentError, VirtualVariableError
from smh.virtual_variable import (
    Source,
    VirtualVariable,
    holder_of,
    virtual_variables,
)
from smh.virtual_variable.inside_keras.attachment import place_of_holder
from smh.virtual_variable.inside_keras.holder import trained_parts
from smh.virtual_variable.inside_keras.members import Member, members
from smh.virtual_variable.registered import describe_object


def sources(model: keras.Layer) -> list[Source]:
    """The pools of a model, each once, in the order in which `describe` lists them."""
    found: dict[int, Source] = {}
    for virtual in _in_order(model):
        source = virtual.parametrization.source
        if source is not None:
            found[id(source)] = source
    return list(found.values())


def describe(model: keras.Layer, counted: Sequence[Member | None] | None = None) -> dict[str, Any]:
    """Returns how `model` is compressed, as plain JSON; without values.

    Args:
        model: a model or layer; one with nothing compressed gives empty lists.
        counted: its layers and their variables as they are to be counted, by default as the model
            lists them.

    Returns:
        What `restore` takes.

    Raises:
        ArgumentError: if a modifier or parametrization has no name that another process knows;
            the message names it, and says how to give it one.

    Example:
        >>> description = describe(smh.compress(make(), fraction=0.1))
        >>> again = make()
        >>> restore(again, description)  # then load the values
    """
    counted = members(model) if counted is None else counted
    pools = sources(model)
    numbers = {id(pool): i for i, pool in enumerate(pools)}
    owners: dict[int, dict[int, Member]] = {}
    for i, member in enumerate(counted):
        if member is not None and (holder := holder_of(member.layer)) is not None:
            for virtual in holder.virtuals:
                owners.setdefault(id(virtual), {})[i] = member
    return {
        "pools": [_describe_pool(pool) for pool in pools],
        "weights": [
            {
                "layers": list(owners[id(virtual)]),
                **_describe_owners(list(owners[id(virtual)].values()), virtual),
                "pool": numbers.get(id(virtual.parametrization.source)),
                **_describe_weight(virtual),
            }
            for virtual in _in_order(model)
        ],
    }


def _in_order(model: keras.Layer) -> list[VirtualVariable]:
    """The virtual variables in the order in which they became virtual, as their holders do."""
    return sorted(virtual_variables(model), key=lambda virtual: virtual._number)


def _describe_owners(owners: Sequence[Member], virtual: VirtualVariable) -> dict[str, Any]:
    return {
        "places": [place_of_holder(owner.layer) for owner in owners],
        "variable": _position(owners[0].variables, virtual),
    }


def _position(variables: Sequence[Any], variable: Any) -> int:
    return [id(v) for v in variables].index(id(variable))


def _describe_pool(pool: Source) -> dict[str, Any]:
    entry = describe_object(pool, "pool")
    inside = describe(pool)
    if inside["weights"]:
        entry["inside"] = inside
    return entry


def _describe_weight(virtual: VirtualVariable) -> dict[str, Any]:
    parametrization = virtual.parametrization
    slot = parametrization.slot
    names = [part.name for part in parametrization.parts]
    if len(set(names)) != len(names):
        raise ArgumentError(
            f"The parts of '{virtual.path}' have the names {names}. Give each a name of its own."
        )
    return {
        "path": virtual.path,
        "shape": [int(n) for n in virtual._shape],
        "dtype": virtual._dtype,
        "trainable": bool(virtual.trainable),
        "frozen": virtual._snapshot is not None,
        "slot": None if slot is None else {"begin": int(slot.begin), "length": int(slot.length)},
        "parametrization": _describe_parametrization(virtual),
        "parts": [_describe_part(part, virtual) for part in parametrization.parts],
    }


def _describe_parametrization(virtual: VirtualVariable) -> dict[str, Any]:
    try:
        return describe_object(virtual.parametrization, "parametrization")
    except ArgumentError as error:
        raise ArgumentError(f"'{virtual.path}': {error}") from error


def _describe_part(part: keras.Variable, virtual: VirtualVariable) -> dict[str, Any]:
    if isinstance(part, VirtualVariable):
        raise VirtualVariableError(
            f"'{part.path}', a part of '{virtual.path}', is virtual itself, which a description "
            "cannot express. Let one parametrization hold the other."
        )
    return {
        "name": part.name,
        "shape": [int(n) for n in part.shape],
        "dtype": part.dtype,
        "trainable": any(part is one for one in trained_parts(virtual)),
    }
