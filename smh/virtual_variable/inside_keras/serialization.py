"""Lets Keras write compressed layers into its own formats.

Keras makes a model again from its configuration, which says nothing of pools, and then looks for
the variables that this model has. So the configuration of a compressed layer has to say how it is
compressed, and its class, in files, has to be one that reads that: `smh>Compressed`.

How: the layer's class is replaced by a subclass of the same name, with another `get_config`. A
configuration that is taken from outside is that of the whole layer or model, with one more entry;
inside it everything is written as ever. A model that smh does not know (one built from compressed
layers) thus writes compressed layers, each by itself; pools that they share are found again by
their number, as long as one file is written or read.

`keras.saving`, `copy.deepcopy`, `pickle`, `to_json` and TensorBoard all go through this.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import keras

from smh.errors import VirtualVariableError
from smh.virtual_variable import once
from smh.virtual_variable.inside_keras.global_state import global_attribute

NAME = "smh>Compressed"  # under which Keras' registry has what reads these configurations
ENTRY = "smh"  # the configuration's additional entry

_plain: ContextVar[bool] = ContextVar("smh_plain_configurations", default=False)


@contextlib.contextmanager
def plain_configurations():
    """Inside, configurations are those of the dense layers."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def describe_when_serialized(layer: keras.Layer) -> None:
    """Makes the configuration of `layer` say how it is compressed."""
    cls = type(layer)
    if "_smh_original" not in cls.__dict__:
        # Not by assignment: Keras' and PyTorch's `__setattr__` track what is assigned.
        object.__setattr__(layer, "__class__", _describing(cls))  # type: ignore[arg-type]


def objects_being_loaded() -> dict[Any, Any] | None:
    """What Keras keeps while it reads one file, to make shared objects once; else `None`.

    Relies on: `ObjectSharingScope` is open from the begin of a file's configuration to its end.
    """
    return global_attribute("shared_objects/id_to_obj_map")


@contextlib.contextmanager
def sharing_layers(layers: Iterable[keras.Layer] = ()) -> Iterator[None]:
    """Inside, each of `layers` that is in several others is written as one, and read as one.

    Relies on: as `objects_being_loaded`; `ObjectSharingScope` itself forgets the scope around it.
    """
    from keras.src.backend.common import global_state

    names = "shared_objects/id_to_obj_map", "shared_objects/id_to_config_map"
    before = [global_attribute(name) for name in names]
    for name in names:
        global_state.set_global_attribute(name, {})
    _mark_as_shared(layers)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            global_state.set_global_attribute(name, value)


def _mark_as_shared(layers: Iterable[keras.Layer]) -> None:
    """Makes Keras write for each of `layers` which object it is, so that it is read as one.

    Relies on: `record_object_after_serialization` writes that at an object's second occurrence.
    It writes it to the first one as well, but too late: what is stored then is a copy.
    """
    seen = global_attribute("shared_objects/id_to_config_map")
    for layer in layers if seen is not None else ():
        seen.setdefault(id(layer), {})


def read_described_by(reader: type) -> None:
    """Lets `reader.from_config` read each configuration with the additional entry.

    Most name the reader themselves. Those of a class that is looked up before anything is made, as
    that of a preset, keep its name.

    Relies on: `deserialize_keras_object` asks `_retrieve_class_or_fn`, by these names of arguments,
    for the class whose `from_config` it calls.
    """
    from keras.src.saving import serialization_lib

    asked = serialization_lib._retrieve_class_or_fn
    if "_smh_reader" in vars(asked):
        return

    @functools.wraps(asked)
    def retrieve(name, registered_name, module, obj_type, full_config, custom_objects=None):
        found = asked(name, registered_name, module, obj_type, full_config, custom_objects)
        config = full_config.get("config") if isinstance(full_config, dict) else None
        if obj_type == "class" and isinstance(config, dict) and ENTRY in config:
            return reader
        return found

    vars(retrieve)["_smh_reader"] = reader
    serialization_lib._retrieve_class_or_fn = retrieve


def has_presets(cls: type) -> bool:
    """Whether the class of a configuration is looked up by name, and compared, before it is read.

    So do libraries that keep models in folders: `Backbone.from_preset(folder)`.
    """
    return hasattr(cls, "from_preset")


@functools.cache
def _describing(original: Any) -> type:
    """The subclass of `original` that stands for it in a live model.

    Relies on: `serialize_keras_object` calls `get_config` and then takes the names under which to
    store the object from `obj.__class__`; `_is_default` is how Keras notes that a class does not
    override a method, and then makes the configuration from the constructor's arguments.
    """

    @functools.wraps(original.get_config)
    def get_config(self):
        return _described(self) if _is_outermost(self) else original.get_config(self)

    def from_config(cls, config, *args, **kwargs):
        if ENTRY in config:
            return keras.saving.get_registered_object(NAME).from_config(config)
        return original.from_config(config, *args, **kwargs)

    def save(self, filepath, *args, **kwargs):
        # Keras empties the file before it asks for the configuration.
        _check_format(str(filepath).endswith((".h5", ".hdf5")), self)
        self.get_config()
        keras.saving.get_registered_object(NAME).check(self)
        return original.save(self, filepath, *args, **kwargs)

    body = {
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
        "__class__": property(
            lambda self: cls if _is_outermost(self) and not has_presets(original) else original
        ),
        "_smh_original": original,
        # Bound to a class that `pickle` finds under its name.
        "_unpickle_model": original._unpickle_model,
        "get_config": get_config,
        "from_config": classmethod(from_config),
    }
    if issubclass(original, keras.Model):
        body["save"] = functools.wraps(original.save)(save)
    cls: Any = types.new_class(original.__name__, (original,), {}, lambda names: names.update(body))
    if has_presets(original):
        return cls
    # Both have the same name in files, and reading one is the reader's.
    reader = keras.saving.get_registered_object(NAME)
    package, name = NAME.split(">")
    keras.saving.register_keras_serializable(package, name)(cls)
    keras.saving.register_keras_serializable(package, name)(reader)
    return cls


def _is_outermost(layer: keras.Layer) -> bool:
    return not _plain.get() and bool(once.virtuals_below(layer))


def _described(layer: keras.Layer) -> dict[str, Any]:
    # Relies on: the writer of whole models in HDF5 sets this attribute.
    _check_format(global_attribute("use_legacy_config"), layer)
    reader = keras.saving.get_registered_object(NAME)
    if has_presets(type(layer)):
        reader.check(layer)  # who keeps presets writes configuration and weights by himself
    _mark_as_shared(layer._flatten_layers())
    with plain_configurations():
        entry = keras.saving.serialize_keras_object(layer)
    config = entry.pop("config")
    entry.pop("compile_config", None)  # stands where Keras looks for it, outside
    described = reader.describe(layer)
    return {**config, ENTRY: {"layer": entry, **described}}


def _check_format(is_hdf5: Any, layer: keras.Layer) -> None:
    if is_hdf5:
        raise VirtualVariableError(
            f"'{layer.name}' is compressed, and Keras' old HDF5 format for whole models has no "
            "place for that. Use `model.save('model.keras')`, or "
            "`model.save_weights('model.weights.h5')` for the values alone."
        )
