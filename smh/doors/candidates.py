"""What pruning and weight sharing may act on: dense weights, and the factors of pools.

A weight that is computed from a pool has no numbers of its own; in its place stand the factors of
that pool, once, whoever uses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.blueprint.describe import sources
from smh.doors.built import check_is_built
from smh.doors.selection import make_matcher
from smh.doors.weight_roles import BY_DEFAULT, check_no_adapters, is_taken
from smh.errors import ArgumentError, SelectionError
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.masked import Masked
from smh.parametrizations.own_numbers import OwnNumbers
from smh.parametrizations.stepped import Stepped
from smh.typing import Selector
from smh.virtual_variable import (
    Parametrization,
    Source,
    VirtualVariable,
    attach,
    creation_scope,
    exchange,
    floats_of,
    own_layers,
    owners_of,
    view_of,
    wrap_calls,
)
from smh.virtual_variable.computable import check_computable
from smh.virtual_variable.given import check_not_deployed
from smh.virtual_variable.inside_keras.training_state import reset_training
from smh.virtual_variable.weight_spec import FLOATS

Bits = int | Mapping[str, int] | Sequence[tuple[str, int]]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained weight that has numbers of its own.

    Attributes:
        variable: stored, or virtual and `Masked`, `Clustered`, `FakeQuantized` or `Stepped`.
        owners: the layers that track it; of a factor, its pool.
    """

    variable: keras.Variable
    owners: tuple[keras.Layer, ...]

    @property
    def path(self) -> str:
        """Path of the variable."""
        return self.variable.path

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.variable._shape)

    @property
    def parametrization(self) -> Any:
        """What computes it, or `None` if it is stored."""
        v = self.variable
        return v.parametrization if isinstance(v, VirtualVariable) else None

    def numbers(self) -> np.ndarray:
        """The numbers that readers see; raises `SelectionError` if they are not all finite."""
        value = floats_of(self.variable)
        if not np.isfinite(value).all():
            raise SelectionError(
                f"'{self.path}' has numbers that are not finite (NaN or infinity). Repair them, or "
                "leave it out with `exclude=`."
            )
        return value

    def mask(self) -> np.ndarray:
        """Bool, of the weight's shape: what is not pruned."""
        p = self.parametrization
        mask = p.mask if isinstance(p, Masked | Stepped) else None
        if mask is not None:
            return np.array(keras.ops.convert_to_numpy(mask.value))
        if isinstance(p, Clustered) and p.pruned:
            return np.asarray(keras.ops.convert_to_numpy(p.index.value)) != 0
        return np.ones(tuple(self.variable._shape), bool)

    def masked(self, mask: np.ndarray | None = None) -> Masked:
        """Every number by itself, without those where `mask` is false; default: as it is."""
        mask = self.mask() if mask is None else mask
        return Masked.of(self.path, view_of(self.variable), mask)


def candidates(
    model: Any, apply_to: Selector | None = None, exclude: Selector | None = None
) -> list[Candidate]:
    """Returns the weights of `model` to act on, each once, in the order of its layers.

    Args:
        model: a built model or layer that is not deployed.
        apply_to: what to select, as in `smh.compress`. Default: every trained weight that is taken
            by its role (`smh.weight_roles`), and all factors.
        exclude: what to leave out.

    Raises:
        ArgumentError, UnbuiltModelError, DeployedModelError: `model` is none to act on.
        SelectionError: nothing is selected.
    """
    check_model(model)
    every = list(_all(model))
    paths = [item.path for item in every]
    chosen = make_matcher(apply_to, "apply_to", paths) if apply_to is not None else None
    left_out = make_matcher(exclude or [], "exclude", paths)

    def named(matches, item: Candidate) -> bool:
        return matches(item.path, item.variable.name, item.variable)

    selected = [item for item in every if item.size and not named(left_out, item)]
    if chosen is None:
        check_no_adapters(((item.variable, item.owners) for item in selected), model)
        selected = [
            item
            for item in selected
            if isinstance(item.owners[0], Source) or is_taken(item.variable, item.owners)
        ]
    else:
        selected = [item for item in selected if named(chosen, item)]
    if not selected:
        lines = "\n".join(f"  {item.path} {tuple(item.variable._shape)}" for item in every)
        raise SelectionError(
            f"Nothing was selected in '{model.name}'. Only trainable float variables can be; "
            f"without `apply_to`, {BY_DEFAULT}. There are:\n{lines or '  (none)'}"
        )
    return selected


def check_model(model: Any) -> None:
    """Raises unless `model` is a built Keras model or layer that is not deployed."""
    check_is_built(model)
    check_not_deployed(model, "changing its weights")


def pairs_of(options: Any, example: str, check: Callable[[Any, str], Any]) -> list[tuple]:
    """Returns `options` of a pruner or quantizer as (pattern, value) pairs, or raises."""
    if not isinstance(options, Mapping | Sequence):
        raise ArgumentError(f"options must be pairs like {example}; got {options!r:.100}.")
    pairs = list(options.items()) if isinstance(options, Mapping) else list(options)
    for pair in pairs:
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise ArgumentError(f"options must be pairs like {example}; got {pair!r:.100}.")
        check(pair[1], f"The value of {pair[0]!r}")
    if not pairs:
        raise ArgumentError(f"options must have at least one pair like {example}.")
    return [tuple(pair) for pair in pairs]


def by_pattern(
    model: keras.Layer,
    items: Sequence[Candidate],
    given: Any,
    argument: str,
    check: Callable[[Any, str], Any],
) -> dict[int, Any]:
    """Returns which value each of `items` gets, by its number; some may get none.

    Args:
        model: what they are of.
        items: the candidates.
        given: one value for all, or (pattern, value) pairs, or a mapping of these. Patterns are
            those of `apply_to`, see `smh.doors.selection`; the first that fits counts.
        argument: its name, for messages.
        check: returns a value, checked, or raises; gets the value and a name for it.

    Raises:
        ArgumentError: malformed pairs, or a pattern that fits nothing.
        SelectionError: one that gets a value is assigned to by its layer.
    """
    chosen = _values_of(items, given, argument, check)
    check_computable(model, [items[i].variable for i in chosen])
    return chosen


def _values_of(
    items: Sequence[Candidate], given: Any, argument: str, check: Callable[[Any, str], Any]
) -> dict[int, Any]:
    if isinstance(given, dict):
        given = list(given.items())
    if not isinstance(given, list | tuple):
        value = check(given, argument)
        return {i: value for i in range(len(items))}
    if not given or any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in given):
        raise ArgumentError(
            f"{argument} must be a number or (pattern, number) pairs, for example "
            f"[('dense/kernel', 0.9)]; got {given!r:.200}."
        )
    chosen: dict[int, Any] = {}
    paths = [item.path for item in items]
    for pattern, raw in given:
        value = check(raw, f"{argument} of {pattern!r}")
        matches = make_matcher(pattern, argument, paths)
        fits = [
            i
            for i, item in enumerate(items)
            if matches(item.path, item.variable.name, item.variable)
        ]
        if not fits:
            raise ArgumentError(
                f"{argument}: {pattern!r} fits no weight: it is neither a path nor the end of one, "
                "and as a regular expression it matches no begin of a path or name. There are: "
                f"{', '.join(paths)}."
            )
        for i in fits:
            chosen.setdefault(i, value)
    return chosen


def reparametrize(
    model: keras.Layer, made: Iterable[tuple[Candidate, Callable[[], Parametrization]]]
) -> None:
    """Computes weights in another way from now on; the optimizer starts anew."""
    made = list(made)
    if not made:
        return
    stored = [
        variable
        for item, _ in made
        for variable in (item.parametrization.parts if item.parametrization else [item.variable])
    ]
    with creation_scope(stored):
        for item, make in made:
            if item.parametrization is None:
                attach(list(item.owners), item.variable, make())
            else:
                exchange(item.variable, make())
        wrap_calls(model)
        pools = _pools_of(item for item, _ in made)
        users = [user for pool in pools for user in pool.models()]
        for concerned in {id(user): user for user in [model, *users]}.values():
            reset_training(concerned)


def changed(items: Iterable[Candidate]) -> None:
    """Has to be called after numbers changed: deployed models keep copies of what they compute."""
    for pool in _pools_of(items):
        pool.changed()


def _pools_of(items: Iterable[Candidate]) -> list[Source]:
    """The pools of which factors are among `items`, each once."""
    owners = {id(owner): owner for item in items for owner in item.owners}
    return [owner for owner in owners.values() if isinstance(owner, Source)]


def _all(model: keras.Layer) -> Iterator[Candidate]:
    pools = [layer for pool in sources(model) for layer in own_layers(pool)]
    for variable, owners in owners_of([*own_layers(model), *pools]).values():
        item = Candidate(variable, tuple(owners))
        if not variable.trainable or variable._dtype not in FLOATS:
            continue
        if type(variable) is keras.Variable or isinstance(item.parametrization, OwnNumbers):
            yield item
