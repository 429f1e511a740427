"""A model as a TensorFlow function, with other values in the place of some of its variables.

Converters fold whatever is computed from constants, and to them a variable is one: a product of two
small factors would end in the file as one large constant. So each format puts something in the
place of the factors that its converter cannot fold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable import virtual_variables
from smh.virtual_variable.inside_keras.overlay import Substitution
from smh.virtual_variable.weight_spec import itemsize

# From the arguments of the function to pairs of a variable and what is read in its place.
Substitutes = Callable[[Sequence[Any], Sequence[Any]], Sequence[tuple[keras.Variable, Any]]]


def signature_of(model: keras.Model, given: Sequence[Any] | None) -> list:
    """Returns for each positional argument of `model` a structure of `tf.TensorSpec`.

    Args:
        model: a built model.
        given: the same of `keras.InputSpec`, `keras.KerasTensor` or `tf.TensorSpec`; `None` takes
            the model's own, as it was built.
    """
    import tensorflow as tf

    if given is not None and not isinstance(given, (list, tuple)):
        raise ArgumentError(
            "input_signature must be a list with a keras.InputSpec (or a structure of them) for "
            f"each positional argument of the model, got {given!r}."
        )
    found = _own_signature(model) if given is None else list(given)
    flat = keras.tree.flatten(found)
    names = [getattr(spec, "name", None) or f"input_{i}" for i, spec in enumerate(flat)]
    for spec in flat:
        if getattr(spec, "shape", None) is None or getattr(spec, "dtype", None) is None:
            raise ArgumentError(
                f"input_signature must give every input's shape and dtype, got {spec!r}. Write "
                "keras.InputSpec(shape=(None, ...), dtype='float32')."
            )
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for spec, name in zip(flat, names, strict=True)
    ]
    return list(keras.tree.pack_sequence_as(found, specs))


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


def serving_function(
    model: keras.Model, count: int, substitutes: Substitutes
) -> tuple[Callable, list[keras.Variable]]:
    """Returns a call of `model` for inference as a function, to be traced.

    Args:
        model: the model.
        count: how many of the function's arguments are the model's; it may have more.
        substitutes: called with the model's arguments, and with the others.

    Returns:
        The function, and a list to which each trace adds the variables that were assigned to.
    """
    assigned: list[keras.Variable] = []

    def serve(*arguments):
        inputs, more = arguments[:count], arguments[count:]
        with Substitution(state_mapping=substitutes(inputs, more)) as scope:
            outputs = model(*inputs, training=False)
        assigned.extend(scope.assigned)
        return outputs

    return serve, assigned


def factors_of(model: keras.Model) -> list[keras.Variable]:
    """The variables that must not be folded with one another: what weights are computed from.

    A scale is one number, so a source's variables suffice where there is a source. Parts that take
    more bytes than their weight (a pruned one and its mask) may be folded: that makes it smaller.
    """
    found: dict[int, keras.Variable] = {}
    for virtual in virtual_variables(model):
        if virtual.is_computed:
            parametrization = virtual.parametrization
            source = parametrization.source
            variables = parametrization.parts if source is None else source.variables
            if source is not None or _bytes(variables) < _bytes([virtual]):
                found.update((id(v), v) for v in variables)
    return list(found.values())


def _bytes(variables: Sequence[keras.Variable]) -> int:
    return sum(math.prod(v.shape) * itemsize(v._dtype) for v in variables)


def stored_weights(model: keras.Model) -> list[keras.Variable]:
    """All that a call may read but seeds and metrics: weights, factors and kept dense copies."""
    copies = [virtual._cached for virtual in virtual_variables(model)]
    return [*model.weights, *(copy for copy in copies if copy is not None)]


def refuse_state(model: keras.Model, assigned: Sequence[keras.Variable], format: str) -> None:
    """Raises if a call changes variables, which a file of `format` could not."""
    if assigned:
        raise ArgumentError(
            f"'{model.name}' assigns to {sorted({v.path for v in assigned})} when it is called "
            f"(random numbers, a stateful layer), and a file in the format {format!r} keeps no "
            "state. Export format='saved_model', or leave those layers out."
        )
