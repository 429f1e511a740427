"""What a file leaves out of an architecture, because the layers before say it already.

Keras' configuration says of each layer of a functional model its name twice, the shape of what it
reads twice, and which layer that is, which nearly always is the one before. In a file of a few
kilobytes this is a tenth of it. `brief_architecture` leaves it out, `whole_architecture` puts it
back; `docs/format.md` has the rules. They look at nothing but the configuration itself, so they
hold whatever Keras' version or a layer's own class puts into it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from smh.artifact.layout.brief import check, kept
from smh.errors import ArtifactError

_LACKS, _SHAPE, _FROM = "lacks", "shape", "from"
_TENSOR = "__keras_tensor__"
_MOST_AXES, _MOST_CHARACTERS = 32, 200


def brief_architecture(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns `{"network": ...}`: a configuration without what follows.

    One that would not come back as it is, is left as it is: `{"architecture": config}`.
    """
    if config is None:
        return {}
    config = _as_json(config)
    brief = _in_layers(config, _Before.brief)
    try:  # as text: to Python, false and 0.0 are 0
        same = _as_text(whole_architecture({"network": brief})) == _as_text(config)
    except ArtifactError:  # it has keys of ours
        same = False
    return {"network": brief} if same else {"architecture": config}


def whole_architecture(entry: Mapping[str, Any]) -> Any:
    """Returns what `brief_architecture` was given; raises `ArtifactError`."""
    if "network" not in entry:
        return entry.get("architecture")
    if "architecture" in entry:
        raise ArtifactError("a model has 'network' or 'architecture', not both")
    return _in_layers(entry["network"], _Before.whole)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _as_json(value: Any) -> Any:
    """Tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _as_json(inner) for key, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def _in_layers(value: Any, change: Callable[[_Before, Any], dict]) -> Any:
    """Changes each object of each list that is called `layers`, at any depth."""
    if isinstance(value, list):
        return [_in_layers(inner, change) for inner in value]
    if not isinstance(value, Mapping):
        return value
    changed = {}
    for key, inner in value.items():
        changed[key] = _in_layers(inner, change)
        if key == "layers" and isinstance(inner, list) and all(map(_is_layer, inner)):
            before = _Before()
            changed[key] = [change(before, layer) for layer in changed[key]]
    return changed


def _is_layer(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("class_name"), str)
        and isinstance(value.get("config"), Mapping)
    )


class _Before:
    """What the layers up to here say of the next one."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._keys: set[str] = set()  # of the layer before
        self._built: dict[str, bool] = {}  # by class: whether its last one said how it was built
        self._arguments: dict[str, Any] = {}  # and what its call was given beside tensors
        self._read: dict[str, Any] = {"dtype": "float32", "shape": None}  # the last tensor
        self._tensors: dict[str, dict[str, Any]] = {}  # by where each comes from

    def brief(self, layer: Mapping[str, Any]) -> dict[str, Any]:
        nodes, brief = layer.get("inbound_nodes"), dict(layer)
        if nodes is not None:
            changed = self._first(nodes)
            if nodes == self._nodes(layer, changed) and changed["dtype"] == self._read["dtype"]:
                del brief["inbound_nodes"]
                if changed != self._read:
                    brief[_SHAPE] = changed["shape"]
                self._note([self._name, 0, 0], changed)
            else:
                brief["inbound_nodes"] = self._in_tensors(nodes, self._short)
        usual = self._others(layer, nodes)
        brief = kept(brief, usual)
        lacks = [key for key in usual if key not in layer]
        if nodes is None and "inbound_nodes" in self._keys:
            lacks.append("inbound_nodes")
        self._take(layer)
        return {**brief, _LACKS: lacks} if lacks else brief

    def whole(self, brief: Mapping[str, Any]) -> dict[str, Any]:
        layer = {key: value for key, value in brief.items() if key not in (_LACKS, _SHAPE)}
        lacks = brief.get(_LACKS, [])
        check({"lacks": lacks}, "a layer", lacks=list)
        if "inbound_nodes" in layer:
            layer["inbound_nodes"] = self._in_tensors(layer["inbound_nodes"], self._long)
        elif "inbound_nodes" in self._keys and "inbound_nodes" not in lacks:
            shape = brief.get(_SHAPE, self._read["shape"])
            read = {**self._read, "shape": shape} if _is_shape(shape) else self._read
            layer["inbound_nodes"] = self._nodes(layer, read)
            self._note([self._name, 0, 0], read)
        usual = self._others(layer, layer.get("inbound_nodes"))
        found = {key: value for key, value in usual.items() if key not in lacks}
        layer = {**found, **layer}
        self._take(layer)
        return layer

    def _nodes(self, layer: Mapping[str, Any], read: Mapping[str, Any]) -> list[Any]:
        """One call, of what the layer before made."""
        config = {**read, "keras_history": [self._name, 0, 0]}
        arguments = self._arguments.get(layer["class_name"], {})
        return [{"args": [{"class_name": _TENSOR, "config": config}], "kwargs": arguments}]

    def _others(self, layer: Mapping[str, Any], nodes: Any) -> dict[str, Any]:
        """What else a layer has, as a rule."""
        name = _name(layer)
        usual: dict[str, Any] = {"name": name} if name and "name" in self._keys else {}
        if self._built.get(layer["class_name"], False):
            usual["build_config"] = {"input_shape": _shapes(nodes)}
        return usual

    def _first(self, nodes: Any) -> dict[str, Any]:
        """The type and shape of the first tensor of the first call, or of the last one before."""
        tensor = _arguments(nodes)
        read = tensor["config"] if _is_tensor(tensor) else self._read
        return {"dtype": read["dtype"], "shape": read["shape"]}

    def _in_tensors(self, value: Any, change: Callable[[Any], Any]) -> Any:
        found = change(value)
        if found is not None:
            return found
        if isinstance(value, Mapping):
            return {key: self._in_tensors(value[key], change) for key in sorted(value)}
        return [self._in_tensors(x, change) for x in value] if isinstance(value, list) else value

    def _short(self, tensor: Any) -> dict[str, Any] | None:
        if not _is_tensor(tensor):
            return None
        config = tensor["config"]
        history = config["keras_history"]
        own = {"dtype": config["dtype"], "shape": config["shape"]}
        brief = kept(own, self._tensors.get(repr(history), self._read))
        self._note(history, own)
        return {_FROM: history[0] if history[1:] == [0, 0] else history, **brief}

    def _long(self, brief: Any) -> dict[str, Any] | None:
        if not isinstance(brief, Mapping) or _FROM not in brief:
            return None
        origin = brief[_FROM]
        history = [origin, 0, 0] if isinstance(origin, str) else origin
        given = {key: value for key, value in brief.items() if key != _FROM}
        own = {**self._tensors.get(repr(history), self._read), **given}
        self._note(history, own)
        return {"class_name": _TENSOR, "config": {**own, "keras_history": history}}

    def _note(self, history: Any, tensor: Mapping[str, Any]) -> None:
        if _is_short(tensor.get("dtype")) and _is_shape(tensor.get("shape")):
            self._read = {"dtype": tensor["dtype"], "shape": tensor["shape"]}
            self._tensors[repr(history)] = self._read

    def _take(self, layer: Mapping[str, Any]) -> None:
        self._name = _name(layer)
        self._keys = {key for key in ("inbound_nodes", "name") if key in layer}
        self._built[layer["class_name"]] = "build_config" in layer
        try:
            arguments = layer["inbound_nodes"][0]["kwargs"]
        except (LookupError, TypeError):
            return
        if _is_short(arguments):
            self._arguments[layer["class_name"]] = arguments


def _name(layer: Mapping[str, Any]) -> str | None:
    """Text only: objects that stand for each other inside of each other grow without end."""
    name = layer["config"].get("name")
    return name if isinstance(name, str) else None


def _is_short(value: Any) -> bool:
    """Text, or options, that may be said again by every layer without making a file a bomb."""
    return isinstance(value, str | dict) and len(repr(value)) <= _MOST_CHARACTERS


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() == {"class_name", "config"}
        and value["class_name"] == _TENSOR
        and isinstance(value["config"], Mapping)
        and value["config"].keys() == {"dtype", "keras_history", "shape"}
        and isinstance(value["config"]["keras_history"], list)
    )


def _is_shape(value: Any) -> bool:
    """So short, too."""
    whole = isinstance(value, list) and len(value) <= _MOST_AXES
    return whole and all(axis is None or isinstance(axis, int) for axis in value)


def _arguments(nodes: Any) -> Any:
    """What the first call was given first."""
    try:
        return nodes[0]["args"][0]
    except (LookupError, TypeError):
        return None


def _shapes(nodes: Any) -> Any:
    """Those of the first argument of the first call: one, or a list."""
    given = _arguments(nodes)
    return list(map(_shape_of, given)) if isinstance(given, list) else _shape_of(given)


def _shape_of(tensor: Any) -> list[Any] | None:
    shape = tensor["config"]["shape"] if _is_tensor(tensor) else None
    return shape if _is_shape(shape) else None
