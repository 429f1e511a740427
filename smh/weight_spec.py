"""Facts about a weight before it becomes virtual."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


def std_of(value: Any) -> float:
    """Standard deviation of initial values; for a constant weight its magnitude."""
    array = np.asarray(ops.convert_to_numpy(value), "float32")
    if array.size == 0:
        return 0.0
    std = float(array.std(dtype="float64"))
    return std if std > 0 else abs(float(array.flat[0]))
