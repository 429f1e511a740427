"""Delays a computation until a layer's inputs are there.

The factors are there from the start, so an engine that runs whatever is ready would compute the
weights of all layers first and hold them all. Eager engines run in program order anyway.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import keras

from smh.virtual_variable.inside_keras.overlay import Overlay


@contextlib.contextmanager
def computed_after(inputs: Any, variables: Sequence[keras.Variable]):
    """Inside, whatever is computed from `variables` comes after `inputs` have been computed.

    Args:
        inputs: a structure that holds tensors, among other things.
        variables: all variables that will be read.

    Yields:
        `inputs`, to be used in place of what was given.
    """
    flat = keras.tree.flatten(inputs)
    where = [i for i, x in enumerate(flat) if _is_ordered_by_data(x)]
    if not where:
        yield inputs
        return
    values, tensors = _tied([v.value for v in variables], [flat[i] for i in where])
    for i, tensor in zip(where, tensors, strict=True):
        flat[i] = tensor
    with Overlay(state_mapping=list(zip(variables, values, strict=True))):
        yield keras.tree.pack_sequence_as(inputs, flat)


def _is_ordered_by_data(x: Any) -> bool:
    """Whether `x` is a tensor of a graph or trace, in which only data decide what comes first."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return isinstance(x, tf.Tensor) and not tf.executing_eagerly()
    if keras.backend.backend() == "jax":
        import jax

        return isinstance(x, jax.core.Tracer)
    return False


def _tied(values: list, tensors: list) -> tuple[list, list]:
    """Returns both unchanged, but none of them before all are there.

    TensorFlow's optimizer drops an `IdentityN` of which an output is unused, hence both. A control
    dependency would not do: padding is merged with the convolution behind it, control edges and
    all, and the convolution would have to wait for itself.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        both = tf.identity_n([*values, *tensors])
        values, passed = both[: len(values)], both[len(values) :]
        for old, new in zip(tensors, passed, strict=True):
            _keep_mask(old, new)
        return values, passed
    import jax

    return jax.lax.optimization_barrier((values, tensors))


def has_mask(tensor: Any) -> bool:
    """Whether a tensor has a mask, which an array would lose."""
    from keras.src.backend.common.masking import get_keras_mask

    return get_keras_mask(tensor) is not None


def _keep_mask(old: Any, new: Any) -> None:
    """Relies on: Keras keeps the mask of a tensor as an attribute of the tensor."""
    from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

    mask = get_keras_mask(old)
    if mask is not None:
        set_keras_mask(new, mask)
