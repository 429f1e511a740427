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
from smh.exporting.naming import layer_in, listed_layers
from smh.exporting.signatures import Signature, tensor_specs
from smh.typing import itemsize
from smh.virtual_variable import virtual_variables
from smh.virtual_variable.inside_keras.overlay import Substitution
from smh.virtual_variable.inside_keras.recording import owner_of

# From the arguments of the function to pairs of a variable and what is read in its place.
Substitutes = Callable[[Sequence[Any], Sequence[Any]], Sequence[tuple[keras.Variable, Any]]]


def serving_function(
    model: keras.Layer, count: int, substitutes: Substitutes, keeps_state: bool = False
) -> tuple[Callable, list[keras.Variable]]:
    """Returns a call of `model` for inference as a function, to be traced.

    Args:
        model: the model.
        count: how many of the function's arguments are the model's; it may have more.
        substitutes: called with the model's arguments, and with the others.
        keeps_state: whether the function assigns what the model does. Else it forgets it.

    Returns:
        The function, and a list to which each trace adds the variables that were assigned to.
    """
    assigned: list[keras.Variable] = []

    def serve(*arguments):
        inputs, more = arguments[:count], arguments[count:]
        mapping = substitutes(inputs, more)
        with Substitution(state_mapping=mapping, assigning=keeps_state) as scope:
            outputs = model(*inputs, training=False)
        assigned.extend(scope.assigned)
        return outputs

    return serve, assigned


def factors_of(model: keras.Layer) -> list[keras.Variable]:
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


def stored_weights(model: keras.Layer) -> list[keras.Variable]:
    """All that a call may read but seeds and metrics: weights, factors and kept dense copies."""
    copies = [virtual._cached for virtual in virtual_variables(model)]
    return [*model.weights, *(copy for copy in copies if copy is not None)]


def refuse_state(
    model: keras.Layer, signature: Signature, assigned: Sequence[keras.Variable], format: str
) -> None:
    """Raises if an output depends on a variable that a call changes: a file keeps no state.

    A seed may be assigned and never used (the dropout of a recurrent layer makes its masks also
    where it does not apply them): what no output depends on may be forgotten.
    """
    variables = list({id(variable): variable for variable in assigned}.values())
    read = _read_by_outputs(model, signature, variables) if variables else []
    if read:
        layers = [owner_of(model, v) or layer_in(model, v.path) or model for v in read]
        raise ArgumentError(
            f"In '{model.name}' {listed_layers(layers, model)} assigns to "
            f"{sorted({v.path for v in read})} when it is called (random numbers, a stateful "
            f"layer), an output depends on it, and a file in the format {format!r} keeps no "
            "state. Export format='saved_model', or leave those layers out."
        )


def _read_by_outputs(
    model: keras.Layer, signature: Signature, variables: list[keras.Variable]
) -> list[keras.Variable]:
    """Those of `variables` from whose value before a call an output of the call is computed."""
    import tensorflow as tf

    serve, _ = serving_function(
        model, len(signature), lambda inputs, more: list(zip(variables, more, strict=True))
    )
    arguments = [*tensor_specs(signature), *(tf.TensorSpec(v.shape, v.dtype) for v in variables)]
    function = tf.function(serve, input_signature=arguments, autograph=False)
    graph = function.get_concrete_function().graph
    reached = _above(graph.outputs)
    given = graph.inputs[len(keras.tree.flatten(signature)) :]
    return [v for v, tensor in zip(variables, given, strict=False) if tensor.op.name in reached]


def _above(tensors: Sequence[Any]) -> set[str]:
    """The names of all operations of a graph that `tensors` are computed by.

    What a loop or a branch is given counts, whether it uses it or not.
    """
    found: set[str] = set()
    left = [tensor.op for tensor in tensors]
    while left:
        operation = left.pop()
        if operation.name not in found:
            found.add(operation.name)
            left += [tensor.op for tensor in operation.inputs]
    return found
