"""Back to a plain Keras model: `smh.materialize`."""

from __future__ import annotations

import keras
import numpy as np

from smh.errors import ArgumentError, UnbuiltModelError
from smh.virtual_variable import own_layers, own_variables
from smh.virtual_variable.inside_keras.rebuilding import rebuild


def materialize(model: keras.Model) -> keras.Model:
    """Returns a new plain Keras model with dense weights and no smh in it.

    Use it to hand a model to tools that know nothing of smh, or to change weights one by one.
    The given model is unchanged. Neither optimizer nor compilation is carried over.

    Args:
        model: a built model, compressed or not.

    Returns:
        A model of the same class and configuration, whose predictions are equal.

    Raises:
        ArgumentError: if the model cannot be rebuilt from its own configuration; a subclassed
            model needs `get_config`.

    Cost: the dense weights once more in memory.

    Example:
        >>> plain = smh.materialize(smh.compress(model, fraction=0.1))
        >>> plain.save("plain.keras")
    """
    if not isinstance(model, keras.Layer):
        raise ArgumentError(f"model must be a Keras 3 model or layer, got {type(model).__name__}.")
    if not model.built:
        raise UnbuiltModelError(f"'{model.name}' is not built: there are no weights to copy.")
    plain = rebuild(model)
    old_layers, new_layers = list(own_layers(model)), list(own_layers(plain))
    if len(old_layers) != len(new_layers):
        raise ArgumentError(_differs(model, f"{len(new_layers)} layers", f"{len(old_layers)}"))
    for old, new in zip(old_layers, new_layers, strict=True):
        _copy(old, new, model)
    return plain


def _copy(old: keras.Layer, new: keras.Layer, model: keras.Model) -> None:
    sources, targets = own_variables(old), own_variables(new)
    shapes = [tuple(v.shape) for v in sources], [tuple(v.shape) for v in targets]
    if shapes[0] != shapes[1]:
        raise ArgumentError(
            _differs(model, f"weights of shapes {shapes[1]} in '{new.name}'", str(shapes[0]))
        )
    for source, target in zip(sources, targets, strict=True):
        # Copies: on JAX an assigned array is shared, and a training step deletes what it updates.
        target.assign(np.array(keras.ops.convert_to_numpy(source.value)))
        target.trainable = source.trainable
    for source, target in zip(old._seed_generators, new._seed_generators, strict=True):
        target.state.assign(np.array(keras.ops.convert_to_numpy(source.state.value)))
    new._trainable = old.trainable


def _differs(model: keras.Model, got: str, expected: str) -> str:
    return (
        f"'{model.name}' ({type(model).__name__}) cannot be materialised: rebuilt from its own "
        f"get_config() it has {got}, expected {expected}. Let get_config return every argument "
        "that decides which layers and weights there are."
    )
