"""The variables of a model in the order in which a file has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from smh.blueprint.describe import sources
from smh.virtual_variable import Source, own_layers, own_variables, virtual_variables
from smh.virtual_variable.variable import VirtualVariable


def variables_in_order(model: keras.Layer, description: Mapping[str, Any]) -> list[keras.Variable]:
    """Returns the variables of each pool, then of each weight, then all others.

    Args:
        model: a model or layer.
        description: what `smh.blueprint.describe` returns for it, or what a file says of it: a file
            may have no snapshot of a weight that has one, which is then left out.

    Returns:
        Variables of which each has a value of its own; one that several weights share comes more
        than once.
    """
    found = []
    for pool, entry in zip(sources(model), description["pools"], strict=True):
        found += variables_of_pool(pool, entry)
    left_out = []
    virtuals = virtuals_in_order(model, description)
    for virtual, weight in zip(virtuals, description["weights"], strict=True):
        found += variables_of_weight(virtual, weight["frozen"])
        left_out += [] if virtual._snapshot is None else [virtual._snapshot]
    return found + other_variables(model, [*found, *left_out])


def variables_of_pool(pool: Source, entry: Mapping[str, Any]) -> list[keras.Variable]:
    """Returns its factors, then the parts of those that are computed themselves."""
    found = [factor for factor in factors(pool) if not isinstance(factor, VirtualVariable)]
    inside = entry.get("inside", {"weights": []})
    virtuals = virtuals_in_order(pool, inside)
    for virtual, weight in zip(virtuals, inside["weights"], strict=True):
        found += variables_of_weight(virtual, weight["frozen"])
    return found


def variables_of_weight(virtual: VirtualVariable, frozen: bool) -> list[keras.Variable]:
    """Returns the parts of a computed weight, and its snapshot if `frozen`."""
    snapshot = [virtual._snapshot] if frozen and virtual._snapshot is not None else []
    return [*virtual.parametrization.parts, *snapshot]


def other_variables(model: keras.Layer, known: list[keras.Variable]) -> list[keras.Variable]:
    """Returns the model's variables but for the known, and for what a deployed one keeps."""
    left_out = {id(v) for v in known} | {id(v._cached) for v in virtual_variables(model)}
    return [v for v in model.variables if id(v) not in left_out]


def factors(pool: Source) -> list[keras.Variable]:
    """Returns a pool's factors; one may be virtual itself."""
    return [v for layer in own_layers(pool) for v in own_variables(layer)]


def virtuals_in_order(model: keras.Layer, description: Mapping[str, Any]) -> list[VirtualVariable]:
    """Returns the virtual variables that a description is about, in its order."""
    layers = list(own_layers(model))
    return [
        own_variables(layers[weight["layers"][0]])[weight["variable"]]
        for weight in description["weights"]
    ]
