"""What changing a weight does to a model's outputs, without running it again: second order.

By the diagonal of the Gauss-Newton matrix, from gradients of some hundred examples: half of the
sum of `squared gradient * change ** 2` is the divergence that a small change makes. Large changes
(most of a weight gone) make more than that; the order of the weights stays.

References: LeCun, Denker, Solla, "Optimal Brain Damage", NIPS 1989; Theis et al., "Faster Gaze
Prediction with Dense Networks and Fisher Pruning", 2018 (1801.05787).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.sensitivity.examples import batches_of, without_labels
from smh.sensitivity.gradients import squared_gradients
from smh.sensitivity.scanned import Candidate

DIVERGENCE = "divergence"
MOST = 512  # examples


def divergences(
    model: keras.Layer, data: Any, candidates: Sequence[Candidate]
) -> Callable[[Candidate, np.ndarray, np.ndarray], float]:
    """Returns `f(candidate, stored, changed)`: the divergence that the change makes.

    Args:
        model: it is run, and stays as it is.
        data: examples as the model takes them; labels beside them are left out.
        candidates: the weights that will be asked for.

    Raises:
        ArgumentError: `data` is a function, or nothing that the model takes.

    Cost: a forward and a backward pass of the examples.
    """
    if callable(data) and not hasattr(data, "__iter__"):
        raise ArgumentError(
            "method='fisher' looks at examples and evaluates nothing: give some hundred as the "
            "model takes them, for example x[:500], in the place of a function."
        )
    batches = batches_of(model, without_labels(model, data), MOST)
    variables = [candidate.variable for candidate in candidates]
    squares = squared_gradients(model, variables, batches)
    known = {id(v): square for v, square in zip(variables, squares, strict=True)}

    def divergence(candidate: Candidate, stored: np.ndarray, changed: np.ndarray) -> float:
        off = changed.astype(np.float64) - stored
        return 0.5 * float((known[id(candidate.variable)] * np.square(off)).sum())

    return divergence
