"""How much each number of a weight counts, when some have to go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from smh.doors.candidates import Candidate
from smh.errors import ArgumentError
from smh.examples.batching import batches_of, without_labels
from smh.examples.gradients import squared_gradients
from smh.parametrizations.masked import Masked

KINDS = ("magnitude", "fisher")
# From a weight to what each of its numbers counts, in its shape; zero or more.
Importance = Callable[[Candidate], np.ndarray]
_MOST = 512  # examples


def importance_of(
    model: keras.Layer, items: Sequence[Candidate], kind: str, data: Any
) -> Importance:
    """Returns how much the numbers of some weights count.

    Args:
        model: it is run on the examples, and stays as it is.
        items: the weights that may be asked for.
        kind: one of `KINDS`: the magnitude; or times the root of the mean squared gradient of the
            outputs, so that half of the square is what taking the number away adds to their
            divergence, of second order.
        data: examples for the second, as the model takes them.

    Raises:
        ArgumentError: examples are missing, or of no use.

    Cost: of the second, a forward and a backward pass of at most 512 examples.

    References: LeCun, Denker, Solla, "Optimal Brain Damage", NIPS 1989; of whole channels: Theis
    et al., "Faster Gaze Prediction with Dense Networks and Fisher Pruning", 2018 (1801.05787).
    """
    if kind == "magnitude":
        if data is not None:
            raise ArgumentError("data goes with importance='fisher': magnitudes need no examples.")
        return magnitude
    if data is None:
        raise ArgumentError(
            "importance='fisher' looks at examples: data, some hundred as the model takes them."
        )
    batches = batches_of(model, without_labels(model, data), _MOST)
    squares = squared_gradients(model, [_stored(item) for item in items], batches)
    roots = {id(item.variable): np.sqrt(s) for item, s in zip(items, squares, strict=True)}
    return lambda item: magnitude(item) * roots[id(item.variable)]


def magnitude(item: Candidate) -> np.ndarray:
    """Magnitudes, also of what is pruned: of the numbers behind the mask."""
    item.numbers()  # raises if any is not finite
    value = np.abs(np.asarray(keras.ops.convert_to_numpy(_stored(item).value)))
    value = value if value.dtype.name in ("float32", "float64") else value.astype("float32")
    return np.nan_to_num(value, copy=False, nan=0.0)


def _stored(item: Candidate) -> keras.Variable:
    p = item.parametrization
    return p.weight if isinstance(p, Masked) else item.variable
