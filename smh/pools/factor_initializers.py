"""How the factors of a pool start."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError, ArtifactError
from smh.errors.limits import checked_seed
from smh.pools.shape import PoolShape

Initializer = Callable[..., Any]

_COLUMNS_PER_ROW = 4  # for fewer, the products of the rows lose too many digits


def factor_seeds(seed: int | None, count: int) -> list[int | None]:
    """Independent seeds for `count` factors; `None` draws from Keras' global seed."""
    given = checked_seed(seed)
    if given is None:
        return [None] * count
    state = np.random.SeedSequence(given).generate_state(count)
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
        try:
            return keras.initializers.get(initializer)
        except ValueError:
            raise ArgumentError(
                f"initializer must be the name of a Keras initializer, such as 'random_normal', or "
                f"an initializer class or object, got {initializer!r:.100}."
            ) from None
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


@keras.saving.register_keras_serializable(package="smh")
class UnitRows(keras.initializers.Initializer):
    """Gaussian rows `[n, m]`, each scaled to length 1."""

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self._normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)

    def __call__(self, shape, dtype=None):
        """Returns an array of `shape` whose last axis has norm 1."""
        rows = self._normal(shape, dtype=dtype)
        return rows / ops.sqrt(ops.sum(ops.square(rows), axis=-1, keepdims=True))

    def get_config(self):
        """The arguments of the constructor."""
        return {"seed": self.seed}


@keras.saving.register_keras_serializable(package="smh")
class OrthogonalRows(keras.initializers.Initializer):
    """A matrix `[m, n]` of orthogonal rows of length `gain`, `m <= n`.

    The numbers of Keras' `Orthogonal`, but for rounding; for few rows in a quarter of the time, and
    in all floating dtypes (no backend decomposes bfloat16). Householder's method does half of its
    work on one column after the other. The Cholesky factor of the rows' products with each other
    takes matrix products alone, but squares the condition number: at most 3 for Gaussian rows with
    `m <= n / 4` (Marchenko, Pastur 1967), and rising fast beyond, where Keras' own is used.

    Reference: Stathopoulos, Wu, "A block orthogonalization procedure with constant
    synchronization requirements" (2002).
    """

    def __init__(self, gain: float, seed: int | None = None):
        self.gain, self.seed = gain, seed
        self._keras = keras.initializers.Orthogonal(gain, seed)

    def __call__(self, shape, dtype=None):
        """Returns an array of `shape`."""
        rows, columns = shape
        dtype = keras.backend.standardize_dtype(dtype)
        wide_enough = "float64" if dtype == "float64" else "float32"
        if rows * _COLUMNS_PER_ROW > columns:
            return ops.cast(self._keras(shape, dtype=wide_enough), dtype)
        # Relies on: `Orthogonal` draws a tall matrix, and makes R's diagonal positive.
        tall = keras.random.normal((columns, rows), seed=self._keras.seed, dtype=wide_enough)
        wide = ops.transpose(tall)
        triangle = ops.cholesky(ops.matmul(wide, tall))
        return ops.cast(self.gain * ops.solve_triangular(triangle, wide, lower=True), dtype)

    def get_config(self):
        """The arguments of the constructor."""
        return {"gain": self.gain, "seed": self.seed}


@keras.saving.register_keras_serializable(package="smh")
class OrthogonalBlocks(keras.initializers.Initializer):
    """A matrix `[blocks * m, n]` of blocks of orthogonal rows, `m <= n`, one below the other."""

    def __init__(self, blocks: int, gain: float, seed: int | None = None):
        self.blocks, self.gain, self.seed = blocks, gain, seed
        self._each = [OrthogonalRows(gain, s) for s in factor_seeds(seed, blocks)]

    def __call__(self, shape, dtype=None):
        """Returns an array of `shape`."""
        one = (shape[0] // self.blocks, *shape[1:])
        return ops.concatenate([make(one, dtype=dtype) for make in self._each])

    def get_config(self):
        """The arguments of the constructor."""
        return {"blocks": self.blocks, "gain": self.gain, "seed": self.seed}


def balanced_factors(
    shape: PoolShape, stddev: float, seeds: list[int | None]
) -> tuple[Initializer, Initializer]:
    """Initializers of `L` (unit rows) and `R` (orthogonal rows of length `stddev * sqrt(cols)`).

    Every row of `L @ R` then has the root mean square `stddev` exactly, also with few replicas,
    where independent normal factors leave rows that differ many times over.

    Reference: orthogonal initialisation: Saxe, McClelland, Ganguli, "Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks" (2014).
    """
    gain = stddev * math.sqrt(shape.cols)
    if shape.blocks > 1:
        return UnitRows(seeds[0]), OrthogonalBlocks(shape.blocks, gain, seeds[1])
    return UnitRows(seeds[0]), OrthogonalRows(gain, seeds[1])


_OTHERWISE = {
    "module": "keras.initializers",
    "class_name": "RandomNormal",
    "config": {"mean": 0.0, "stddev": 1.0, "seed": None},
    "registered_name": None,
}


def describe_initializer(initializer: Any) -> dict[str, Any]:
    """Returns an entry for an initializer, or for a normal one where that has no name in a file.

    Only a model that is made again without its values needs it, so it is not worth an error.
    """
    if isinstance(initializer, keras.initializers.Initializer):
        try:
            entry = json.loads(json.dumps(keras.saving.serialize_keras_object(initializer)))
            entry.pop("shared_object_id", None)
            keras.saving.deserialize_keras_object(entry)
            return entry
        except (TypeError, ValueError, NotImplementedError):
            pass
    return {**_OTHERWISE}


def make_initializer(entry: Any) -> Initializer:
    """Makes the initializer that `describe_initializer` described; raises `ArtifactError`."""
    try:
        made = keras.saving.deserialize_keras_object(entry)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{entry!r:.200} is no initializer: {error}") from error
    if not isinstance(made, keras.initializers.Initializer):
        raise ArtifactError(f"{entry!r:.200} is no initializer.")
    return made
