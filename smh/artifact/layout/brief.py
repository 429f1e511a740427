"""What a file leaves out of a description, because it follows from the rest of the file.

A description (`smh.blueprint`) of eight weights takes four kilobytes as JSON, and nearly all of it
can be known: weights lie one behind the other in their pool, a pool's sides are those of its
factors. `brief_*` leave that out and `whole_*` put it back; `docs/format.md` has the rules. What is
put back is not trusted: whoever uses it checks it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smh.errors import ArtifactError

# What the first weight would repeat, if it came after one that `smh.compress` makes.
_WEIGHT_BEFORE = {
    "dtype": "float32",
    "frozen": False,
    "layers": [],
    "parametrization": {
        "class": "smh>PoolSlice",
        "config": {
            "modifier": {
                "class": "smh>ScaleModifier",
                "config": {"initial": "smh>starts_at_initial_std", "name": "scale"},
            }
        },
    },
    "parts": [{"name": "scale", "shape": []}],
    "places": [0],
    "pool": 0,
    "shape": [],
    "trainable": True,
}
_VARIABLE_BEFORE = {"dtype": "float32", "hidden": False, "shape": []}


def brief_weights(weights: Iterable[Mapping[str, Any]]) -> list[dict]:
    """Returns the entries of a description's weights without what follows.

    Args:
        weights: as `smh.blueprint.describe` returns them; a part may also have `tensor`, the number
            of a tensor among those that the weight has for itself.
    """
    entries, before = [], _Before()
    for weight in weights:
        entry = {k: v for k, v in weight.items() if k not in ("slot", "variable")}
        entry["parts"] = [_brief_part(part, weight) for part in weight["parts"]]
        brief = kept(entry, before.entry)
        if weight["variable"] != before.variable("layers" in brief):
            brief["variable"] = weight["variable"]
        if weight["slot"] is not None and weight["slot"]["begin"] != before.begin(entry["pool"]):
            brief["begin"] = weight["slot"]["begin"]
        before.take(entry, weight["variable"], weight["slot"])
        entries.append(brief)
    return entries


def whole_weights(entries: Sequence[Any]) -> list[dict]:
    """Returns what `brief_weights` was given; raises `ArtifactError`."""
    weights, before = [], _Before()
    for brief in entries:
        check(brief, "a weight", path=str)
        entry = {**before.entry, **brief}
        check(entry, "a weight", shape=list, parts=list)
        variable = entry.pop("variable", before.variable("layers" in brief))
        begin = entry.pop("begin", before.begin(entry["pool"]))
        slot = None
        if entry["pool"] is not None:
            slot = {"begin": begin, "length": numbers_of(entry["shape"], "a weight")}
        check({"variable": variable, "begin": begin}, "a weight", variable=int, begin=int)
        before.take(entry, variable, slot)
        parts = [_whole_part(part, entry) for part in entry["parts"]]
        weights.append({**entry, "parts": parts, "slot": slot, "variable": variable})
    return weights


class _Before:
    """What the weights up to here say of the next one."""

    def __init__(self):
        self.entry: Mapping[str, Any] = _WEIGHT_BEFORE
        self._variable = -1
        self._ends: dict[str, int] = {}

    def variable(self, other_layers: bool) -> int:
        return 0 if other_layers else self._variable + 1

    def begin(self, pool: Any) -> int:
        return self._ends.get(repr(pool), 0)

    def take(self, entry, variable, slot) -> None:
        self.entry = {k: v for k, v in entry.items() if k != "path"}
        self._variable = variable
        if slot is not None:
            self._ends[repr(entry["pool"])] = slot["begin"] + slot["length"]


def _brief_part(part: Mapping[str, Any], weight: Mapping[str, Any]) -> dict:
    usual = {**_usual_part(weight), "path": f"{weight['path']}/{part['name']}"}
    return kept(part, usual)


def _whole_part(part: Any, weight: Mapping[str, Any]) -> dict:
    check(part, f"a part of '{weight['path']:.100}'", name=str)
    return {"path": f"{weight['path']}/{part['name']}", **_usual_part(weight), **part}


def _usual_part(weight: Mapping[str, Any]) -> dict:
    return {"dtype": "float32", "shape": weight["shape"], "trainable": True}


def brief_variables(variables: Iterable[Mapping[str, Any]]) -> list[dict]:
    """Returns `{"path", "shape", "dtype", "hidden"}` of each variable without what follows."""
    entries, before = [], _VARIABLE_BEFORE
    for variable in variables:
        entries.append(kept(variable, before))
        before = {k: v for k, v in variable.items() if k != "path"}
    return entries


def whole_variables(entries: Sequence[Any]) -> list[dict]:
    """Returns what `brief_variables` was given; raises `ArtifactError`."""
    variables, before = [], _VARIABLE_BEFORE
    for brief in entries:
        check(brief, "a variable", path=str)
        variables.append({**before, **brief})
        check(variables[-1], "a variable", shape=list, dtype=str, hidden=bool)
        before = {k: v for k, v in variables[-1].items() if k != "path"}
    return variables


def kept(entry: Mapping[str, Any], usual: Mapping[str, Any]) -> dict:
    """Returns what is in `entry` but not, or not so, in `usual`."""
    return {k: v for k, v in entry.items() if k not in usual or v != usual[k]}


def check(entry: Any, what: str, **kinds: type) -> None:
    """Raises unless `entry` is an object with these keys, each of its type."""
    if not isinstance(entry, Mapping):
        raise ArtifactError(f"{what} must be an object, got {entry!r:.100}")
    for key, kind in kinds.items():
        if type(entry.get(key)) is not kind:
            raise ArtifactError(f"{what} needs '{key}', of type {kind.__name__}, in {entry!r:.200}")


def numbers_of(shape: Sequence[Any], what: str) -> int:
    """Returns how many numbers a shape has, or raises."""
    if any(type(n) is not int or n < 0 for n in shape):
        raise ArtifactError(f"{what} has a shape of whole numbers, got {shape!r:.100}")
    return math.prod(shape)
