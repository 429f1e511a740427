"""What a file says of the layers that are more than their variables. NumPy only.

A model's `states` has an object for each such layer: `layer` is its number, `variables` the keys
under which it loads its own variables, `values` the numbers and `assets` the files that it has
beside them. Each of these lies in a tensor behind those of the variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smh.artifact.layout.brief import check
from smh.container import Section
from smh.errors import ArtifactError

_LONGEST = 255  # bytes of a file's name


@dataclass(frozen=True)
class State:
    """What a layer has beside its variables.

    Attributes:
        layer: its number among the layers of the model.
        name: what it is called.
        variables: the numbers of its own variables by the key under which it loads them, or `None`
            if these are "0", "1" and so on.
        values: the tensors of its numbers, by key.
        assets: the tensors of its files, by path.
    """

    layer: int
    name: str
    variables: Mapping[str, int] | None
    values: Mapping[str, str]
    assets: Mapping[str, str]


def read_states(entries: Any, left: list[Section], used: set[int]) -> tuple[State, ...]:
    """Reads the states of one model.

    Args:
        entries: what the file says.
        left: the tensors behind those of the variables.
        used: takes up the numbers of those that a state is in.

    Raises:
        ArtifactError: if anything is not as a writer makes it.
    """
    check({"states": entries}, "a model", states=list)
    states = tuple(_state(entry, left, used) for entry in entries)
    if len({state.layer for state in states}) != len(states):
        raise ArtifactError("two states are of the same layer")
    return states


def _state(entry: Any, left: list[Section], used: set[int]) -> State:
    check(entry, "a state", layer=int, name=str)
    unknown = set(entry) - {"layer", "name", "variables", "values", "assets"}
    if unknown or entry["layer"] < 0:
        raise ArtifactError(f"a state is malformed: {entry!r:.200}")
    given = {name: entry.get(name, {}) for name in ("variables", "values", "assets")}
    check(given, "a state", variables=dict, values=dict, assets=dict)
    variables = given["variables"] if "variables" in entry else None
    for key, number in (variables or {}).items():
        if type(number) is not int or number < 0:
            raise ArtifactError(f"{key!r:.80} of a state is variable {number!r:.40}")
    values = {k: _tensor(k, n, left, used) for k, n in given["values"].items()}
    assets = {k: _tensor(k, n, left, used) for k, n in given["assets"].items()}
    _check_paths(assets)
    for path, section in assets.items():
        if section.dtype != "uint8" or len(section.shape) != 1:
            raise ArtifactError(f"the file {path!r:.80} lies in a tensor of {section.dtype}")
    names = {key: section.name for key, section in values.items()}
    files = {path: section.name for path, section in assets.items()}
    return State(entry["layer"], entry["name"], variables, names, files)


def _tensor(key: str, number: Any, left: list[Section], used: set[int]) -> Section:
    if type(number) is not int or not 0 <= number < len(left):
        raise ArtifactError(f"{key!r:.80} of a state lies in tensor {number!r:.40} of {len(left)}")
    if left[number].coding not in ("raw", "planes"):
        raise ArtifactError(f"{key!r:.80} of a state is coded as {left[number].coding}")
    used.add(number)
    return left[number]


def _check_paths(assets: Mapping[str, Any]) -> None:
    """Refuses whatever could be written anywhere but below a layer's folder."""
    folders: set[str] = set()
    for path in assets:
        parts = path.split("/")
        for part in parts:
            if part in ("", ".", "..") or set(part) & set('\\:\0<>"|?*') or len(part) > _LONGEST:
                raise ArtifactError(f"{path!r:.200} is no path of a file below a folder")
        folders.update("/".join(parts[:i]) for i in range(1, len(parts)))
    if folders & set(assets):
        raise ArtifactError(f"a file is also a folder: {sorted(folders & set(assets))!r:.200}")
