"""Makes the weights of a dense model virtual, as they were described."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

import smh.parametrizations.clustered  # noqa: F401  (registers what descriptions name, as below)
import smh.parametrizations.masked  # noqa: F401
import smh.parametrizations.pool_slice  # noqa: F401
import smh.parametrizations.rounded  # noqa: F401
import smh.parametrizations.stepped  # noqa: F401
from smh.errors import ArgumentError, ArtifactError, UnbuiltModelError
from smh.index_store import Slot, check_length
from smh.virtual_variable import (
    Parametrization,
    Source,
    VirtualVariable,
    attach,
    creation_scope,
    put_holder,
    resume,
    unset_variable,
    wrap_calls,
)
from smh.virtual_variable.inside_keras.members import Member, members_as
from smh.virtual_variable.inside_keras.own import own_trainable
from smh.virtual_variable.inside_keras.training_state import reset_training
from smh.virtual_variable.registered import describe_object, entry_of, make_object
from smh.virtual_variable.weight_spec import WeightSpec, std_of


def restore(
    model: keras.Layer,
    description: Mapping[str, Any],
    pools: Sequence[Source | None] | None = None,
) -> None:
    """Makes the weights of a freshly built dense model virtual, as they were described.

    Args:
        model: a model or layer of the architecture that was described, built.
        description: what `describe` returned. It is checked: it may come from a file.
        pools: for each pool of the description one that exists and is to be shared, or `None`.

    Raises:
        ArtifactError: the description is malformed or names what this process does not know.
        ArgumentError: it does not fit the model.
        In every case the model is as it was.
    """
    entries = _list(description, "pools"), _list(description, "weights")
    weights = _found(model, members_as(model, description.get("layers"), {}), entries[1])
    if not weights:
        return
    with creation_scope([w.variable for w in weights if not w.is_virtual]):
        made = _make_pools(entries[0], pools)
        parametrizations = [_make_parametrization(weight, made) for weight in weights]
        for pool, entry in zip(made, entries[0], strict=True):
            if "inside" in entry:
                restore(pool, entry["inside"])
        for weight, parametrization in zip(weights, parametrizations, strict=True):
            if parametrization is not None:
                weight.variable.constraint = None  # that it is dropped was said when compressing
                attach(weight.owners, weight.variable, parametrization)
        if not isinstance(model, Source):  # which is never called
            wrap_calls(model)
        for weight, parametrization in zip(weights, parametrizations, strict=True):
            if parametrization is not None:
                resume(weight.variable, weight.trainable, weight.frozen)
                for owner, place in zip(weight.owners, weight.places, strict=True):
                    put_holder(owner, place)
        reset_training(model, build=True)


def described_variables(model: keras.Layer, description: Mapping[str, Any]) -> list[keras.Variable]:
    """Returns the variables that `restore` would make virtual; raises as it does."""
    counted = members_as(model, description.get("layers"), {})
    return [weight.variable for weight in _found(model, counted, _list(description, "weights"))]


@dataclass(frozen=True)
class _Weight:
    """A weight of a description, and the variable of a model that it is about."""

    entry: Mapping[str, Any]
    owners: list[keras.Layer]
    variable: Any

    @property
    def is_virtual(self) -> bool:
        return isinstance(self.variable, VirtualVariable)

    @property
    def places(self) -> list[int]:
        places = _list(self.entry, "places")
        if len(places) != len(self.owners) or any(type(p) is not int or p < 0 for p in places):
            raise ArtifactError(f"'{self.variable.path}' has malformed places: {places!r:.80}.")
        return places

    @property
    def trainable(self) -> bool:
        return _field(self.entry, "trainable", bool)

    @property
    def frozen(self) -> bool:
        return _field(self.entry, "frozen", bool)

    @property
    def spec(self) -> WeightSpec:
        v = self.variable
        return WeightSpec(v.path, v.name, tuple(v._shape), v._dtype, lambda: std_of(v))


def _found(
    model: keras.Layer, counted: Sequence[Member | None], entries: Sequence[Any]
) -> list[_Weight]:
    """The weights that are described, with the variables that they mean; checks that they fit."""
    weights = [_find(model, counted, entry) for entry in entries]
    if len({id(weight.variable) for weight in weights}) != len(weights):
        raise ArtifactError("The description has one weight more than once.")
    return weights


def _find(model: keras.Layer, counted: Sequence[Member | None], entry: Any) -> _Weight:
    path = _field(entry, "path", str)
    known = dict(enumerate(counted))
    members = []
    for number in _list(entry, "layers"):
        member = known.get(number) if type(number) is int else None
        if member is None:
            raise ArgumentError(
                f"The description has '{path}' in layer {number!r:.40}, but '{model.name}' has "
                f"{len(counted)} layers. {_SAME}"
            )
        members.append(member)
    owners = [member.layer for member in members]
    unbuilt = [owner.name for owner in owners if not owner.built]
    if unbuilt:
        raise UnbuiltModelError(
            f"'{path}' is to be a weight of {unbuilt}, which is not built. Build every layer of "
            f"'{model.name}' first; a model that comes from a file needs a build() that does so "
            "for the shape that it was built with."
        )
    position = _field(entry, "variable", int)
    variables = members[0].variables if members else []
    if not 0 <= position < len(variables):
        raise ArgumentError(
            f"The description has '{path}' as variable {position} of "
            f"{owners[0].name if owners else 'no layer'!r}, which has {len(variables)}. {_SAME}"
        )
    variable = variables[position]
    found = list(variable._shape), variable._dtype
    expected = _list(entry, "shape"), _field(entry, "dtype", str)
    if found != expected:
        raise ArgumentError(
            f"The description has '{path}' with shape {expected[0]} and dtype {expected[1]}, but "
            f"'{variable.path}' in its place has {found[0]} and {found[1]}. {_SAME}"
        )
    for owner in owners:
        if not any(variable is tracked for tracked in own_trainable(owner)):
            raise ArgumentError(
                f"The description has '{path}' as a weight of '{owner.name}', which does not train "
                f"'{variable.path}'. {_SAME}"
            )
    if type(variable) not in (keras.Variable, VirtualVariable):
        raise ArgumentError(
            f"'{variable.path}' is a {type(variable).__name__}, not a plain keras.Variable, and "
            "cannot be made virtual."
        )
    return _Weight(entry, owners, variable)


_SAME = "Restore it on a freshly built dense model of the architecture that was described."


def _make_pools(entries: Sequence[Any], existing: Sequence[Source | None] | None) -> list[Source]:
    given = [None] * len(entries) if existing is None else list(existing)
    if len(given) != len(entries):
        raise ArgumentError(f"The description has {len(entries)} pools, got {len(given)}.")
    made = []
    for entry, pool in zip(entries, given, strict=True):
        if pool is None:
            pool = make_object(entry, Source, "pool")
            if not pool.built:
                pool.build()
        elif _layout(_unnamed(describe_object(pool, "pool"))) != _layout(_unnamed(entry)):
            raise ArtifactError("Two parts of the description disagree about a pool they share.")
        made.append(pool)
    return made


def _unnamed(entry: Any) -> Any:
    """Without the pool's name: it gets a number where the process has one of it (PyTorch)."""
    config = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(config, dict):
        return entry
    return {**entry, "config": {k: v for k, v in config.items() if k != "name"}}


def _layout(value: Any) -> Any:
    """What must be equal where a pool is shared: nothing that is only about its start."""
    if isinstance(value, dict):
        left_out = ("trainable", "position", "initializer", "inside")
        return {k: _layout(v) for k, v in value.items() if k not in left_out}
    return [_layout(v) for v in value] if isinstance(value, list) else value


def _make_parametrization(weight: _Weight, pools: Sequence[Source]) -> Parametrization | None:
    """Makes what computes `weight`; `None` if it is there already, in a layer that is shared."""
    entry, spec = weight.entry, weight.spec
    number = entry.get("pool")
    if number is not None and (type(number) is not int or not 0 <= number < len(pools)):
        raise ArtifactError(
            f"'{spec.path}' lies in pool {number!r:.40}, but there are {len(pools)} pools."
        )
    source = None if number is None else pools[number]
    slot = _slot(source, entry.get("slot"), spec)
    # Read now, so that a malformed description fails before anything is changed.
    _ = weight.trainable, weight.frozen, weight.places
    if weight.is_virtual:
        known = weight.variable.parametrization
        if known.source is source and known.slot == slot:
            return None
        raise ArgumentError(
            f"'{spec.path}' is compressed already, in another way than described. {_SAME}"
        )
    cls: Any
    cls, config = entry_of(entry.get("parametrization"), Parametrization, "parametrization")
    parts = _make_parts(_list(entry, "parts"), spec)
    try:
        return cls.from_config(config, spec, parts, source=source, slot=slot)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"The {cls.__name__} of '{spec.path}' cannot be made from config {config!r:.200} and "
            f"parts {sorted(parts)}: {error!r}"
        ) from error


def _slot(source: Source | None, entry: Any, spec: WeightSpec) -> Slot | None:
    if source is None and entry is None:
        return None
    if source is None or entry is None:
        raise ArtifactError(f"'{spec.path}' needs both a pool and a slot, or neither.")
    begin, length = _field(entry, "begin", int), _field(entry, "length", int)
    if begin < 0 or length != math.prod(spec.shape):
        raise ArtifactError(
            f"'{spec.path}' {spec.shape} has {math.prod(spec.shape):,} numbers, its slot is of "
            f"{length:,} at {begin:,}."
        )
    try:
        return source.slot_at(begin, length)
    except ArgumentError as error:
        raise ArtifactError(f"'{spec.path}': {error}") from error


def _make_parts(entries: Sequence[Any], spec: WeightSpec) -> dict[str, keras.Variable]:
    parts: dict[str, keras.Variable] = {}
    for entry in entries:
        name, shape = _field(entry, "name", str), _list(entry, "shape")
        if name in parts or any(type(n) is not int or n < 0 for n in shape):
            raise ArtifactError(f"Wrong part of '{spec.path}': {entry!r:.200}")
        check_length(math.prod(shape))
        dtype, trainable = _field(entry, "dtype", str), _field(entry, "trainable", bool)
        path = f"{spec.path}/{name}"
        try:
            dtype = keras.backend.standardize_dtype(dtype)
        except ValueError as error:
            raise ArtifactError(f"'{path}' has no dtype: {error}") from error
        parts[name] = unset_variable(path, tuple(shape), dtype, trainable)
    return parts


def _field(entry: Any, name: str, kind: type) -> Any:
    value = entry.get(name) if isinstance(entry, Mapping) else None
    if type(value) is not kind:
        raise ArtifactError(
            f"A description needs '{name}', of type {kind.__name__}, in {entry!r:.200}."
        )
    return value


def _list(entry: Any, name: str) -> list[Any]:
    return _field(entry, name, list)
