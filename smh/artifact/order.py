"""The variables of a model in the order in which a file has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from smh.blueprint.describe import sources
from smh.virtual_variable import Source, own_layers, own_variables
from smh.virtual_variable.inside_keras.members import Member, members, members_as
from smh.virtual_variable.variable import VirtualVariable


def variables_in_order(model: keras.Layer, description: Mapping[str, Any]) -> list[keras.Variable]:
    """Returns the variables of each pool, then of each weight, then all others.

    Args:
        model: a model or layer.
        description: that of the saved model; its `layers` names what is counted in it. It may have
            no snapshot of a weight that has one here, which is then left out.

    Returns:
        Variables of which each has a value of its own; one that several weights share comes more
        than once.
    """
    found = []
    for pool, entry in zip(sources(model), description["pools"], strict=True):
        found += variables_of_pool(pool, entry)
    left_out = []
    counted = members_as(model, description.get("layers"))
    virtuals = virtuals_in_order(counted, description)
    for virtual, weight in zip(virtuals, description["weights"], strict=True):
        found += variables_of_weight(virtual, weight["frozen"])
        left_out += [] if virtual._snapshot is None else [virtual._snapshot]
    return found + other_variables(counted, [*found, *left_out])


def variables_of_pool(pool: Source, entry: Mapping[str, Any]) -> list[keras.Variable]:
    """Returns its factors, then the parts of those that are computed themselves."""
    found = [factor for factor in factors(pool) if not isinstance(factor, VirtualVariable)]
    inside = entry.get("inside", {"weights": []})
    virtuals = virtuals_in_order(members(pool), inside)
    for virtual, weight in zip(virtuals, inside["weights"], strict=True):
        found += variables_of_weight(virtual, weight["frozen"])
    return found


def variables_of_weight(virtual: VirtualVariable, frozen: bool) -> list[keras.Variable]:
    """Returns the parts of a computed weight, and its snapshot if `frozen`."""
    snapshot = [virtual._snapshot] if frozen and virtual._snapshot is not None else []
    return [*virtual.parametrization.parts, *snapshot]


def other_variables(
    counted: Sequence[Member | None], known: list[keras.Variable]
) -> list[keras.Variable]:
    """Returns the variables of a model's layers but for the known, each once."""
    left_out = {id(v) for v in known}
    found = {}
    for member in counted:
        for v in () if member is None else (*member.variables, *member.states):
            if id(v) not in left_out and not isinstance(v, VirtualVariable):
                found[id(v)] = v
    return list(found.values())


def factors(pool: Source) -> list[keras.Variable]:
    """Returns a pool's factors; one may be virtual itself."""
    return [v for layer in own_layers(pool) for v in own_variables(layer)]


def virtuals_in_order(
    counted: Sequence[Member | None], description: Mapping[str, Any]
) -> list[VirtualVariable]:
    """Returns the virtual variables that a description is about, in its order."""
    return [counted[w["layers"][0]].variables[w["variable"]] for w in description["weights"]]
