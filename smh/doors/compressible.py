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
from smh.virtual_variable import in_creation_order, own_layers, virtual_variables
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
    variables, owners, unread = _trained(model)
    paths = [variable.path for variable in variables.values()]
    matches = None if apply_to is None else make_matcher(apply_to, "apply_to", paths)
    left_out = make_matcher(exclude or [], "exclude", paths)

    def possible(variable):
        if not variable.trainable or variable._dtype not in FLOATS or id(variable) in unread:
            return False
        return not left_out(variable.path, variable.name, variable)

    chosen = [v for v in variables.values() if possible(v)]
    if matches is None:
        check_no_adapters(((v, owners[id(v)]) for v in chosen), model)
        chosen = [v for v in chosen if is_taken(v, owners[id(v)])]
    else:
        chosen = [v for v in chosen if matches(v.path, v.name, v)]
    chosen = in_creation_order(chosen)
    selected = [Selected(v, tuple(owners[id(v)])) for v in chosen]
    if not any(math.prod(item.variable._shape) for item in selected):
        raise SelectionError(_nothing_selected(model, list(variables.values())))
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


def _trained(model: keras.Layer):
    """Trainable variables by id, the layers that track each, and which a PyTorch module reads."""
    variables: dict[int, keras.Variable] = {}
    owners: dict[int, list[keras.Layer]] = {}
    unread: set[int] = set()
    for layer in own_layers(model):
        for variable in layer._trainable_variables:
            if is_torch_module(layer):
                unread.add(id(variable))
            variables[id(variable)] = variable
            owners.setdefault(id(variable), []).append(layer)
    return variables, owners, unread


def _nothing_selected(model, variables) -> str:
    if virtual_variables(model):
        return (
            f"Nothing is left to select in '{model.name}': it is compressed already. To change the "
            "fraction, compress a fresh model, or `smh.materialize(model)` first."
        )
    paths = "\n".join(
        f"  {v.path} {tuple(v._shape)} {v._dtype}{'' if v.trainable else ' (not trainable)'}"
        for v in variables
    )
    return (
        f"Nothing was selected in '{model.name}'. Only trainable float variables can be; without "
        f"`apply_to`, {BY_DEFAULT}. There are:\n{paths or '  (no variables)'}"
    )
