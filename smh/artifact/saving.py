"""What an artifact says of a model that is saved; the tensors are `smh.artifact.tensors`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from smh.artifact.layout.architecture import brief_architecture
from smh.artifact.layout.brief import brief_variables, brief_weights, kept
from smh.artifact.layout.infinities import without_infinities
from smh.artifact.layout.pools import brief_pool
from smh.artifact.order import factors, other_variables, virtuals_in_order
from smh.artifact.tensors import Options, Table, encoder
from smh.blueprint.checking import names_needed
from smh.blueprint.describe import describe, sources
from smh.container import Tensor
from smh.parametrizations.rounded import WHOLE
from smh.virtual_variable import Source, own_layers, own_variables
from smh.virtual_variable.inside_keras.holder import has_own_value
from smh.virtual_variable.inside_keras.members import members
from smh.virtual_variable.inside_keras.own_state import OwnState, numbered, own_states
from smh.virtual_variable.inside_keras.rebuilding import dense_config
from smh.virtual_variable.variable import VirtualVariable


def encode_models(
    models: Sequence[keras.Layer], options: Options, architecture: bool, checked: bool = True
) -> tuple[dict[str, Any], list[Tensor]]:
    """Returns the header's `meta` and the tensors of a file of these models.

    Args:
        models: the models.
        options: how numbers are stored.
        architecture: whether the file says how to make the models.
        checked: whether it is tried that they can be made.
    """
    table = Table()
    entries = [_Saving(model, table).entry(architecture, checked) for model in models]
    tensors, by_kind = table.encode(options)
    return {"models": entries, **({"kinds": True} if by_kind else {})}, tensors


class _Saving:
    """Notes the variables of one model in the order of `smh.artifact.order`."""

    def __init__(self, model: keras.Layer, table: Table):
        self._model = model
        self._table = table
        self._numbers: list[int] = []
        self._known: list[keras.Variable] = []

    def entry(self, architecture: bool, checked: bool) -> dict[str, Any]:
        """Returns what the file says of the model."""
        first = len(self._table)
        config = dense_config(self._model) if architecture else None
        states = own_states(members(self._model))
        names = names_needed(self._model, config, states) if config and checked else None
        description = describe(self._model)
        weights = description["weights"]
        ends = {w["pool"]: _end(w["slot"]) for w in weights if w["slot"] is not None}
        pools = zip(sources(self._model), description["pools"], strict=True)
        entry = {
            "name": self._model.name,
            **brief_architecture(without_infinities(config)),
            "pools": [self._pool(*pool, ends.get(i, 0)) for i, pool in enumerate(pools)],
            "weights": brief_weights(self._weights(self._model, description, of_a_pool=False)),
            "variables": brief_variables(self._others()),
            "numbers": self._numbers,
            "states": self._states(states),
            "layers": names,
        }
        usual = list(range(first, len(self._table)))
        nothing: dict[str, Any] = {
            "architecture": None,
            "pools": [],
            "weights": [],
            "variables": [],
            "states": [],
            "layers": None,
        }
        return kept(entry, {**nothing, "numbers": usual})

    def _pool(self, pool: Source, entry: Mapping[str, Any], position: int) -> dict:
        _follow_the_rounded_factors(entry)
        whole = dict(entry)
        own = factors(pool)
        for factor in own:
            if not isinstance(factor, VirtualVariable):
                self._note(factor, self._table.factor(factor))
        inside: list[VirtualVariable] = []
        if "inside" in entry:
            inside = virtuals_in_order(members(pool), entry["inside"])
            weights = self._weights(pool, entry["inside"], of_a_pool=True)
            whole["inside"] = {**entry["inside"], "weights": weights}
        places = {id(virtual): i for i, virtual in enumerate(inside)}
        whole["factors"] = [places.get(id(factor)) for factor in own]
        shapes = [[int(n) for n in factor.shape] for factor in own]
        return brief_pool(whole, shapes, position)

    def _weights(
        self, layer: keras.Layer, description: Mapping[str, Any], *, of_a_pool: bool
    ) -> list[dict]:
        """The weights of a description, whose parts say which have a tensor of their own."""
        weights = []
        virtuals = virtuals_in_order(members(layer), description)
        for weight, virtual in zip(description["weights"], virtuals, strict=True):
            parts = []
            for entry, part in zip(weight["parts"], virtual.parametrization.parts, strict=True):
                self._note(part, self._table.part(part, virtual, of_a_pool=of_a_pool))
                own = {} if encoder(part, virtual, of_a_pool) is None else {"tensor": 0}
                parts.append({**entry, "path": part.path, **own})
            frozen = has_own_value(virtual)
            if frozen:
                self._note(virtual._snapshot, self._table.other(virtual._snapshot, "frozen"))
            elif virtual._snapshot is not None:
                self._known.append(virtual._snapshot)  # the pool says the same
            weights.append({**weight, "parts": parts, "frozen": frozen})
            _follow_the_rounded_weight(weights[-1])
        return weights

    def _others(self) -> list[dict]:
        own = {id(v) for layer in own_layers(self._model) for v in own_variables(layer)}
        variables = []
        for variable in other_variables(members(self._model), self._known):
            self._note(variable, self._table.other(variable))
            variables.append(
                {
                    "path": variable.path,
                    "shape": [int(n) for n in variable.shape],
                    "dtype": variable.dtype,
                    "hidden": id(variable) not in own,
                }
            )
        return variables

    def _states(self, states: Mapping[int, OwnState]) -> list[dict]:
        """What layers have beside their variables; nothing of those that only have to be told."""
        entries = []
        counted = members(self._model)
        for layer, state in states.items():
            what = counted[layer].layer.name
            entry = {
                "layer": layer,
                "name": what,
                "variables": dict(state.variables),
                "values": {k: self._table.extra(v, f"{what}/{k}") for k, v in state.values.items()},
                "assets": {
                    path: self._table.extra(np.frombuffer(content, np.uint8), f"{what}/{path}")
                    for path, content in state.assets.items()
                },
            }
            usual = {"variables": numbered(counted[layer].variables), "values": {}, "assets": {}}
            if set(entry := kept(entry, usual)) != {"layer", "name"}:
                entries.append(entry)
        return entries

    def _note(self, variable: keras.Variable, number: int) -> None:
        self._known.append(variable)
        self._numbers.append(number)


def _end(slot: Mapping[str, int]) -> int:
    return slot["begin"] + slot["length"]


def _follow_the_rounded_factors(pool: Mapping[str, Any]) -> None:
    """Lets the grids of low-bit factors end at the largest number that is stored.

    What is stored is rounded already, and cut off where its grid ended.
    """
    for inner in pool["config"].get("pools", ()):
        _follow_the_rounded_factors(inner)
    for wrapping in pool["config"].get("wrappings", ()):
        if wrapping is not None and "ratio" in wrapping["config"]:
            wrapping["config"]["ratio"] = WHOLE


def _follow_the_rounded_weight(weight: Mapping[str, Any]) -> None:
    if weight["parametrization"]["class"] == "smh>FakeQuantized":
        weight["parametrization"]["config"]["ratio"] = WHOLE
