"""What a model's outputs went through at last: a softmax, a sigmoid, or neither."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.ops import nn as operations

# They hand on what they get, number by number.
_PLAIN = (
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.Reshape,
    keras.layers.Flatten,
)


def symbolic_output(model: keras.Model) -> Any:
    """Returns what a model returns, as `KerasTensor`s in the structure that it has.

    Relies on: `Functional.output` has the structure that the model was made with; a `Sequential`
    has one output, and its own `output` is not to be had before it was called.

    Returns:
        `None` for a model whose outputs are known only when it is called.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return None
    return outputs[0] if isinstance(model, keras.Sequential) else model.output


def output_activations(model: keras.Model) -> list[str] | None:
    """Returns "softmax", "sigmoid" or "linear" (neither) for each output of a model, flattened.

    Relies on: an output of a functional or sequential model is a `KerasTensor` whose
    `_keras_history` names the operation that made it, its node and the place among its outputs;
    `keras.ops.softmax` and `sigmoid` on such tensors are operations of these classes.

    Returns:
        `None` for a model whose outputs are known only when it is called.
    """
    outputs = getattr(model, "outputs", None)
    return [_of_tensor(tensor) for tensor in outputs] if outputs else None


def _of_tensor(tensor: Any) -> str:
    history = tensor._keras_history
    operation = history.operation
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return _of_tensor(operation.outputs[history.tensor_index])
    plain = isinstance(operation, _PLAIN) or (
        isinstance(operation, keras.layers.Activation) and _named(operation) == "linear"
    )
    inputs = operation._inbound_nodes[history.node_index].input_tensors
    return _of_tensor(inputs[0]) if plain and inputs else _named(operation)


def _named(operation: Any) -> str:
    if isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    if isinstance(operation, keras.layers.Softmax | operations.Softmax):
        return "softmax"
    if isinstance(operation, operations.Sigmoid):
        return "sigmoid"
    activation = getattr(operation, "activation", None)
    known = {keras.activations.softmax: "softmax", keras.activations.sigmoid: "sigmoid"}
    return known.get(activation, "linear") if callable(activation) else "linear"
