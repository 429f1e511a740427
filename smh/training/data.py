"""Whether a model fits data, and how good a classifier is on it."""

from __future__ import annotations

import keras
import numpy as np

from smh import datasets
from smh.datasets import Dataset
from smh.errors import ArgumentError
from smh.progress import task

_BATCH = 256


def count_classes(data: Dataset) -> int:
    """Returns how many classes a data set has."""
    return len(data.classes) or int(max(data.y_train.max(), data.y_test.max())) + 1


def check_fits(model: keras.Model, data: Dataset) -> None:
    """Checks that a model takes the images of a data set and tells its classes apart.

    Raises:
        ArgumentError: it does not.
    """
    inputs, outputs = (getattr(model, name, None) for name in ("input_shape", "output_shape"))
    if inputs is None or outputs is None:  # subclassed: its first call will tell
        return
    own = getattr(model, "inputs", None) or ()
    if len(own) > 1:
        shapes = ", ".join(f"{one.name} {tuple(one.shape)[1:]}" for one in own)
        raise ArgumentError(
            f"'{model.name}' takes {len(own)} inputs, of shapes {shapes}, and {data.name} has one, "
            f"images of shape {data.x_train.shape[1:]}."
        )
    wanted, given = tuple(inputs)[1:], data.x_train.shape[1:]
    fits = len(wanted) == len(given) and all(
        w in (None, g) for w, g in zip(wanted, given, strict=True)
    )
    if not fits:
        raise ArgumentError(
            f"'{model.name}' takes images of shape {wanted}, and those of {data.name} have "
            f"{given}. Take another data set, or scale the images where that is possible: "
            "--image-size."
        )
    classes = count_classes(data)
    if tuple(outputs)[1:] != (classes,):
        raise ArgumentError(
            f"'{model.name}' returns {outputs}, and {data.name} has {classes} classes: expected "
            f"(None, {classes})."
        )


def measure(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Returns accuracy and cross-entropy of a classifier, which gives logits or probabilities.

    Args:
        model: from images to `[b, classes]`; it need not be compiled.
        x: images `[n, h, w, c]`, float32 in [0, 1] or uint8.
        y: labels `[n]`.

    Returns:
        `{"accuracy": share in [0, 1], "loss": mean cross-entropy in nats}`.
    """
    images = datasets.batches(x, y, _BATCH, shuffle=False)
    with task("evaluating", len(images)) as advance:
        told = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: advance(1))
        outputs = model.predict(images, verbose=0, callbacks=[told])
    outputs = np.asarray(outputs, "float64")  # [n, classes]
    own = outputs[np.arange(len(y)), y]
    if outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        losses = -np.log(np.maximum(own, 1e-12))
    else:
        top = outputs.max(axis=1)
        losses = top + np.log(np.exp(outputs - top[:, None]).sum(axis=1)) - own
    right = outputs.argmax(axis=1) == y
    return {"accuracy": float(right.mean()), "loss": float(losses.mean())}
