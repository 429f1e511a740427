"""Which variables are scanned, and how one of them holds other numbers for a while."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.doors.built import check_is_built
from smh.doors.output_units import Units, units_of
from smh.doors.selection import make_matcher
from smh.doors.weight_roles import BY_DEFAULT, check_no_adapters, is_taken
from smh.errors import DeployedModelError, SelectionError
from smh.pools.base import VariablePool
from smh.typing import Selector
from smh.virtual_variable import (
    VirtualVariable,
    own_layers,
    own_variables,
    owners_of,
    seen,
    wrapping_of,
)
from smh.virtual_variable.computable import check_computable
from smh.virtual_variable.inside_keras.deploying import deployed_mode
from smh.virtual_variable.weight_spec import FLOATS


@dataclass(frozen=True, eq=False)
class Scanned:
    """A variable that is stored and trained.

    Attributes:
        path: what users know it by.
        variable: what other numbers are assigned to.
        weight: the virtual variable that it is the stored part of, or the variable itself.
        owners: the layers that track it; of a factor, its pool.
        is_factor: whether it is a factor of a pool.
    """

    path: str
    variable: keras.Variable
    weight: keras.Variable
    owners: tuple[keras.Layer, ...]
    is_factor: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return tuple(self.weight._shape)

    @property
    def numel(self) -> int:
        """How many numbers the weight has."""
        return math.prod(self.shape)

    @property
    def is_shared(self) -> bool:
        """Whether fewer numbers are stored than the weight has: a codebook."""
        return tuple(self.variable.shape) != self.shape

    @property
    def bits(self) -> int:
        """Bits of each number of the weight now."""
        if self.is_shared:
            return max(1, (math.prod(self.variable.shape) - 1).bit_length())
        return {"float64": 64, "float32": 32}.get(self.variable._dtype, 16)

    @property
    def units(self) -> Units:
        """Which of its numbers make one output channel."""
        return units_of(self.weight, self.owners)

    def stored(self) -> np.ndarray:
        """A copy of its numbers."""
        return _numpy(self.variable.value)

    def visible(self, stored: np.ndarray) -> np.ndarray:
        """The weight as the model sees it while `stored` is stored."""
        if self.variable is self.weight and wrapping_of(self.variable) is None:
            return stored
        return _numpy(seen(self.weight))

    def magnitudes(self, stored: np.ndarray) -> np.ndarray:
        """Absolute values, float32 or float64; 0 where the model sees a zero in their place.

        So that of a weight or factor that is masked already, what is masked goes first.
        """
        sizes = np.abs(stored.astype(np.float64 if stored.itemsize == 8 else np.float32))
        sizes[self.visible(stored) == 0] = 0
        return sizes

    @contextlib.contextmanager
    def kept(self) -> Iterator[np.ndarray]:
        """Yields a copy of its numbers, and puts them back at the end, whatever has happened."""
        stored = self.stored()
        try:
            yield stored
        finally:
            try:
                self.variable.assign(stored)
            except BaseException:  # a second Ctrl-C
                self.variable.assign(stored)
                raise


def find_candidates(
    model: Any,
    apply_to: Selector | None,
    exclude: Selector | None,
    prunable: bool = False,
    filters: bool = False,
) -> list[Scanned]:
    """Returns what is to be scanned, each variable once, in the order of the model's layers.

    With `prunable` without those that share their values; with `filters` without the factors.

    Raises:
        UnbuiltModelError: the model has no weights yet.
        DeployedModelError: the model computes from cached copies.
        SelectionError: nothing is selected, or a weight that is not finite, is assigned to by its
            layer, or is a LoRA adapter that was not asked for.
        ArgumentError: `model` is no Keras model, or a selector is malformed.
    """
    _check_model(model)
    everything = _everything(model)
    paths = [candidate.path for candidate in everything]
    matches = None if apply_to is None else make_matcher(apply_to, "apply_to", paths)
    excluded = make_matcher(exclude or [], "exclude", paths)

    def named(matcher, candidate: Scanned) -> bool:
        return matcher(candidate.path, candidate.weight.name, candidate.weight)

    def possible(candidate: Scanned) -> bool:
        v = candidate.variable
        if not v.trainable or v._dtype not in FLOATS or not candidate.numel:
            return False
        if (prunable and candidate.is_shared) or (
            filters and (candidate.is_factor or len(candidate.shape) < 2)
        ):
            return False
        return not named(excluded, candidate)

    chosen = [candidate for candidate in everything if possible(candidate)]
    if matches is None:
        check_no_adapters(((c.weight, c.owners) for c in chosen), model)
        chosen = [c for c in chosen if c.is_factor or is_taken(c.weight, c.owners)]
    else:
        chosen = [candidate for candidate in chosen if named(matches, candidate)]
    if not chosen:
        raise SelectionError(_nothing_selected(model, everything, filters))
    for candidate in chosen:
        with np.errstate(over="ignore"):
            finite = np.isfinite(candidate.stored().astype(np.float32)).all()
        if not finite:
            raise SelectionError(
                f"'{candidate.path}' has weights that are not finite (NaN or infinity, in "
                "float32), so they have no order. Repair them, or leave it out with `exclude=`."
            )
    check_computable(model, [candidate.weight for candidate in chosen])
    return chosen


def layers_that_use(model: keras.Layer, candidate: Scanned) -> list[keras.Layer]:
    """The layers of a model whose weights are, or are computed from, the candidate's variable."""

    def uses(variable: keras.Variable) -> bool:
        if not isinstance(variable, VirtualVariable):
            return variable is candidate.variable
        parametrization = variable.parametrization
        inner = [*parametrization.parts]
        if isinstance(parametrization.source, VariablePool):
            inner += parametrization.source.core_variables
        elif parametrization.source is not None:
            return True  # who knows
        return any(uses(one) for one in inner)

    return [layer for layer in own_layers(model) if any(map(uses, own_variables(layer)))]


def _check_model(model: Any) -> None:
    check_is_built(model)
    if deployed_mode(model) == "cached":
        raise DeployedModelError(
            f"'{model.name}' is deployed with cached weights, which would not follow the scan. "
            "Call smh.deploy(model, mode='train') first."
        )


def _everything(model: keras.Layer) -> list[Scanned]:
    found: dict[int, Scanned] = {}
    for variable, owners in owners_of(own_layers(model)).values():
        for candidate in _of(variable, tuple(owners)):
            found.setdefault(id(candidate.variable), candidate)
    return list(found.values())


def _of(
    variable: keras.Variable, owners: tuple[keras.Layer, ...], is_factor=False
) -> list[Scanned]:
    if not isinstance(variable, VirtualVariable):
        return [Scanned(variable.path, variable, variable, owners, is_factor)]
    parametrization = variable.parametrization
    if isinstance(parametrization.source, VariablePool):
        pool = parametrization.source
        return [c for factor in pool.core_variables for c in _of(factor, (pool,), is_factor=True)]
    floats = [part for part in parametrization.parts if part._dtype in FLOATS]
    if parametrization.source is not None or not floats:
        return []
    return [Scanned(variable.path, floats[0], variable, owners, is_factor)]


def _nothing_selected(model: keras.Layer, everything: list[Scanned], filters: bool) -> str:
    kind = "kernels, which have filters," if filters else f"{BY_DEFAULT}, and factors"
    paths = "\n".join(
        f"  {c.path} {c.shape} {c.variable._dtype}"
        f"{'' if c.variable.trainable else ' (not trainable)'}"
        f"{' (shares its values)' if c.is_shared else ''}"
        for c in everything
    )
    return (
        f"Nothing was selected in '{model.name}'. Only trainable float variables can be scanned; "
        f"without `apply_to`, {kind}. There are:\n{paths or '  (no variables)'}"
    )


def _numpy(value: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(value))
