"""Whether a model fits data, and how good it is on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from smh import datasets
from smh.datasets import Dataset
from smh.datasets.dataset import as_arrays, map_arrays
from smh.errors import ArgumentError, SmhWarning
from smh.progress import task
from smh.recipes.outputs import names_of, per_output
from smh.training.kinds import figures_of, form_of, kind_of

_BATCH = 256


def count_classes(data: Dataset) -> int:
    """Returns how many classes a data set has; raises `ArgumentError` if its labels are none."""
    if data.classes:
        return len(data.classes)
    if not has_classes(data.y_train):
        raise ArgumentError(
            f"The labels of {data.name} are no classes (whole numbers [n], from 0 on) but "
            f"{_form(data.y_train)}; a model of the zoo tells classes apart."
        )
    return int(max(data.y_train.max(), data.y_test.max())) + 1


def has_classes(y: Any) -> bool:
    """Whether labels are classes; else they are numbers to predict, or those of several outputs."""
    return hasattr(y, "ndim") and y.ndim == 1 and y.dtype.kind in "iu" and y.min() >= 0


def check_has_accuracy(data: Dataset) -> None:
    """Raises `ArgumentError` unless the labels are classes, of which accuracy is a share."""
    if not has_classes(data.y_train):
        raise ArgumentError(
            f"--max-drop is points of accuracy, and the labels of {data.name} are no classes but "
            f"{_form(data.y_train)}."
        )


def _form(y: Any) -> str:
    return form_of(y) if hasattr(y, "shape") else f"those of {len(y)} outputs"


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
    if isinstance(data.x_train, Mapping):
        _check_names(model, data)
    given = _shapes(data.x_train)
    if len(wanted) != len(given) or not all(map(_fits, wanted, given)):
        raise ArgumentError(_unfit(model, wanted, data, given))
    _check_real(model, data)
    if isinstance(outputs, list | dict) or not has_classes(data.y_train):
        return
    classes, given_back = count_classes(data), tuple(outputs)[1:]
    named = bool(data.classes)  # else they may be whole numbers to predict
    if given_back == (1,) and (classes <= 2 or not named):
        return
    if given_back == (classes,) and named:
        return
    if len(given_back) != 1 or given_back[0] is None or named:
        raise ArgumentError(
            f"'{model.name}' returns {outputs}, and {data.name} has {classes} classes: expected "
            f"(None, {classes})."
        )
    if given_back[0] < classes:
        raise ArgumentError(
            f"The labels of {data.name} go up to {classes - 1}, and '{model.name}' has outputs for "
            f"0 to {given_back[0] - 1}."
        )
    # The examples of some classes may just not be there.
    missing = np.setdiff1d(np.arange(given_back[0]), [*data.y_train, *data.y_test])
    if missing.size:
        warnings.warn(
            f"{data.name} has no example of {missing.size} of the {given_back[0]} classes that "
            f"'{model.name}' tells apart: {', '.join(map(str, missing[:9]))}.",
            SmhWarning,
            stacklevel=2,
        )


def _check_names(model: keras.Model, data: Dataset) -> None:
    struct = model.input
    given = list(struct) if isinstance(struct, Mapping) else [one.name for one in model.inputs]
    if set(given) - set(data.x_train):
        raise ArgumentError(
            f"'{model.name}' takes the inputs {', '.join(sorted(given))}, and the arrays of "
            f"{data.name} are called {', '.join(sorted(data.x_train))}."
        )


def _check_real(model: keras.Model, data: Dataset) -> None:
    """Keras would drop the imaginary part of numbers without a word."""
    found: list[str] = []
    map_arrays(lambda array: found.append(str(array.dtype)), data.x_train)
    taken = [str(one.dtype) for one in model.inputs]
    odd = [dtype for dtype in found if dtype.startswith("complex") and dtype not in taken]
    if odd:
        raise ArgumentError(
            f"The examples of {data.name} are {odd[0]}, and '{model.name}' takes {taken[0]}. Give "
            "it real numbers, for example np.abs(x), or np.stack([x.real, x.imag], -1)."
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
        pictures = len(given[0]) == len(wanted[0]) == 3
        other = ", or scale the images where that is possible: --image-size" if pictures else ""
        return (
            f"'{model.name}' takes examples of shape {wanted[0]}, and those of {data.name} have "
            f"{given[0]}. Take another data set{other}."
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
            classes; to `[b, labels]` for labels of zeros and ones; or to numbers of the shape of
            `y`. Or to several of these.
        x: images `[n, h, w, c]`, float32 in [0, 1] or uint8; or what the model takes.
        y: labels `[n]`, or numbers; of several outputs, a mapping by their names, or a list.

    Returns:
        Of classes `{"accuracy": share in [0, 1], "loss": mean cross-entropy in nats}`, of numbers
        `{"loss": mean square error, "mae": mean absolute error}`. Of several outputs the sum of
        their losses, then these by their names.

    Raises:
        ArgumentError: outputs and labels do not fit.
    """
    y = as_arrays(y)
    images = datasets.batches(x, y, _BATCH, shuffle=False)
    with task("evaluating", len(images)) as advance:
        told = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: advance(1))
        outputs = model.predict(images, verbose=0, callbacks=[told])
    return measure_outputs(model, outputs, y)


def accuracy_on(data: Dataset, x: Any, y: Any) -> Callable[[keras.Model], float]:
    """Returns what finds a model's accuracy on examples of `data`, whose labels are classes.

    Raises:
        ArgumentError: they are none.
    """
    check_has_accuracy(data)
    return lambda model: measure(model, x, y)["accuracy"]


def measure_outputs(model: keras.Model, outputs: Any, y: Any) -> dict[str, float]:
    """As `measure`, of what the model, or a file made of it, has answered."""
    found = {}
    for name, output, labels in by_output(model, outputs, as_arrays(y)):
        numbers = np.asarray(output, "float64")
        found[name] = figures_of(kind_of(name, numbers, labels), numbers, labels)
    if len(found) == 1:
        return next(iter(found.values()))
    total = {"loss": sum(figures["loss"] for figures in found.values())}
    return total | {f"{name}_{key}": v for name, one in found.items() for key, v in one.items()}


def by_output(model: keras.Model, outputs: Any, y: Any) -> list[tuple[str, Any, np.ndarray]]:
    """Pairs what a model returned with its labels: names of the outputs, and both.

    Raises:
        ArgumentError: labels are missing, or are for outputs that there are not.
    """
    flat = keras.tree.flatten(outputs)
    names = names_of(outputs, getattr(model, "output_names", None))
    several = isinstance(y, Mapping | list | tuple)
    if len(flat) > 1 and not several:
        raise ArgumentError(
            f"'{model.name}' has {len(flat)} outputs ({', '.join(names)}), and the labels are one "
            "array. A function of yours can return a mapping: --data MODULE:FUNCTION."
        )
    labels = per_output(dict(y) if isinstance(y, Mapping) else y, outputs, names)
    missing = [name for name, one in zip(names, labels, strict=True) if one is None]
    if missing:
        raise ArgumentError(f"'{model.name}' has no labels for its output {missing[0]}.")
    return list(zip(names, flat, labels, strict=True))
