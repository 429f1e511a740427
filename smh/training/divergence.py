"""Training that diverged is an error, before a good state or model is replaced by it."""

from __future__ import annotations

import math

import keras
import numpy as np

from smh.errors import DivergedError

_ADVICE = (
    "Such a state is not kept. A lower learning rate helps most often (--peak-rate); else look for "
    "NaN and very large numbers among the examples."
)


def check_loss(loss: float, epoch: int) -> None:
    """Raises `DivergedError` unless the loss of an epoch is finite."""
    if not math.isfinite(loss):
        raise DivergedError(f"training diverged: the loss of epoch {epoch} is {loss}. {_ADVICE}")


def check_weights(model: keras.Model) -> None:
    """Raises `DivergedError` unless all that was trained is finite."""
    for variable in model.trainable_variables:
        array = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32")))
        if not np.isfinite(array).all():
            raise DivergedError(
                f"training diverged: {variable.path} holds NaN or infinite numbers. {_ADVICE}"
            )
