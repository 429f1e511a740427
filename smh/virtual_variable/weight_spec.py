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


_CHUNK = 2**20  # numbers


def std_of(value: Any) -> float:
    """Standard deviation of initial values; for a constant weight its magnitude.

    Computed in pieces (Chan, Golub, LeVeque 1979), so that a large weight is not copied, let alone
    to double precision.
    """
    if keras.backend.backend() == "jax" and not isinstance(value, (np.ndarray, np.generic)):
        # Each slice of another place or size would be compiled; on a CPU this copies nothing.
        value = np.asarray(ops.convert_to_numpy(value))
    on_host = isinstance(value, (np.ndarray, np.generic))
    # Arrays stay arrays: inside a TF1 graph `ops` would turn them into symbolic tensors.
    flat = np.reshape(value, [-1]) if on_host else ops.reshape(value, [-1])
    count, mean, squares = 0, 0.0, 0.0  # squares: the sum of squared distances from the mean
    low, high = np.inf, -np.inf
    for begin in range(0, flat.shape[0], _CHUNK):
        chunk = flat[begin : begin + _CHUNK]
        chunk = np.asarray(chunk if on_host else ops.convert_to_numpy(chunk), "float64")
        size, distance = chunk.size, chunk.mean() - mean
        squares += chunk.var() * size + distance**2 * count * size / (count + size)
        mean += distance * size / (count + size)
        count += size
        # NaN must not vanish here: `compress` refuses weights that are not finite.
        low, high = np.minimum(low, chunk.min()), np.maximum(high, chunk.max())
    if count == 0:
        return 0.0
    return float(abs(low)) if low == high else float(np.sqrt(squares / count))
