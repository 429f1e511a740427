"""The JSON header of a file: what is in it, and how each tensor is stored.

`{"meta": {...}, "tensors": [...]}` with an entry for each tensor: its `length` in bytes, its `name`
and its spec (`smh.coding`). An entry says only what cannot be known from the entries before:

- the name of a tensor that is called by its number (the first is "0") is left out;
- an entry without `coding` has the spec of the entry before it, but for the keys that it has.

Whatever can be left out is, and a reader refuses a header in which it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smh import coding
from smh.container import canonical_json
from smh.errors import ArgumentError, ArtifactError

MAX_HEADER = 4 << 20


@dataclass(frozen=True)
class Tensor:
    """One tensor to write: its name, and what `smh.coding.encode` returned."""

    name: str
    spec: Mapping[str, Any]
    payload: bytes


def encode(meta: Mapping[str, Any], tensors: Sequence[Tensor]) -> bytes:
    """Returns the header's text; raises `ArgumentError` for what cannot be written."""
    entries: dict[str, dict] = {}
    for tensor in tensors:
        _check(tensor)
        if tensor.name in entries:
            raise ArgumentError(f"Two tensors have the name {tensor.name!r}; names are unique.")
        length = len(tensor.payload)
        entries[tensor.name] = {**tensor.spec, "name": tensor.name, "length": length}
    header = canonical_json.dumps({"meta": dict(meta), "tensors": _shortened(entries.values())})
    if len(header) > MAX_HEADER:
        raise ArgumentError(
            f"The header takes {len(header):,} bytes, the limit is {MAX_HEADER:,}. Store what is "
            "large in `meta` as a tensor of type uint8."
        )
    return header


def _check(tensor: Tensor) -> None:
    if not isinstance(tensor.name, str) or {"name", "length"} & set(tensor.spec):
        raise ArgumentError(
            f"A tensor has a string for a name, and neither name nor length in its spec; got "
            f"{tensor.name!r} with {sorted(tensor.spec)}."
        )
    try:
        coding.describe(tensor.spec, len(tensor.payload))
    except ArtifactError as error:
        raise ArgumentError(f"Tensor {tensor.name!r} cannot be written: {error}.") from error


def decode(text: bytes) -> dict:
    """Returns the header with whole entries; all is checked but the specs.

    Raises:
        ArtifactError: if it is not what `encode` returns.
    """
    parsed = canonical_json.loads(text)
    _require(
        isinstance(parsed, dict) and set(parsed) == {"meta", "tensors"},
        "an object with meta and tensors expected",
    )
    _require(isinstance(parsed["meta"], dict), "meta must be an object")
    _require(isinstance(parsed["tensors"], list), "tensors must be a list")
    entries: list[dict] = []
    for i, entry in enumerate(parsed["tensors"]):
        _require(isinstance(entry, dict), f"tensors/{i} must be an object")
        before = entries[-1] if entries and "coding" not in entry else {}
        entries.append({**before, "name": str(i), **entry})
        _check_entry(entries[-1], f"tensors/{i}")
    names = {entry["name"] for entry in entries}
    _require(len(names) == len(entries), "two tensors have the same name")
    _require(
        canonical_json.dumps(_shortened(entries)) == canonical_json.dumps(parsed["tensors"]),
        "an entry of tensors repeats what is known",
    )
    return {"meta": parsed["meta"], "tensors": entries}


def _check_entry(entry: Mapping[str, Any], place: str) -> None:
    _require(isinstance(entry["name"], str), f"{place}/name must be a string")
    length = entry.get("length")
    _require(type(length) is int and length >= 0, f"{place}/length must be an integer, at least 0")
    _require("coding" in entry, f"{place} has no coding, and there is none before it")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ArtifactError(what)


def _shortened(entries) -> list[dict]:
    """The entries without what follows from those before."""
    short: list[dict] = []
    before: dict[str, Any] = {}
    for i, entry in enumerate(entries):
        spec = {key: value for key, value in entry.items() if key not in ("name", "length")}
        kept = {"length": entry["length"], **spec}
        if before and spec["coding"] == before["coding"] and set(spec) == set(before):
            kept = {k: v for k, v in kept.items() if k == "length" or v != before[k]}
        if entry["name"] != str(i):
            kept["name"] = entry["name"]
        short.append(kept)
        before = spec
    return short
