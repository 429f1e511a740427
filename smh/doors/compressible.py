"""Which variables of a built model can become slices of a pool, and who tracks them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from smh.doors.selection import make_matcher
from smh.doors.weight_roles import BY_DEFAULT, check_no_adapters, is_taken
from smh.errors import SelectionError
from smh.parametrizations.pool_slice import check_size
from smh.typing import Selector
from smh.virtual_variable import (
    in_creation_order,
    own_layers,
    own_weights,
    owners_of,
    virtual_variables,
)
from smh.virtual_variable.computable import check_computable
from smh.virtual_variable.inside_keras.raw_variables import is_torch_module
from smh.virtual_variable.weight_spec import FLOATS, WeightSpec, std_of


@dataclass(frozen=True)
class Selected:
    """A variable to compress and the layers that track it (several where a weight is shared)."""

    variable: keras.Variable
    owners: tuple[keras.Layer, ...]

    @property
    def spec(self) -> WeightSpec:
        """What the layer asked for."""
        v = self.variable
        return WeightSpec(v.path, v.name, tuple(v._shape), v._dtype, lambda: self.std)

    @functools.cached_property
    def std(self) -> float:
        """The standard deviation that it has when it is first asked for."""
        return std_of(self.variable)


def select(
    model: keras.Layer, apply_to: Selector | None = None, exclude: Selector | None = None
) -> list[Selected]:
    """Returns the variables that `smh.compress` takes, in the order of their slots.

    Raises:
        SelectionError: nothing is selected, or a variable that cannot be compressed.
        ArgumentError: a selector is malformed.
    """
    owned = owners_of(own_layers(model), own_weights)
    variables = [variable for variable, _ in owned.values()]
    torch_modules = filter(is_torch_module, own_layers(model))
    unread = {id(variable) for layer in torch_modules for variable in own_weights(layer)}
    paths = [variable.path for variable in variables]
    matches = None if apply_to is None else make_matcher(apply_to, "apply_to", paths)
    left_out = make_matcher(exclude or [], "exclude", paths)

    def possible(variable):
        if not variable.trainable or variable._dtype not in FLOATS or id(variable) in unread:
            return False
        return not left_out(variable.path, variable.name, variable)

    chosen = [v for v in variables if possible(v)]
    if matches is None:
        check_no_adapters(((v, owned[id(v)][1]) for v in chosen), model)
        chosen = [v for v in chosen if is_taken(v, owned[id(v)][1])]
    else:
        chosen = [v for v in chosen if matches(v.path, v.name, v)]
    chosen = in_creation_order(chosen)
    selected = [Selected(v, tuple(owned[id(v)][1])) for v in chosen]
    if not any(math.prod(item.variable._shape) for item in selected):
        raise SelectionError(_nothing_selected(model, variables))
    for item in selected:
        if type(item.variable) is not keras.Variable:
            raise SelectionError(
                f"'{item.variable.path}' is a {type(item.variable).__name__}, not a plain "
                "keras.Variable, and cannot be made virtual. Leave it out with `exclude=`."
            )
        check_size(item.spec)
    check_computable(model, chosen)
    return selected


def numbers_in(selected: Sequence[Selected]) -> int:
    """How many numbers selected variables have together."""
    return sum(math.prod(item.variable._shape) for item in selected)


def _nothing_selected(model, variables) -> str:
    if virtual_variables(model):
        return (
            f"Nothing is left to select in '{model.name}': its weights are computed already, from "
            "a pool, or from what pruning or rounding left of them. Compress the model before "
            "that, a fresh one for another fraction, or `smh.materialize(model)` first."
        )
    paths = "\n".join(
        f"  {v.path} {tuple(v._shape)} {v._dtype}{'' if v.trainable else ' (not trainable)'}"
        for v in variables
    )
    return (
        f"Nothing was selected in '{model.name}'. Only trainable float variables can be; without "
        f"`apply_to`, {BY_DEFAULT}. There are:\n{paths or '  (no variables)'}"
    )
