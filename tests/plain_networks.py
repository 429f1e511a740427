"""A reader of architectures in plain Python: written from docs/format.md, not from smh.

It puts back what the header's key `network` leaves out of Keras' configuration of a model. Like
`plain_reader`, it shares no code with smh and trusts the file.
"""

import json

FLOATS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
KEYS = {"name", "inbound_nodes", "build_config"}


def architecture(entry):
    """Returns Keras' configuration of a model, from its entry in the header."""
    return with_floats(whole(entry.get("network")) or entry.get("architecture"))


def with_floats(value):
    if isinstance(value, list):
        return [with_floats(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["smh float"]:
        value = value["smh float"]
        if not isinstance(value, dict):
            return FLOATS[value]
    return {key: with_floats(item) for key, item in value.items()}


def whole(value):
    """Returns `value` with all lists of layers completed, inner ones first."""
    if isinstance(value, list):
        return [whole(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: whole(item) for key, item in value.items()}
    if are_members(value.get("layers")):
        kept = Kept()
        value["layers"] = [kept.completed(member) for member in value["layers"]]
    return value


def are_members(value):
    return isinstance(value, list) and all(
        isinstance(member, dict)
        and isinstance(member.get("class_name"), str)
        and isinstance(member.get("config"), dict)
        for member in value
    )


class Kept:
    """What is kept in mind of the members of one list."""

    def __init__(self):
        self.dtype, self.shape = "float32", None
        self.origins = {}
        self.before, self.name = {}, None
        self.built, self.kwargs = {}, {}

    def completed(self, member):
        found = {key: item for key, item in member.items() if key not in ("lacks", "shape")}
        kind, name = member["class_name"], member["config"].get("name")
        missing = KEYS - set(member) - set(member.get("lacks", []))
        if "inbound_nodes" in member:
            found["inbound_nodes"] = self.with_tensors(member["inbound_nodes"])
        elif "inbound_nodes" in missing and "inbound_nodes" in self.before:
            shape = member["shape"] if is_shape(member.get("shape")) else self.shape
            tensor = self.tensor([self.name, 0, 0], self.dtype, shape)
            found["inbound_nodes"] = [{"args": [tensor], "kwargs": self.kwargs.get(kind, {})}]
        call = first(found.get("inbound_nodes")) or {}
        if "name" in missing and "name" in self.before and isinstance(name, str):
            found["name"] = name
        if "build_config" in missing and self.built.get(kind):
            found["build_config"] = {"input_shape": shapes(first(call.get("args")))}
        self.before, self.name = found, name if isinstance(name, str) else None
        self.built[kind] = "build_config" in found
        if is_short(call.get("kwargs")):
            self.kwargs[kind] = call["kwargs"]
        return found

    def with_tensors(self, value):
        if isinstance(value, list):
            return [self.with_tensors(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "from" not in value:
            return {key: self.with_tensors(value[key]) for key in sorted(value)}
        origin = value["from"]
        history = [origin, 0, 0] if isinstance(origin, str) else origin
        dtype, shape = self.origins.get(json.dumps(history), (self.dtype, self.shape))
        return self.tensor(history, value.get("dtype", dtype), value.get("shape", shape))

    def tensor(self, history, dtype, shape):
        if is_short(dtype) and is_shape(shape):
            self.dtype, self.shape = self.origins[json.dumps(history)] = dtype, shape
        config = {"dtype": dtype, "keras_history": history, "shape": shape}
        return {"class_name": "__keras_tensor__", "config": config}


def first(items):
    return items[0] if items and isinstance(items, list) else None


def shapes(argument):
    if isinstance(argument, list):
        return [shape_of(item) for item in argument]
    return shape_of(argument)


def shape_of(value):
    if not isinstance(value, dict) or value.get("class_name") != "__keras_tensor__":
        return None
    shape = value["config"].get("shape")
    return shape if is_shape(shape) else None


def is_short(value):
    return isinstance(value, (str, dict)) and len(repr(value)) <= 200


def is_shape(value):
    numbers = value if isinstance(value, list) else [""]
    return len(numbers) <= 32 and all(n is None or isinstance(n, int) for n in numbers)
