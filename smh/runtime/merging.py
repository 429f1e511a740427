"""Merges the scale and shift of a normalisation into the convolution before them.

A converter does that where kernels are constants, and could not where they were computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smh.coding.axes import along
from smh.runtime.litert_file import LitertFile

# Where the output's channels lie in the kernel, and where the bias is among the inputs.
_CHANNELS = {
    "CONV_2D": (0, 2),
    "DEPTHWISE_CONV_2D": (3, 2),
    "FULLY_CONNECTED": (0, 2),
    "TRANSPOSE_CONV": (0, 3),
}
_NONE = 0  # of the schema's `ActivationFunctionType`


def merge(file: LitertFile, graph: Any) -> None:
    """Leaves out a `MUL` or `ADD` of a constant for each channel that follows a kernel.

    Args:
        file: the file.
        graph: one of its graphs, in which kernels are constants; it is changed.
    """
    left = list(graph.operators)
    place = 0
    while place < len(left):
        following = _only_reader(graph, left, left[place])
        if following is not None and _merged(file, graph, left[place], following):
            left.remove(following)
        else:
            place += 1
    graph.operators = left


def _only_reader(graph: Any, operations: list[Any], before: Any) -> Any | None:
    """The one operation that reads what `before` returns, if nothing else does."""
    if len(before.outputs) != 1:
        return None
    number = int(before.outputs[0])
    readers = [o for o in operations if number in [int(n) for n in o.inputs]]
    alone = len(readers) == 1 and number not in [int(n) for n in graph.outputs]
    return readers[0] if alone else None


def _merged(file: LitertFile, graph: Any, before: Any, following: Any) -> bool:
    """Computes `following` in the kernel and bias of `before`, if that can be done."""
    kind, what = file.kind(before), file.kind(following)
    if kind not in _CHANNELS or what not in ("MUL", "ADD"):
        return False
    axis, bias_at = _CHANNELS[kind]
    if before.builtinOptions.fusedActivationFunction != _NONE:
        return False
    kernel = file.constant(graph.tensors[int(before.inputs[1])])
    other = [int(n) for n in following.inputs if int(n) != int(before.outputs[0])]
    constant = file.constant(graph.tensors[other[0]]) if len(other) == 1 else None
    if kernel is None or constant is None or kernel.dtype != np.float32:
        return False
    channels = kernel.shape[axis]
    if constant.shape[-1:] != (constant.size,) or constant.size not in (1, channels):
        if constant.size != 1:
            return False
    bias = _bias(file, graph, before, bias_at, channels)
    if bias is None:
        return False
    numbers = np.broadcast_to(constant.ravel(), [channels])
    if what == "MUL":
        factor = numbers.reshape(along(axis, kernel.ndim))
        _set(file, graph, before, 1, kernel * factor)
        bias = bias * numbers
    else:
        bias = bias + numbers
    _set(file, graph, before, bias_at, bias)
    before.outputs = following.outputs
    before.builtinOptions.fusedActivationFunction = following.builtinOptions.fusedActivationFunction
    return True


def _bias(file: LitertFile, graph: Any, operation: Any, at: int, channels: int) -> Any:
    number = int(operation.inputs[at]) if len(operation.inputs) > at else -1
    if number < 0:
        return np.zeros(channels, np.float32)
    return file.constant(graph.tensors[number])


def _set(file: LitertFile, graph: Any, operation: Any, at: int, array: np.ndarray) -> None:
    """Gives an operation a constant of its own: others may read the one it had."""
    inputs = [int(number) for number in operation.inputs]
    inputs += [-1] * (at + 1 - len(inputs))
    inputs[at] = file.add_constant(graph, "smh", array.astype(np.float32))
    operation.inputs = np.array(inputs, np.int32)
