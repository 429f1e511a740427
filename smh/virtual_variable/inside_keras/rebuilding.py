"""A fresh model from a live one's configuration."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable.inside_keras.own import layers_in_several, own_layers
from smh.virtual_variable.inside_keras.serialization import plain_configurations, sharing_layers
from smh.virtual_variable.registered import unknown_objects

_MAKE_THEIR_OWN = (
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
)


def rebuild(
    model: keras.Layer, edit: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> keras.Layer:
    """Returns an equal model with fresh weights, built as `model` was.

    Args:
        model: a built model.
        edit: changes its configuration, if the new model is to be another one.

    Relies on: `get_build_config` returns the shapes that the model was built with; a `Lambda`
    is only deserialised outside of safe mode, which is right here: it comes from this process;
    `Model.build` of a subclassed model builds its layers and leaves `built` to who calls it.
    """
    from keras.src.saving.serialization_lib import SafeModeScope

    try:
        own = keras.saving.CustomObjectScope(_own_objects(model))
        with SafeModeScope(safe_mode=False), own, plain_configurations():
            with sharing_layers(layers_in_several(model)):
                config = model.get_config()
            with sharing_layers():
                fresh = type(model).from_config(edit(config) if edit else config)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"'{model.name}' ({type(model).__name__}) cannot be rebuilt from its configuration: "
            f"{error} A subclassed model needs get_config() (and from_config() if an argument is "
            "itself an object)."
        ) from error
    build_config = type(model).get_build_config(model)
    if not fresh.built and build_config:
        _name_alike(model, fresh)
        fresh.build_from_config(build_config)
        fresh.built = True  # as Keras does when it loads a model
    return fresh


def _name_alike(model: keras.Layer, fresh: keras.Layer) -> None:
    """Calls the layers as in `model`; Keras would count on, and give other paths each time.

    Relies on: a layer's name is an attribute, and gives its variables their paths when it is built.
    """
    old, new = list(own_layers(model)), list(own_layers(fresh))
    if len(old) == len(new):  # else some are made by `build`
        for before, after in zip(old, new, strict=True):
            after.name = before.name


def dense_config(model: keras.Layer) -> dict[str, Any]:
    """Returns Keras' configuration of `model` without its compression, as plain JSON.

    Nor does it say how the model, or one inside of it, was compiled: that names losses and metrics
    which nothing but training needs, and which need not be known where the model is built again.

    Raises:
        ArgumentError: if the model cannot be described by a configuration.
    """
    try:
        shared = layers_in_several(model)
        with plain_configurations(), sharing_layers(shared):
            config = keras.saving.serialize_keras_object(model)
        config = _not_compiled(json.loads(json.dumps(config)))
        _number_shared(config, {id(layer): i for i, layer in enumerate(shared)})
        return config
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"'{model.name}' ({type(model).__name__}) has no configuration that a file could hold: "
            f"{error} A class of your own needs get_config() and "
            "@keras.saving.register_keras_serializable(). Or save with architecture=False."
        ) from error


def from_dense_config(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None, safe_mode: bool
) -> keras.Layer:
    """Builds the model of `dense_config`.

    Raises:
        ArgumentError: it names classes that are not known here; the message says which, and from
            where to import them.
        Exception: whatever else Keras raises.
    """
    with naming_what_is_unknown(config, custom_objects or {}), sharing_layers():
        # A copy: Keras empties the configuration while it reads it.
        layer = keras.saving.deserialize_keras_object(
            copy.deepcopy(dict(config)), custom_objects, safe_mode=safe_mode
        )
    if isinstance(layer, keras.Layer):
        freeze_made_by_frozen(layer)
    return layer


def freeze_made_by_frozen(model: keras.Layer) -> None:
    """Freezes what frozen layers of Keras have inside where a file gives it back as trainable.

    Relies on: `trainable` is in a layer's configuration, but is handed down where it is set, not
    where a layer is made; on TensorFlow not either where it is set to what it is. Those of these
    classes make what they have inside themselves, others have its configuration in their own.
    """
    for layer in own_layers(model):
        if isinstance(layer, _MAKE_THEIR_OWN) and not layer.trainable:
            _, *inside = own_layers(layer)
            for part in inside:
                part.trainable = False


@contextlib.contextmanager
def naming_what_is_unknown(config: Any, known: Mapping[str, Any]) -> Iterator[None]:
    """Inside, an error of Keras is replaced if the reason is a class or function that is unknown.

    Keras' own message has the whole configuration in it.
    """
    config = copy.deepcopy(config)
    try:
        yield
    except Exception as error:
        unknown = unknown_objects(config, known)
        if not unknown:
            raise
        names = [name for _, name in unknown]
        raise ArgumentError(
            f"{_listed(unknown)} not known here. Import what defines it before, with "
            "@keras.saving.register_keras_serializable() above the definition, or pass "
            f"custom_objects={{{', '.join(f'{name!r}: {name}' for name in names)}}}."
        ) from error


def _listed(unknown: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"'{name}' of the module '{module}'" for module, name in unknown)
    return f"{listed} {'is' if len(unknown) == 1 else 'are'}"


def _not_compiled(config: Any) -> Any:
    """Relies on: beside the `config` of a compiled model stands its `compile_config`."""
    if isinstance(config, list):
        return [_not_compiled(value) for value in config]
    if not isinstance(config, dict):
        return config
    left_out = {"compile_config"} if {"class_name", "config"} <= config.keys() else set()
    return {key: _not_compiled(value) for key, value in config.items() if key not in left_out}


def _number_shared(config: Any, numbers: Mapping[int, int]) -> None:
    """Calls shared layers by small numbers, the same in every process; other objects by none.

    Relies on: `shared_object_id` is the `id` of an object, and says only what is the same object.
    """
    if isinstance(config, dict):
        number = numbers.get(config.pop("shared_object_id", None))
        if number is not None:
            config["shared_object_id"] = number
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        _number_shared(value, numbers)


def objects_of(model: keras.Layer, config: Any) -> dict[str, Any]:
    """The user's classes and functions that a model and its configuration are made of."""
    found = _own_objects(model)
    for module, name in unknown_objects(config, found):
        item = getattr(sys.modules.get(module), name, None)
        if item is not None:
            found[name] = item
    return found


def _own_objects(model: keras.Layer) -> dict[str, Any]:
    """The user's classes and functions that the model is made of, registered or not."""
    objects: dict[str, Any] = {}
    for layer in own_layers(model):
        for value in (layer, *vars(layer).values()):
            item = value if isinstance(value, types.FunctionType) else type(value)
            # A function that was made by `exec` has no module.
            if (item.__module__ or "").split(".")[0] not in ("keras", "builtins", "smh"):
                objects[item.__name__] = item
    return objects
