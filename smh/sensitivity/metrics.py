"""What is measured: anything that users pass as `evaluate=`, as a function of the model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError

_HIGHER = re.compile(r"acc|auc|precision|recall|f1|score|similarity|iou|dice|r2|bleu|map$|top_?\d")
_LOWER = re.compile(
    r"loss|err|mse|mae|mape|msle|entropy|perplexity|diverg|distance|hinge|poisson|cosh|false_|^wer$"
)


@dataclass(frozen=True)
class Metric:
    """Which number decides, and in which direction.

    Attributes:
        name: its name.
        higher_is_better: whether more of it is better.
        is_guess: whether the direction was neither given nor clear from the name.
    """

    name: str
    higher_is_better: bool
    is_guess: bool


def as_measure(
    model: keras.Layer, evaluate: Any, metric: Any, *, choosable: bool = True
) -> Callable[[], dict[str, float]]:
    """Returns a function that evaluates the model and gives numbers by name.

    Args:
        model: what is measured.
        evaluate: see `smh.sensitivity_scan`.
        metric: which number decides: its name, its index, or `None`.
        choosable: whether the caller has a `metric=`, for what errors advise.

    Raises:
        ArgumentError: `evaluate` is nothing that can be evaluated again and again.
    """
    if metric is not None and not isinstance(metric, (str, int)) or isinstance(metric, bool):
        raise ArgumentError(
            f"metric must be a name, or an index into what evaluate returns, got {metric!r}."
        )
    if isinstance(evaluate, keras.Layer) or not _is_usable(evaluate):
        raise ArgumentError(
            "evaluate must be a function of the model that returns numbers, a pair (x, y), or a "
            f"dataset that can be read again and again, got {type(evaluate).__name__}."
        )
    if callable(evaluate):
        return lambda: _named(evaluate(model), evaluate, metric, choosable)
    if not getattr(model, "compiled", False):
        raise ArgumentError(
            f"'{model.name}' is not compiled, so data alone does not say what to measure. Call "
            "model.compile(loss=..., metrics=[...]) first, or pass a function: evaluate(model) -> "
            "accuracy."
        )
    data = tuple(evaluate) if isinstance(evaluate, (tuple, list)) else (evaluate,)
    return lambda: _named(of_keras(model, data), evaluate, metric, choosable)


def choose_metric(measured: dict[str, float], metric: Any, higher_is_better: Any) -> Metric:
    """Says which of the measured numbers decides; checks that it is a number."""
    if higher_is_better is not None and not isinstance(higher_is_better, bool):
        raise ArgumentError(
            f"higher_is_better must be True, False or None, got {higher_is_better!r}."
        )
    names = list(measured)
    if metric is None:
        name = _default(names)
    elif isinstance(metric, int):
        if not 0 <= metric < len(names):
            raise ArgumentError(f"metric={metric}, but evaluate returns {len(names)} numbers.")
        name = names[metric]
    elif metric in names:
        name = metric
    else:
        raise ArgumentError(f"evaluate returns {', '.join(names)}, and not metric={metric!r}.")
    if not math.isfinite(measured[name]):
        raise ArgumentError(
            f"{name} of the unchanged model is {measured[name]}, so nothing can be compared with "
            "it. Check the model and the data that evaluate measures it on."
        )
    clear = bool(_HIGHER.search(name.lower())) != bool(_LOWER.search(name.lower()))
    if higher_is_better is None:
        higher_is_better = not (clear and _LOWER.search(name.lower()))
        return Metric(name, higher_is_better, is_guess=not clear)
    return Metric(name, higher_is_better, is_guess=False)


def _is_usable(evaluate: Any) -> bool:
    if callable(evaluate):
        return True
    if isinstance(evaluate, (tuple, list)):
        return len(evaluate) in (2, 3)
    readable = hasattr(evaluate, "__iter__") or hasattr(evaluate, "__getitem__")
    no_data = isinstance(evaluate, (Iterator, Mapping, str, bytes, np.ndarray))
    return readable and not no_data


def of_keras(model: keras.Model, data: tuple) -> dict[str, Any]:
    """What `model.evaluate` gives for `(x, y)`, `(x, y, sample_weight)` or `(dataset,)`."""
    names = ("x", "y", "sample_weight")
    arguments = dict(zip(names, data, strict=False))
    return model.evaluate(**arguments, verbose=0, return_dict=True)


def _named(returned: Any, evaluate: Any, metric: Any, choosable: bool) -> dict[str, float]:
    if isinstance(returned, Mapping):
        entries = {str(name): value for name, value in returned.items()}
    elif isinstance(returned, (tuple, list)):
        fields = getattr(returned, "_fields", None)  # of a named tuple
        if fields is None and metric is None and len(returned) > 1:
            by_index = f"Say by metric=0 to {len(returned) - 1} which of them decides, or return"
            raise ArgumentError(
                f"evaluate returns {len(returned)} numbers. "
                f"{by_index if choosable else 'Return the one that decides, or'} "
                "a dict: {'loss': ..., 'accuracy': ...}."
            )
        names = fields or [f"value_{i}" for i in range(len(returned))]
        entries = dict(zip(names, returned, strict=True))
    else:
        own = metric if isinstance(metric, str) else getattr(evaluate, "__name__", "")
        entries = {own if own.isidentifier() else "metric": returned}
    if not entries:
        raise ArgumentError("evaluate returns nothing: it must return at least one number.")
    return {name: _number(name, value) for name, value in entries.items()}


def _number(name: str, value: Any) -> float:
    found = np.asarray(None if value is None else keras.ops.convert_to_numpy(value))
    if found.size != 1 or (found.dtype.kind not in "fiu" and found.dtype.name != "bfloat16"):
        raise ArgumentError(
            f"evaluate must return numbers; {name} is {value!r:.80} ({type(value).__name__})."
        )
    return float(found.astype(np.float64).reshape(()))


def _default(names: list[str]) -> str:
    """The first that is clearly better when higher, as accuracy; else the loss, else the first."""
    higher = [n for n in names if _HIGHER.search(n.lower()) and not _LOWER.search(n.lower())]
    return [*higher, *(n for n in names if n == "loss"), names[0]][0]
