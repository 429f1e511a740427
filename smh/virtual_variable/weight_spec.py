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


def std_of(value: Any) -> float:
    """Standard deviation of initial values; for a constant weight its magnitude.

    Computed in pieces (Chan, Golub, LeVeque 1979), so that a large weight is not copied, let alone
    to double precision.
    """
    flat = _flat(value)
    count, mean, squares = 0, 0.0, 0.0  # squares: the sum of squared distances from the mean
    is_constant = True
    for begin in range(0, flat.size, _CHUNK):
        chunk = flat[begin : begin + _CHUNK].astype("float64")
        # NaN is not equal to itself, and shows in the sums: `compress` refuses such weights.
        is_constant = is_constant and bool((chunk == flat[0].astype("float64")).all())
        size, own = chunk.size, chunk.mean()
        chunk -= own
        distance = own - mean
        # Not `chunk @ chunk`: BLAS has all cores wait for each other in so short a product.
        squares += np.einsum("i,i->", chunk, chunk) + distance**2 * count * size / (count + size)
        mean += distance * size / (count + size)
        count += size
    if count == 0:
        return 0.0
    return float(abs(flat[0])) if is_constant else float(np.sqrt(squares / count))


def _flat(value: Any) -> np.ndarray:
    """All numbers, looked at where they are if a CPU holds them."""
    if isinstance(value, np.ndarray | np.generic):  # inside a TF1 graph `ops` makes these symbolic
        return np.reshape(value, -1)
    if keras.backend.backend() == "tensorflow":
        # Relies on: `EagerTensor.__array__` copies nothing; a variable's own, and Keras'
        # `convert_to_numpy`, do.
        return np.asarray(ops.reshape(value, [-1]))
    return np.reshape(ops.convert_to_numpy(value), -1)
