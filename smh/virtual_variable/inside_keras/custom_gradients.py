"""Variables whose gradient a function of `keras.ops.custom_gradient` gives by itself.

Only TensorFlow lets a function read variables that are none of its arguments, and asks it for their
gradients by its keyword `variables`. On JAX and PyTorch such a weight is not trained, or cannot be
read, dense or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras


def given_for(variables: Sequence[keras.Variable]) -> list[keras.Variable]:
    """Returns those of `variables` for which a function in the graph that is being traced does so.

    Relies on: in a graph, TensorFlow passes the results, the arguments and the variables of such a
    function through one `IdentityN`, whose gradient has a registered name. For that it reads each
    variable once more, after it has called the function.
    """
    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    operations = graph.get_operations()
    made = {id(op): number for number, op in enumerate(operations)}
    ends = [op for op in operations if op.type == "IdentityN" and _has_own_gradient(op)]
    read = {id(x.op.inputs[0]) for end in ends for x in end.inputs if _is_read_for(end, x, made)}
    captured = {id(outer) for outer, inner in graph.captures if id(inner) in read}
    return [v for v in variables if id(v.value.handle) in captured]


def _is_read_for(end, tensor, made: dict[int, int]) -> bool:
    """Whether a variable is read for `end` alone: one that was given as an argument is not."""
    later = made[id(tensor.op)] > made[id(end.inputs[0].op)]
    return tensor.op.type == "ReadVariableOp" and tensor.consumers() == [end] and later


def _has_own_gradient(operation) -> bool:
    try:
        return bool(operation.get_attr("_gradient_op_type"))
    except ValueError:
        return False


def refused_by(error: Exception, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
    """Returns those of `variables` that such a function reads and has no gradient for.

    Relies on: TensorFlow names them in its error. Dense, the layer cannot be called at all.
    """
    text = str(error)
    if keras.backend.backend() != "tensorflow" or "must accept keyword argument 'va" not in text:
        return []
    return [v for v in variables if f"'{v.value.name}'" in text]
