"""What taking a number away does to a model's outputs: for `smh.prune(importance=...)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.sensitivity.examples import batches_of
from smh.sensitivity.gradients import squared_gradients
from smh.sensitivity.second_order import MOST
from smh.virtual_variable.inside_keras.replicas import check_outside_scope


def fisher(model: keras.Layer, data: Any) -> Callable[[keras.Variable], np.ndarray]:
    """Returns a function from a weight to how much each of its numbers matters to the outputs.

    That is the magnitude times the root of the mean squared gradient of the outputs, on a scale
    where a step of one is as noticeable everywhere: half of the square is what taking the number
    away adds to the divergence of the outputs, of second order.

    Args:
        model: a built model; it is run, and stays as it is.
        data: some hundred examples as the model takes them, at most 512 of which are looked at;
            labels beside them are left out.

    Returns:
        `f(variable)`, in the shape of the variable, for every stored trained weight of the model.

    Raises:
        ArgumentError: `data` is nothing that the model takes; when asked, another weight.

    Cost: a forward and a backward pass of the examples, and each weight once more in memory.

    Example:
        >>> smh.prune(model, 0.5, structure="channels", importance=smh.sensitivity.fisher(model, x))

    References: LeCun, Denker, Solla, "Optimal Brain Damage", NIPS 1989; of whole channels: Theis
    et al., "Faster Gaze Prediction with Dense Networks and Fisher Pruning", 2018 (1801.05787).
    """
    check_outside_scope("smh.sensitivity.fisher")
    batches = batches_of(model, data, MOST)
    stored = {id(v): v for v in model.trainable_variables}
    squares = squared_gradients(model, list(stored.values()), batches)
    roots = dict(zip(stored, map(np.sqrt, squares), strict=True))

    def counts(variable: keras.Variable) -> np.ndarray:
        if id(variable) not in roots:
            raise ArgumentError(f"'{variable.path}' is no stored trained weight of '{model.name}'.")
        return np.abs(keras.ops.convert_to_numpy(variable.value)) * roots[id(variable)]

    return counts
