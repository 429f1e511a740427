"""Weights and states of a model into another one of the same layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.virtual_variable import own_layers, own_variables


def numbers_of(variable: keras.Variable) -> np.ndarray:
    """A copy of a variable's numbers, stored or computed."""
    # A copy: on JAX an assigned array is shared, and a training step deletes what it updates.
    return np.array(keras.ops.convert_to_numpy(variable.value))


def copy_into(
    plain: keras.Layer,
    model: keras.Layer,
    numbers: Callable[[keras.Variable], np.ndarray],
    added: Mapping[int, np.ndarray] | None = None,
) -> None:
    """Gives `plain` the weights of `model`, and what is frozen, and the state of its seeds.

    Args:
        plain: what `rebuild` gave.
        model: what it was rebuilt from.
        numbers: what a variable of `model` is in `plain`.
        added: for layers of `model`, by their `id`, the bias that they have in `plain` only.

    Raises:
        ArgumentError: `plain` has other layers or weights.
    """
    old_layers, new_layers = list(own_layers(model)), list(own_layers(plain))
    if len(old_layers) != len(new_layers):
        raise ArgumentError(_differs(model, f"{len(new_layers)} layers", f"{len(old_layers)}"))
    for old, new in zip(old_layers, new_layers, strict=True):
        bias = (added or {}).get(id(old))
        _copy(old, new, model, numbers, None if bias is None else new.bias)
        if bias is not None:
            new.bias.assign(bias)
        new._trainable = old.trainable


def _copy(old: keras.Layer, new: keras.Layer, model: keras.Layer, numbers, without) -> None:
    sources = own_variables(old)
    targets = [variable for variable in own_variables(new) if variable is not without]
    values = [numbers(variable) for variable in sources]
    shapes = [tuple(v.shape) for v in values], [tuple(v.shape) for v in targets]
    if shapes[0] != shapes[1]:
        raise ArgumentError(
            _differs(model, f"weights of shapes {shapes[1]} in '{new.name}'", str(shapes[0]))
        )
    for source, target, value in zip(sources, targets, values, strict=True):
        target.assign(value)
        target.trainable = source.trainable
    for source, target in zip(old._seed_generators, new._seed_generators, strict=True):
        target.state.assign(numbers_of(source.state))


def _differs(model: keras.Layer, got: str, expected: str) -> str:
    return (
        f"'{model.name}' ({type(model).__name__}) cannot be materialised: rebuilt from its own "
        f"get_config() it has {got}, expected {expected}. Let get_config return every argument "
        "that decides which layers and weights there are."
    )
