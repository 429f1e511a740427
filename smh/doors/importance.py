"""How much each number of a weight counts, when some have to go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from smh.doors.candidates import Candidate
from smh.errors import ArgumentError
from smh.parametrizations.masked import Masked
from smh.virtual_variable import floats_of

# From a weight to what each of its numbers counts, in its shape; zero or more.
Importance = Callable[[Candidate], np.ndarray]


def importance_of(given: Callable[[keras.Variable], Any] | None) -> Importance:
    """Returns how much the numbers of a weight count: what a user's function says, or magnitudes.

    Raises:
        ArgumentError: `given` is no function; when asked, that it returned something else than
            numbers, zero or more, in the weight's shape.
    """
    if given is None:
        return magnitude
    if not callable(given):
        raise ArgumentError(
            "importance is a function of a weight, for example smh.sensitivity.fisher(model, x); "
            f"got {given!r:.100}."
        )

    def counts(item: Candidate) -> np.ndarray:
        item.numbers()  # raises if any is not finite
        value, shape = np.asarray(given(_stored(item))), tuple(item.variable._shape)
        if value.shape != shape or value.dtype.kind not in "fiu" or not (value >= 0).all():
            raise ArgumentError(
                f"importance must return numbers, zero or more, of shape {shape} for "
                f"'{item.path}', got {value.dtype} {value.shape}."
            )
        return value

    return counts


def magnitude(item: Candidate) -> np.ndarray:
    """Magnitudes, also of what is pruned: of the numbers behind the mask."""
    item.numbers()  # raises if any is not finite
    return np.nan_to_num(np.abs(floats_of(_stored(item))), copy=False, nan=0.0)


def _stored(item: Candidate) -> keras.Variable:
    p = item.parametrization
    return p.weight if isinstance(p, Masked) else item.variable
