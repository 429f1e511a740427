"""How a model is compressed, as plain JSON, and the way back.

A description holds the structure: which weights of which layers are computed from what, where in
which pool they lie, and the names, shapes and dtypes of the variables that belong to each. It
holds no values. Restoring it on a freshly built dense model of the same architecture gives a model
with the same variables in the same order, into which the values can then be loaded.

`{"pools": [{"class", "config"}], "weights": [{"layers", "places", "variable", "path", "shape",
"dtype", "trainable", "frozen", "pool", "slot": {"begin", "length"}, "parametrization": {"class",
"config"}, "parts": [{"name", "shape", "dtype", "trainable"}]}]}`, where

- `layers` are the numbers, in `list(own_layers(model))`, of the layers that track the weight, and
  `places` where the holder of each is among that layer's own layers;
- `variable` is its number in `own_variables(the first of these layers)`;
- `pool` is the number of a pool; it and `slot` are null for what needs none;
- `frozen` says that the weight keeps a snapshot of its value, while others still train the pool.

Paths are for messages: a weight is found by its layers. A pool whose factors are virtual
themselves has "inside", a description of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

import smh.clustered  # noqa: F401  (registers what descriptions name, as those below)
import smh.masked  # noqa: F401
import smh.pool_slice  # noqa: F401
import smh.rounding  # noqa: F401
from smh.errors import (
    ArgumentError,
    ArtifactError,
    UnbuiltModelError,
    VirtualVariableError,
)
from smh.index_store import Slot, check_length
from smh.registered import describe_object, entry_of, make_object
from smh.virtual_variable import (
    Parametrization,
    Source,
    VirtualVariable,
    attach,
    creation_scope,
    holder_of,
    own_layers,
    own_variables,
    put_holder,
    resume,
    unset_variable,
    virtual_variables,
    wrap_calls,
)
from smh.virtual_variable.training_state import reset_training
from smh.weight_spec import WeightSpec, std_of


def sources(model: keras.Layer) -> list[Source]:
    """The pools of a model, each once, in the order in which `describe` lists them."""
    found: dict[int, Source] = {}
    for virtual in _in_order(model):
        source = virtual.parametrization.source
        if source is not None:
            found[id(source)] = source
    return list(found.values())


def describe(model: keras.Layer) -> dict[str, Any]:
    """Returns how `model` is compressed, as plain JSON; without values.

    Args:
        model: a model or layer; one with nothing compressed gives empty lists.

    Returns:
        What `restore` takes, see the top of this file.

    Raises:
        ArgumentError: if a modifier or parametrization has no name that another process knows;
            the message names it, and says how to give it one.

    Example:
        >>> description = describe(smh.compress(make(), fraction=0.1))
        >>> again = make()
        >>> restore(again, description)  # then load the values
    """
    layers = list(own_layers(model))
    pools = sources(model)
    numbers = {id(pool): i for i, pool in enumerate(pools)}
    owners: dict[int, list[int]] = {}
    for i, layer in enumerate(layers):
        holder = holder_of(layer)
        for virtual in holder.virtuals if holder is not None else ():
            owners.setdefault(id(virtual), []).append(i)
    return {
        "pools": [_describe_pool(pool) for pool in pools],
        "weights": [
            {
                "layers": owners[id(virtual)],
                "places": [_place(layers[i]) for i in owners[id(virtual)]],
                "variable": _position(own_variables(layers[owners[id(virtual)][0]]), virtual),
                "pool": numbers.get(id(virtual.parametrization.source)),
                **_describe_weight(virtual),
            }
            for virtual in _in_order(model)
        ],
    }


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
    weights = _found(model, entries[1])
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


def _in_order(model: keras.Layer) -> list[VirtualVariable]:
    """The virtual variables in the order in which they became virtual, as their holders do."""
    return sorted(virtual_variables(model), key=lambda virtual: virtual._number)


def _place(owner: keras.Layer) -> int:
    """Where the holder is among the layers of its owner: it decides the order of variables."""
    return _position(owner._layers, holder_of(owner))


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
    trained = any(part is v for holder in virtual._holders for v in holder._trainable_variables)
    return {
        "name": part.name,
        "shape": [int(n) for n in part.shape],
        "dtype": part.dtype,
        "trainable": trained,
    }


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


def _found(model: keras.Layer, entries: Sequence[Any]) -> list[_Weight]:
    """The weights that are described, with the variables that they mean; checks that they fit."""
    layers = list(own_layers(model))
    weights = [_find(model, layers, entry) for entry in entries]
    if len({id(weight.variable) for weight in weights}) != len(weights):
        raise ArtifactError("The description has one weight more than once.")
    return weights


def _find(model: keras.Layer, layers: Sequence[keras.Layer], entry: Any) -> _Weight:
    path = _field(entry, "path", str)
    owners = []
    for number in _list(entry, "layers"):
        if type(number) is not int or not 0 <= number < len(layers):
            raise ArgumentError(
                f"The description has '{path}' in layer {number!r:.40}, but '{model.name}' has "
                f"{len(layers)} layers. {_SAME}"
            )
        owners.append(layers[number])
    unbuilt = [owner.name for owner in owners if not owner.built]
    if unbuilt:
        raise UnbuiltModelError(
            f"'{path}' is to be a weight of {unbuilt}, which is not built. Build every layer of "
            f"'{model.name}' first; a model that comes from a file needs a build() that does so "
            "for the shape that it was built with."
        )
    position = _field(entry, "variable", int)
    variables = own_variables(owners[0]) if owners else []
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
        if not any(variable is tracked for tracked in _can_be_virtual(owner)):
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


def _can_be_virtual(owner: keras.Layer) -> list[keras.Variable]:
    fixed = {id(v) for v in owner._non_trainable_variables}
    return [v for v in own_variables(owner) if id(v) not in fixed]


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
        elif _layout(describe_object(pool, "pool")) != _layout(entry):
            raise ArtifactError("Two parts of the description disagree about a pool they share.")
        made.append(pool)
    return made


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
