"""Whether a model fits data, and how good a classifier is on it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from smh import datasets
from smh.datasets import Dataset
from smh.datasets.dataset import map_arrays
from smh.errors import ArgumentError
from smh.progress import task

_BATCH = 256


def count_classes(data: Dataset) -> int:
    """Returns how many classes a data set has; raises `ArgumentError` if its labels are none."""
    if data.classes:
        return len(data.classes)
    if not has_classes(data.y_train):
        raise ArgumentError(
            f"The labels of {data.name} are no classes (whole numbers [n], from 0 on) but "
            f"{data.y_train.dtype} {data.y_train.shape}; a model of the zoo tells classes apart."
        )
    return int(max(data.y_train.max(), data.y_test.max())) + 1


def has_classes(y: np.ndarray) -> bool:
    """Whether labels are classes; else they are numbers to predict."""
    return y.ndim == 1 and y.dtype.kind in "iu" and y.min() >= 0


def check_has_accuracy(data: Dataset) -> None:
    """Raises `ArgumentError` unless the labels are classes, of which accuracy is a share."""
    if not has_classes(data.y_train):
        raise ArgumentError(
            f"--max-drop is points of accuracy, and the labels of {data.name} are no classes but "
            f"numbers of shape {data.y_train.shape}."
        )


def check_fits(model: keras.Model, data: Dataset) -> None:
    """Checks that a model takes the examples of a data set and tells its classes apart.

    Raises:
        ArgumentError: it does not.
    """
    inputs = getattr(model, "inputs", None)
    outputs = getattr(model, "output_shape", None)
    if not inputs or outputs is None:  # subclassed: its first call will tell
        return
    wanted = [tuple(one.shape)[1:] for one in inputs]
    given = _shapes(data.x_train)
    if len(wanted) != len(given) or not all(map(_fits, wanted, given)):
        raise ArgumentError(_unfit(model, wanted, data, given))
    if isinstance(outputs, list | dict) or not has_classes(data.y_train):
        return
    classes = count_classes(data)
    if tuple(outputs)[1:] not in ((classes,), (1,) if classes <= 2 else (classes,)):
        raise ArgumentError(
            f"'{model.name}' returns {outputs}, and {data.name} has {classes} classes: expected "
            f"(None, {classes})."
        )


def _shapes(x: Any) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    map_arrays(lambda array: found.append(tuple(array.shape[1:])), x)
    return found


def _fits(wanted: tuple, given: tuple) -> bool:
    return len(wanted) == len(given) and all(
        w in (None, g) for w, g in zip(wanted, given, strict=True)
    )


def _unfit(model: keras.Model, wanted: list[tuple], data: Dataset, given: list[tuple]) -> str:
    if len(wanted) == len(given) == 1:
        return (
            f"'{model.name}' takes images of shape {wanted[0]}, and those of {data.name} have "
            f"{given[0]}. Take another data set, or scale the images where that is possible: "
            "--image-size."
        )
    named = zip(model.inputs, wanted, strict=True)
    shapes = ", ".join(f"{one.name} {shape}" for one, shape in named)
    has = f"one, of shape {given[0]}" if len(given) == 1 else ", ".join(map(str, given))
    return (
        f"'{model.name}' takes {len(wanted)} inputs, of shapes {shapes}, and {data.name} has "
        f"{has}. A function of yours can return as many: --data MODULE:FUNCTION, x being a mapping."
    )


def measure(model: keras.Model, x: Any, y: Any) -> dict[str, float]:
    """Returns how good a model is on examples; it need not be compiled.

    Args:
        model: from examples to `[b, classes]`, logits or probabilities; to `[b, 1]` for two
            classes; or to numbers of the shape of `y`.
        x: images `[n, h, w, c]`, float32 in [0, 1] or uint8; or what the model takes.
        y: labels `[n]`, or numbers.

    Returns:
        Of classes `{"accuracy": share in [0, 1], "loss": mean cross-entropy in nats}`, of numbers
        `{"loss": mean square error, "mae": mean absolute error}`.

    Raises:
        ArgumentError: outputs and labels do not fit.
    """
    y = np.asarray(y)
    images = datasets.batches(x, y, _BATCH, shuffle=False)
    with task("evaluating", len(images)) as advance:
        told = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: advance(1))
        outputs = model.predict(images, verbose=0, callbacks=[told])
    if isinstance(outputs, list | dict):
        raise ArgumentError(f"'{model.name}' has {len(outputs)} outputs; one is measured.")
    outputs = np.asarray(outputs, "float64")
    if has_classes(y) and outputs.ndim == 2:
        return _of_classes(outputs, y)
    if outputs.size != y.size:
        raise ArgumentError(
            f"'{model.name}' returns {outputs.shape} for labels of shape {y.shape}; expected "
            "classes [n] or numbers of the same shape."
        )
    error = outputs.reshape(y.shape) - y
    return {"loss": float(np.mean(error**2)), "mae": float(np.abs(error).mean())}


def _of_classes(outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
    if outputs.shape[1] == 1:  # of two classes, the second one's
        own = outputs[:, 0]
        if own.min() >= 0 and own.max() <= 1:
            outputs = np.stack([1 - own, own], axis=1)
        else:
            outputs = np.stack([np.zeros_like(own), own], axis=1)
    own = outputs[np.arange(len(y)), y]
    if outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        losses = -np.log(np.maximum(own, 1e-12))
    else:
        top = outputs.max(axis=1)
        losses = top + np.log(np.exp(outputs - top[:, None]).sum(axis=1)) - own
    right = outputs.argmax(axis=1) == y
    return {"accuracy": float(right.mean()), "loss": float(losses.mean())}
