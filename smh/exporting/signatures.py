"""What a model is called with, as shapes, dtypes and names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable.inside_keras.graph import input_names

# For each positional argument of a model a structure of `keras.KerasTensor`.
Signature = list[Any]

_AUTOMATIC = re.compile(r"keras_tensor(_\d+)?|input_layer(_\d+)?")


def signature_of(model: keras.Model, given: Any = None) -> Signature:
    """Returns for each positional argument of `model` a structure of `keras.KerasTensor`.

    Args:
        model: a built model.
        given: the same of `keras.InputSpec`, `keras.KerasTensor` or `tf.TensorSpec`; for a
            functional model with several inputs also a flat list of them, or the structure that
            it takes. `None` takes the model's own, as it was built.

    Raises:
        ArgumentError: it does not say all shapes and dtypes, or does not fit the model.
    """
    found = _own_signature(model) if given is None else _as_arguments(model, given)
    flat = keras.tree.flatten(found)
    own = [tensor.name for tensor in getattr(model, "inputs", None) or []] or [""] * len(flat)
    default = [name if _is_given(name) else _free(f"input_{i}", own) for i, name in enumerate(own)]
    asked = [None] * len(flat) if given is None else [getattr(s, "name", None) for s in flat]
    names = [name or other for name, other in zip(asked, default, strict=True)]
    for spec in flat:
        if getattr(spec, "shape", None) is None or getattr(spec, "dtype", None) is None:
            raise ArgumentError(
                f"input_signature must give every input's shape and dtype, got {spec!r}. Write "
                "keras.InputSpec(shape=(None, ...), dtype='float32')."
            )
    specs = [
        keras.KerasTensor(tuple(spec.shape), dtype=_dtype_name(spec.dtype), name=name)
        for spec, name in zip(flat, names, strict=True)
    ]
    return list(keras.tree.pack_sequence_as(found, specs))


def _is_given(name: str) -> bool:
    """Whether it is not Keras' automatic one, which would be another in each process."""
    return bool(name) and not _AUTOMATIC.fullmatch(name)


def _free(name: str, taken: Sequence[str]) -> str:
    return _free(f"{name}_", taken) if name in taken else name


def tensor_specs(signature: Signature) -> list[Any]:
    """Returns the same structure of `tf.TensorSpec`."""
    import tensorflow as tf

    return keras.tree.map_structure(
        lambda spec: tf.TensorSpec(spec.shape, spec.dtype, name=spec.name), signature
    )


def with_sizes(signature: Signature, shapes: Sequence[tuple]) -> Signature:
    """Returns the same signature with other shapes, in the order of the flat structure."""
    flat = keras.tree.flatten(signature)
    specs = [
        keras.KerasTensor(shape, dtype=spec.dtype, name=spec.name)
        for spec, shape in zip(flat, shapes, strict=True)
    ]
    return list(keras.tree.pack_sequence_as(signature, specs))


def one_at_a_time(signature: Signature) -> Signature:
    """Returns the same signature with one example a batch, where that size is free."""
    shapes = [tuple(spec.shape) for spec in keras.tree.flatten(signature)]
    return with_sizes(signature, [(1, *s[1:]) if s and s[0] is None else s for s in shapes])


def written(signature: Signature) -> str:
    """What a user writes to get `signature`."""
    specs = [
        f"keras.InputSpec(shape={spec.shape}, dtype={spec.dtype!r})"
        for spec in keras.tree.flatten(signature)
    ]
    return f"input_signature=[{', '.join(specs)}]"


def _own_signature(model: keras.Model) -> list:
    if getattr(model, "inputs", None):
        # A functional model takes one structure, in which its inputs were given.
        return list(model.inputs) if isinstance(model, keras.Sequential) else [model.input]
    # Not on the instance, where smh refuses it: no configuration is saved here.
    built_with = type(model).get_build_config(model) or {}
    shapes = list(built_with.get("shapes_dict", {"": built_with.get("input_shape")}).values())
    if not shapes or None in shapes:
        raise ArgumentError(
            f"'{model.name}' does not know the shapes of its inputs. Give them: "
            "input_signature=[keras.InputSpec(shape=(None, ...), dtype='float32')]."
        )
    return [_specs(shape, model.variable_dtype) for shape in shapes]


def _specs(shape: Any, dtype: str) -> Any:
    if isinstance(shape, dict):
        return {key: _specs(inner, dtype) for key, inner in shape.items()}
    if all(isinstance(size, (int, type(None))) for size in shape):
        return keras.InputSpec(shape=(None, *shape[1:]), dtype=dtype)
    return [_specs(inner, dtype) for inner in shape]


def _as_arguments(model: keras.Model, given: Any) -> list:
    """Returns `given` as a list with one structure for each positional argument."""
    if isinstance(given, dict):
        given = [given]
    if not isinstance(given, (list, tuple)):
        raise ArgumentError(
            "input_signature must be a list with a keras.InputSpec (or a structure of them) for "
            f"each positional argument of the model, got {given!r}."
        )
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return list(given)
    flat = keras.tree.flatten(list(given))
    if len(flat) != len(inputs):
        raise ArgumentError(
            f"'{model.name}' has {len(inputs)} inputs, {input_names(inputs)}, and input_signature "
            f"{len(flat)}. Give one keras.InputSpec for each, in this order."
        )
    # It takes one argument, and a list of what is in it leaves no doubt.
    own = _own_signature(model)
    return list(given) if _alike(given, own) else keras.tree.pack_sequence_as(own, flat)


def _alike(given: Any, own: list) -> bool:
    try:
        keras.tree.assert_same_structure(list(given), own)
    except (ValueError, TypeError):
        return False
    return True


def _dtype_name(dtype: Any) -> str:
    return getattr(dtype, "name", None) or keras.backend.standardize_dtype(dtype)
