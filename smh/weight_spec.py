"""What a layer asked for, before its weight became virtual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    initial_std: Callable[[], float]


def std_of(value: Any) -> float:
    """Standard deviation of initial values; for a constant weight its magnitude."""
    array = np.asarray(ops.convert_to_numpy(value), "float32")
    if array.size == 0:
        return 0.0
    std = float(array.std(dtype="float64"))
    return std if std > 0 else abs(float(array.flat[0]))
