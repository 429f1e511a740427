"""What a layer asked for, before its weight became virtual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.typing import Shape

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass(frozen=True)
class WeightSpec:
    """What a layer originally asked for.

    Attributes:
        path: full Keras path, `block1/conv/kernel`.
        name: bare name, `kernel`.
        shape: shape of the weight.
        dtype: its dtype, `float32`.
        initial_std: returns the standard deviation that the layer's own initializer gave.
    """

    path: str
    name: str
    shape: Shape
    dtype: str
    initial_std: Callable[[], float] = field(repr=False)


_CHUNK = 2**16  # numbers: a few passes over them stay in the caches
_CHUNK_FROM_DEVICE = 2**20  # numbers


def std_of(value: Any) -> float:
    """Standard deviation of initial values; for a constant weight its magnitude.

    Computed in pieces (Chan, Golub, LeVeque 1979), so that a large weight is not copied, let alone
    to double precision.
    """
    flat = _flat(value)
    size_of_chunk = _CHUNK if isinstance(flat, np.ndarray) else _CHUNK_FROM_DEVICE
    count, mean, squares = 0, 0.0, 0.0  # squares: the sum of squared distances from the mean
    first, is_constant = 0.0, True
    for begin in range(0, flat.shape[0], size_of_chunk):
        chunk = flat[begin : begin + size_of_chunk]
        if not isinstance(chunk, np.ndarray):
            chunk = ops.convert_to_numpy(chunk)
        chunk = np.array(chunk, "float64")
        # NaN is not equal to itself, and shows in the sums: `compress` refuses such weights.
        first = first if begin else float(chunk[0])
        is_constant = is_constant and bool((chunk == first).all())
        size, own = chunk.size, chunk.mean()
        chunk -= own
        distance = own - mean
        # Not `chunk @ chunk`: BLAS has all cores wait for each other in so short a product.
        squares += np.einsum("i,i->", chunk, chunk) + distance**2 * count * size / (count + size)
        mean += distance * size / (count + size)
        count += size
    if count == 0:
        return 0.0
    return abs(first) if is_constant else float(np.sqrt(squares / count))


def _flat(value: Any) -> Any:
    """All numbers in a row: an array that shares what a CPU holds, else a tensor."""
    if isinstance(value, np.ndarray | np.generic):  # inside a TF1 graph `ops` makes these symbolic
        return np.asarray(value).reshape(-1)
    # Relies on: tensors' own `__array__` copies nothing; Keras' `convert_to_numpy` does.
    if keras.backend.backend() == "jax":  # where each slice of another place would be compiled
        return np.asarray(value.value if isinstance(value, keras.Variable) else value).reshape(-1)
    tensor = ops.reshape(value, [-1])
    if keras.backend.backend() == "torch":
        tensor = tensor.detach()
    shared = keras.backend.standardize_dtype(tensor.dtype) in FLOATS - {"bfloat16"}
    return np.asarray(tensor) if shared and "cpu" in str(tensor.device).lower() else tensor
