"""LiteRT's operations that compute weights, in NumPy.

Each is called with the operation's options and its inputs, and returns an array, a list of them if
there are several outputs, or `None` where it does not do what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from smh.coding.axes import along
from smh.runtime.litert_file import LitertFile

# By the numbers of the schema's `ActivationFunctionType`: none, ReLU, to one, to six.
_LIMITS = {0: (None, None), 1: (0, None), 2: (-1, 1), 3: (0, 6)}


def dequantized(file: LitertFile, tensor: Any) -> np.ndarray | None:
    """The floats that the integers of a constant stand for, or `None`."""
    numbers = file.nibbles(tensor)
    numbers = file.constant(tensor) if numbers is None else numbers
    if numbers is None or numbers.dtype == "float16":
        return None if numbers is None else numbers.astype(np.float32)
    given = tensor.quantization
    axis = int(given.quantizedDimension)
    scale, zero = np.asarray(given.scale, np.float32), np.asarray(given.zeroPoint)
    if scale.size > 1:
        shape = along(axis, numbers.ndim)
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (numbers.astype(np.int32) - zero).astype(np.float32) * scale


def densified(file: LitertFile, tensor: Any) -> np.ndarray | None:
    """A sparse constant with its zeros, or `None` if it is laid out as smh does not."""
    layout, data = tensor.sparsity, file.model.buffers[tensor.buffer].data
    if layout is None or data is None or tensor.type != 0 or layout.blockMap is not None:
        return None
    *dense, last = layout.dimMetadata
    shape = [int(size) for size in tensor.shape]
    in_order = list(layout.traversalOrder) == list(range(len(shape)))
    if not in_order or any(one.format for one in dense) or not last.format:
        return None
    ends = np.asarray(last.arraySegments.values, np.int64)
    rows = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    array = np.zeros((len(ends) - 1, shape[-1]), np.float32)
    numbers = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
    array[rows, np.asarray(last.arrayIndices.values, np.int64)] = numbers
    return array.reshape(shape)


def _arithmetic(function: Callable) -> Callable:
    def compute(options: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        limits = _LIMITS.get(getattr(options, "fusedActivationFunction", 0))
        if limits is None:
            return None
        value = function(a, b)
        return value if limits == (None, None) else np.clip(value, *limits)

    return compute


def _elementwise(function: Callable) -> Callable:
    return lambda options, *arrays: function(*arrays)


def _reshape(options: Any, array: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
    return array.reshape([int(n) for n in (options.newShape if shape is None else shape)])


def _split(options: Any, axis: np.ndarray, array: np.ndarray) -> list[np.ndarray]:
    return np.split(array, options.numSplits, int(axis))


def _split_sizes(
    options: Any, array: np.ndarray, sizes: np.ndarray, axis: np.ndarray
) -> list[np.ndarray] | None:
    if (sizes < 0).any():
        return None
    return np.split(array, np.cumsum(sizes)[:-1], int(axis))


def _slice(options: Any, array: np.ndarray, begin: np.ndarray, size: np.ndarray) -> np.ndarray:
    cuts = [slice(b, None if n < 0 else b + n) for b, n in zip(begin, size, strict=True)]
    return array[tuple(cuts)]


def _strided_slice(
    options: Any, array: np.ndarray, begin: np.ndarray, end: np.ndarray, strides: np.ndarray
) -> np.ndarray | None:
    if options.ellipsisMask or options.newAxisMask:
        return None
    cuts: list[Any] = []
    for axis, (b, e, stride) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if options.shrinkAxisMask & bit:
            cuts.append(int(b))
        else:
            first = None if options.beginMask & bit else int(b)
            cuts.append(slice(first, None if options.endMask & bit else int(e), int(stride)))
    return array[tuple(cuts)]


def _gather(options: Any, array: np.ndarray, indices: np.ndarray) -> np.ndarray | None:
    return None if options.batchDims else np.take(array, indices, options.axis)


def _squeeze(options: Any, array: np.ndarray) -> np.ndarray:
    axes = options.squeezeDims
    return array.squeeze(None if axes is None else tuple(int(axis) for axis in axes))


def _sum(options: Any, array: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return array.sum(tuple(np.atleast_1d(axes).tolist()), keepdims=bool(options.keepDims))


def _product(options: Any, array: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return array.prod(tuple(np.atleast_1d(axes).tolist()), keepdims=bool(options.keepDims))


def _matmul(options: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a = a.swapaxes(-1, -2) if options.adjX else a
    return a @ (b.swapaxes(-1, -2) if options.adjY else b)


def _fully_connected(
    options: Any, a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray | None:
    if options.fusedActivationFunction or a.ndim != 2:
        return None
    return a @ b.T + (0 if bias is None else bias)


COMPUTE: dict[str, Callable] = {
    "ADD": _arithmetic(np.add),
    "SUB": _arithmetic(np.subtract),
    "MUL": _arithmetic(np.multiply),
    "DIV": _arithmetic(np.divide),
    "MAXIMUM": _elementwise(np.maximum),
    "MINIMUM": _elementwise(np.minimum),
    "EXP": _elementwise(np.exp),
    "TANH": _elementwise(np.tanh),
    "SIGN": _elementwise(np.sign),
    "ABS": _elementwise(np.abs),
    "NEG": _elementwise(np.negative),
    "SQRT": _elementwise(np.sqrt),
    "RELU": _elementwise(lambda array: np.maximum(array, 0)),
    "SELECT": _elementwise(np.where),
    "SELECT_V2": _elementwise(np.where),
    "CAST": _elementwise(lambda array: array),  # every result gets its tensor's dtype
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _elementwise(lambda array, axis: np.expand_dims(array, int(axis))),
    "TRANSPOSE": _elementwise(np.transpose),
    "TILE": _elementwise(np.tile),
    "BROADCAST_TO": _elementwise(np.broadcast_to),
    "CONCATENATION": lambda options, *arrays: np.concatenate(arrays, options.axis),
    "PACK": lambda options, *arrays: np.stack(arrays, options.axis),
    "SPLIT": _split,
    "SPLIT_V": _split_sizes,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "GATHER": _gather,
    "SUM": _sum,
    "REDUCE_PROD": _product,
    "BATCH_MATMUL": _matmul,
    "FULLY_CONNECTED": _fully_connected,
}
