"""The report of a `.smh` file without building its model, so without Keras.

What is not certain without it (layers of a user's own, frozen weights, several models) is left to
`smh.report(smh.load(path))`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from smh import container
from smh.artifact.layout.brief import whole_variables
from smh.artifact.layout.reading import read_layout
from smh.artifact.layout.records import Factor, Model, Stored, Weight
from smh.index_store import make_index_store
from smh.parametrizations import counting
from smh.parametrizations.counting import Counted, Steps
from smh.sizes.rows import PoolMap, Row, SizeReport
from smh.typing import itemsize

# Layers of Keras that have untrained variables, and which. Those of others are all trained.
_UNTRAINED = {
    "BatchNormalization": {"moving_mean", "moving_variance"},
    "Normalization": {"mean", "variance", "count"},
}
# Of these more would have to be known: what they add, or what they do with another layer's weights.
_UNCLEAR = {"SpectralNormalization", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_KINDS = {
    "smh>Masked": "pruned",
    "smh>Clustered": "shared",
    "smh>FakeQuantized": "rounded",
    "smh>Stepped": "rounded",
}


def report_of_file(path: str | os.PathLike) -> SizeReport | None:
    """Returns what `smh.report` would say of the model in a file, or `None` if that takes Keras.

    Args:
        path: a file that `smh.save` wrote.

    Raises:
        ArtifactError: the file is damaged.

    Cost: what is pruned, shared or rounded is decoded, one weight after the other.
    """
    opened = container.read(path)
    stored = read_layout(opened)
    if len(stored.models) != 1:
        return None
    model = stored.models[0]
    layers = _layers(model.architecture)
    if layers is None or not _is_certain(model):
        return None
    entry = opened.meta["models"][0]
    plain = [v for v in whole_variables(entry.get("variables", [])) if not v["hidden"]]
    try:
        rows = [*_weight_rows(model, stored), *(_plain_row(v, layers) for v in plain)]
        ordered = _in_order(rows, model)
        factors = [row for pool in model.pools for row in _factor_rows(pool, stored)]
        maps = [_map(pool, model, stored) for pool in model.pools]
    except (LookupError, TypeError, ValueError, AttributeError):
        return None  # a file may hold anything; building the model says what is wrong with it
    return SizeReport(model.name, (*ordered, *factors), tuple(maps))


def _layers(architecture: Any) -> dict[str, str] | None:
    """The class of each layer by its name, in order, if all are Keras' own and clear."""
    found: dict[str, str] = {}
    for node in _nodes(architecture):
        config, kind = node["config"], str(node["class_name"])
        name = config.get("name")
        if not _is_clear(node, kind) or found.get(name, kind) != kind:
            return None
        if isinstance(name, str):
            found.setdefault(name, kind)
    return found or None


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    """Whatever Keras has described by its class and configuration, in order."""
    if isinstance(value, Mapping):
        if isinstance(value.get("config"), Mapping) and "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for child in value:
            yield from _nodes(child)


def _is_clear(node: Mapping[str, Any], kind: str) -> bool:
    config, module = node["config"], str(node.get("module") or "keras")
    return (
        module.partition(".")[0] in ("keras", "builtins")
        and node.get("registered_name") in (None, kind)
        and kind not in _UNCLEAR
        and not kind.startswith("Quantized")
        and config.get("lora_rank") is None
        and config.get("trainable", True) is True
    )


def _is_certain(model: Model) -> bool:
    """Whether no weight is frozen or computed by a class of the user's, and one pool is usual."""
    kinds = {"smh>PoolSlice", *_KINDS}
    described = [*model.description["weights"]]
    for pool in model.description["pools"]:
        described += pool.get("inside", {"weights": []})["weights"]
    usual = all(
        pool["class"] == "smh>ProductVariablePool" and pool["config"]["product"]["kind"] == "matrix"
        for pool in model.description["pools"]
    )
    return (
        len(model.pools) <= 1
        and usual
        and all(
            weight.get("trainable") is True
            and not weight["frozen"]
            and weight["parametrization"].get("class") in kinds
            and len(weight["layers"]) == 1
            for weight in described
        )
    )


def _weight_rows(model: Model, stored: Stored) -> Iterator[Row]:
    for weight, described in zip(model.weights, model.description["weights"], strict=True):
        yield _computed_row(weight, described, stored)


def _computed_row(weight: Weight, described: Mapping[str, Any], stored: Stored) -> Row:
    """The row of a weight that is computed, from its description and, if need be, its values."""
    path, shape, dtype = described["path"], tuple(described["shape"]), described["dtype"]
    numbers, parts = math.prod(shape), described["parts"]
    size = sum(math.prod(part["shape"]) * itemsize(part["dtype"]) for part in parts)
    if weight.parametrization["class"] == "smh>PoolSlice":
        trained = sum(math.prod(part["shape"]) for part in parts if part["trainable"])
        slot, bits = described["slot"], 8 * itemsize(dtype)
        how = f"pool {slot['begin']}:{slot['begin'] + slot['length']}"
        return Row(
            described["path"],
            shape,
            dtype,
            how,
            numbers,
            numbers,
            trained,
            size,
            bits,
            size,
            "pool",
        )
    tally, how = _counted(weight.parametrization, weight.parts, shape, stored)
    kept, trained, bits, packed = tally
    kind = _KINDS[weight.parametrization["class"]]
    return Row(path, shape, dtype, how, numbers, kept, trained, size, bits, packed, kind)


def _counted(
    parametrization: Mapping[str, Any],
    parts: Mapping[str, int],
    shape: tuple[int, ...],
    stored: Stored,
) -> Counted:
    config = parametrization.get("config", {})
    if parametrization["class"] == "smh>Masked":
        return counting.pruned(stored.value(parts["mask"]), stored.value(parts["weight"]).itemsize)
    if parametrization["class"] == "smh>Clustered":
        values = math.prod(stored.shape(parts["codebook"]))
        return counting.shared(stored.value(parts["index"]), values, config["pruned"])
    if parametrization["class"] == "smh>FakeQuantized":
        return counting.rounded(shape, config["bits"], config["per"])
    exponents = stored.value(parts["exponents"]) if "exponents" in parts else None
    whole = None if exponents is None else exponents.astype(np.int64)
    steps = Steps(float(stored.value(parts["step"])), whole, config["axis"])
    value = stored.value(parts["weight"])
    mask = stored.value(parts["mask"]) if "mask" in parts else None
    integers = np.rint(value / steps.spread(len(shape))).astype(np.int32)
    return counting.stepped(integers, 0 if exponents is None else exponents.size, mask)


def _plain_row(variable: Mapping[str, Any], layers: Mapping[str, str]) -> Row:
    shape, dtype = tuple(variable["shape"]), variable["dtype"]
    layer, _, name = variable["path"].rpartition("/")
    kind = layers.get(layer.rpartition("/")[2], "")
    numbers = math.prod(shape)
    size = numbers * itemsize(dtype)
    trained = 0 if name in _UNTRAINED.get(kind, ()) else numbers
    bits = 8 * itemsize(dtype)
    return Row(variable["path"], shape, dtype, "dense", numbers, numbers, trained, size, bits, size)


def _in_order(rows: list[Row], model: Model) -> list[Row]:
    """The rows by layer, as the architecture lists them; within one a weight at its own place."""
    names = list(_listed(model.architecture))
    places = {w["path"]: w["variable"] for w in model.description["weights"]}
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.path.rpartition("/")[0], []).append(row)

    def rank(layer: str) -> list[int]:
        return [names.index(name) for name in layer.split("/") if name in names]

    ordered: list[Row] = []
    for layer in sorted(groups, key=rank):
        own = sorted((r for r in groups[layer] if r.path in places), key=lambda r: places[r.path])
        others = [row for row in groups[layer] if row.path not in places]
        for row in own:
            others.insert(places[row.path], row)
        ordered += others
    return ordered


def _listed(architecture: Any) -> Iterator[str]:
    """The names of the layers that models list, in order; what is inside of a layer is not."""
    for node in architecture["config"].get("layers", ()):
        yield node["config"].get("name")
        yield from _listed(node)


def _factor_rows(pool: Mapping[str, Any], stored: Stored) -> Iterator[Row]:
    config = pool["config"]
    inside = iter(pool.get("inside", {"weights": []})["weights"])
    for factor, own, wrapping in zip(
        pool["factors"], config["factors"], config["wrappings"], strict=True
    ):
        shape = _shape(factor, stored)
        if isinstance(factor, Factor):
            weight = Weight("", shape, None, 0, factor.parametrization, factor.parts, None)
            row = replace(_computed_row(weight, next(inside), stored), original=0, kind="factor")
            if wrapping is not None:
                raise LookupError("computed, and then rounded")
            yield row
            continue
        numbers = math.prod(shape)
        how, bits, packed = "factor", 32, 4 * numbers
        if wrapping is not None:
            config_of = wrapping["config"]
            tally, how = counting.rounded(shape, config_of["bits"], config_of["per"])
            bits, packed = tally.bits, tally.packed
        trained = numbers if config["trainable"] else 0
        path, size = f"{_name(pool)}/{own['name']}", 4 * numbers
        yield Row(path, shape, "float32", how, 0, numbers, trained, size, bits, packed, "factor")


def _map(pool: Mapping[str, Any], model: Model, stored: Stored) -> PoolMap:
    product = pool["config"]["product"]
    entries = product["rows"] * product["cols"]
    store = make_index_store(pool["config"]["index_store_type"], entries)
    slots = tuple(
        (w["path"], store.slot_at(w["slot"]["begin"], w["slot"]["length"]).segments)
        for w in model.description["weights"]
        if w["pool"] == 0
    )
    shapes = tuple(_shape(factor, stored) for factor in pool["factors"])
    return PoolMap(_name(pool), entries, product["cols"], shapes, slots)


def _name(pool: Mapping[str, Any]) -> str:
    return pool["class"].rpartition(">")[2]


def _shape(factor: int | Factor, stored: Stored) -> tuple[int, ...]:
    return factor.shape if isinstance(factor, Factor) else stored.shape(factor)
