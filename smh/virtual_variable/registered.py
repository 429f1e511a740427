"""Classes and functions in descriptions: by the name under which Keras' registry knows them.

A description is read by another process. It names what smh ships by `smh>Name`, and what is the
user's by the name given to `keras.saving.register_keras_serializable`, so that reading one runs no
code that the reader has not imported by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from smh.errors import ArgumentError, ArtifactError

_PLACES = ("activations", "ops")  # where Keras has functions of one tensor


def name_of(thing: Any, role: str) -> str:
    """Returns the registered name of a class or function.

    Args:
        thing: the class or function.
        role: what it is, for the message: `"modifier"`.

    Raises:
        ArgumentError: if another process could not find it by that name.
    """
    own = getattr(thing, "__name__", repr(thing))
    name = keras.saving.get_registered_name(thing) if hasattr(thing, "__name__") else own
    if keras.saving.get_registered_object(name) is thing:
        return name
    advice = "Put `@keras.saving.register_keras_serializable()` above its definition"
    if own == "<lambda>":
        advice = (
            "Write it as a named function with `@keras.saving.register_keras_serializable()` "
            "above its definition"
        )
    raise ArgumentError(
        f"The {role} {own!r} ({getattr(thing, '__module__', type(thing).__module__)}) cannot be "
        f"saved, because a file could not name it. {advice}, in a module that is imported before "
        "the file is loaded. (`model.save_weights(path)` needs no such name.)"
    )


def find(name: Any, kind: type, role: str) -> type:
    """Returns the class that is registered as `name`, a subclass of `kind`, or raises."""
    found = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ArtifactError(_unknown(role, name, found))
    return found


def describe_object(thing: Any, role: str) -> dict[str, Any]:
    """Returns `{"class", "config"}` of an object with `get_config`, as plain JSON."""
    name = name_of(type(thing), role)
    return {"class": name, "config": plain(thing.get_config(), f"{role} '{name}'")}


def entry_of(entry: Any, kind: type, role: str) -> tuple[type, dict[str, Any]]:
    """Returns class and config of what `describe_object` returned, checked."""
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        raise ArtifactError(
            f"A {role} must be described by 'class' and 'config', got {entry!r:.200}."
        )
    return find(entry.get("class"), kind, role), entry["config"]


def make_object(entry: Any, kind: type, role: str) -> Any:
    """Makes the object again that `describe_object` described, by its class' `from_config`."""
    cls, config = entry_of(entry, kind, role)
    maker: Any = cls
    try:
        return maker.from_config(config)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"The {role} '{entry['class']}' cannot be made from config {config!r:.200}: {error!r}. "
            "Its get_config() must return the arguments of its constructor."
        ) from error


def describe_function(function: Any, role: str) -> Any:
    """Returns a name for a registered function, or one of Keras' own."""
    name = getattr(function, "__name__", "")
    for place in _PLACES:
        if getattr(getattr(keras, place), name, None) is function:
            return {"keras": place, "name": name}
    return name_of(function, role)


def find_function(entry: Any, role: str) -> Any:
    """Returns the function that `describe_function` described."""
    found = None
    if isinstance(entry, str):
        found = keras.saving.get_registered_object(entry)
    elif isinstance(entry, dict) and entry.get("keras") in _PLACES:
        place, name = getattr(keras, entry["keras"]), entry.get("name")
        found = getattr(place, name, None) if isinstance(name, str) else None
    if not callable(found) or isinstance(found, type):
        raise ArtifactError(_unknown(role, entry, found))
    return found


def plain(config: Any, what: str) -> dict[str, Any]:
    """Returns `config` as JSON gives it back, or raises if JSON cannot hold it."""
    try:
        config = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"get_config() of the {what} returns what JSON cannot hold: {error}. Return numbers, "
            "strings, lists and dicts."
        ) from error
    if not isinstance(config, dict):
        raise ArgumentError(f"get_config() of the {what} must return a dict, got {config!r:.80}.")
    return config


def unknown_objects(config: Any, known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns module and name of what a configuration of Keras names and nobody here knows.

    Args:
        config: as Keras writes it.
        known: objects by name, besides those that are registered.
    """
    found: dict[tuple[str, str], None] = {}
    for entry in _entries(config):
        names = {str(entry["class_name"]), str(entry.get("registered_name"))}
        if entry["class_name"] == "function":
            names = {str(entry["config"])}
        module = str(entry["module"])
        registered = map(keras.saving.get_registered_object, names)
        own = module.split(".")[0] in ("keras", "builtins", "smh")
        if not own and not names & set(known) and not any(item is not None for item in registered):
            name = min(names - {"None"}, key=len)
            found[module, name] = None
    return list(found)


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """The objects in a configuration, those in others too."""
    if isinstance(config, dict):
        if config.get("module") is not None and "class_name" in config:
            yield config
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from _entries(value)


def _unknown(role: str, name: Any, found: Any) -> str:
    if found is not None:
        return f"'{name!r:.100}' is registered with Keras, but is no {role}."
    return (
        f"The {role} {name!r:.200} is not known in this process. Import the module that defines "
        "it, with `@keras.saving.register_keras_serializable()` above the definition, before "
        "loading."
    )
