"""How the factors of a pool start."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError

Initializer = Callable[..., Any]


def factor_seeds(seed: int | None, count: int) -> list[int | None]:
    """Independent seeds for `count` factors; `None` draws from Keras' global seed."""
    if seed is None:
        return [None] * count
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool) or seed < 0:
        raise ArgumentError(f"seed must be a whole number of at least 0 or None, got {seed!r}.")
    state = np.random.SeedSequence(int(seed)).generate_state(count)
    return [int(word % 2**31) for word in state]


def with_stddev(initializer: Any, stddev: float, seed: int | None) -> Initializer:
    """Makes an initializer of this standard deviation from what users pass.

    Args:
        initializer: an initializer class that takes `stddev` (the published form, Keras' or
            TensorFlow's), an initializer object, or a Keras initializer's name. An object is
            used as it is: it has its own scale.
        stddev: standard deviation of each factor entry.
        seed: seed of this factor.

    Raises:
        ArgumentError: if it is none of these.
    """
    if isinstance(initializer, str):
        return keras.initializers.get(initializer)
    if inspect.isclass(initializer):
        takes = inspect.signature(initializer).parameters
        if "stddev" not in takes:
            raise ArgumentError(
                f"initializer class {initializer.__name__} takes no `stddev`. Pass "
                "keras.initializers.RandomNormal or TruncatedNormal, or an initializer object."
            )
        known = {"stddev": stddev, "seed": seed}
        make: Initializer = initializer
        return make(**{name: known[name] for name in known if name in takes})
    if callable(initializer):
        return initializer
    raise ArgumentError(f"initializer must be an initializer class or object, got {initializer!r}.")


class UnitRows(keras.initializers.Initializer):
    """Gaussian rows `[n, m]`, each scaled to length 1."""

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self._normal = keras.initializers.RandomNormal(1.0, seed=seed)

    def __call__(self, shape, dtype=None):
        """Returns an array of `shape` whose last axis has norm 1."""
        rows = self._normal(shape, dtype=dtype)
        return rows / ops.sqrt(ops.sum(ops.square(rows), axis=-1, keepdims=True))

    def get_config(self):
        """The arguments of the constructor."""
        return {"seed": self.seed}


def balanced_factors(
    cols: int, stddev: float, seeds: list[int | None]
) -> tuple[Initializer, Initializer]:
    """Initializers of `L` (unit rows) and `R` (orthogonal rows of length `stddev * sqrt(cols)`).

    Every row of `L @ R` then has the root mean square `stddev` exactly, also with few replicas,
    where independent normal factors leave rows that differ many times over.

    Reference: orthogonal initialisation: Saxe, McClelland, Ganguli, "Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks" (2014).
    """
    right = keras.initializers.Orthogonal(gain=stddev * math.sqrt(cols), seed=seeds[1])
    return UnitRows(seeds[0]), right
