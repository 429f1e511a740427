"""What is measured: anything that users pass as `evaluate=`, as a function of the model."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.sensitivity.evaluating import Unchanging, evaluated
from smh.sensitivity.words import better_when_higher


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

    def score(self, measured: Mapping[str, float]) -> float:
        """The number, or its negative: more is better."""
        value = measured[self.name]
        return value if self.higher_is_better else -value


def as_measure(
    model: keras.Layer, evaluate: Any, metric: Any, *, choosable: bool = True
) -> Callable[[], dict[str, float]]:
    """Returns a function that evaluates the model and gives numbers by name.

    Args:
        model: what is measured.
        evaluate: what `smh.sensitivity.evaluating.checked` returned.
        metric: which number decides: its name, its index, or `None`.
        choosable: whether the caller has a `metric=`, for what errors advise.

    Raises:
        ArgumentError: `metric` is neither. From the function: it changed the model.
    """
    if metric is not None and not isinstance(metric, str) and not _is_index(metric):
        raise ArgumentError(
            f"metric must be a name, or an index into what evaluate returns, got {metric!r}."
        )
    if callable(evaluate):
        watched = Unchanging(evaluate)
        return lambda: _named(watched(model), evaluate, metric, choosable)
    return lambda: _named(evaluated(model, evaluate), evaluate, metric, choosable)


def choose_metric(measured: dict[str, float], metric: Any, higher_is_better: Any) -> Metric:
    """Says which of the measured numbers decides; checks that it is a number."""
    if higher_is_better is not None and not isinstance(higher_is_better, bool | np.bool_):
        raise ArgumentError(
            f"higher_is_better must be True, False or None, got {higher_is_better!r}."
        )
    names = list(measured)
    if metric is None:
        name = _default(names)
    elif not isinstance(metric, str):
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
    if higher_is_better is not None:
        return Metric(name, bool(higher_is_better), is_guess=False)
    named = better_when_higher(name)
    return Metric(name, named is not False, is_guess=named is None)


def _is_index(metric: Any) -> bool:
    return isinstance(metric, numbers.Integral) and not isinstance(metric, bool)


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
    """The first that is known to be better when higher, as accuracy; else the loss, else the first.

    That of one of several outputs says nothing of the others, and is left to who asks for it.
    """
    outputs = [name.removesuffix("loss") for name in names if name.endswith("_loss")]
    own = tuple(outputs) if len(outputs) > 1 else ()
    higher = [n for n in names if better_when_higher(n) and not n.startswith(own)]
    return [*higher, *(n for n in names if n == "loss"), names[0]][0]
