"""What `smh.shrink` was asked for: one budget, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.errors.limits import BYTES, DROP, QUALITY
from smh.sensitivity.metrics import Metric, as_measure, choose_metric

USUAL_QUALITY = 50.0


@dataclass(frozen=True)
class Request:
    """What decides how far a model is rounded: one of three.

    Attributes:
        size: the most bytes of the file, or `None`.
        drop: how far the score may fall, or `None`.
        quality: 0 to 100, or `None`.
        measure: gives the scores by name, if there is something to measure.
    """

    size: int | None
    drop: float | None
    quality: float | None
    measure: Callable[[], dict[str, float]] | None

    @classmethod
    def of(cls, model: keras.Layer, size: Any, drop: Any, quality: Any, evaluate: Any) -> Request:
        """Checks the arguments; raises `ArgumentError`."""
        given = {"target_size": size, "max_drop": drop, "quality": quality}
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise ArgumentError(f"Give one of target_size, max_drop and quality, not {named}.")
        size = None if size is None else BYTES.checked(size, "target_size")
        drop = None if drop is None else DROP.checked(drop, "max_drop")
        quality = None if quality is None else QUALITY.checked(quality, "quality")
        if drop is not None and evaluate is None:
            raise ArgumentError(
                "max_drop needs evaluate=: a function of the model that returns its score, or a "
                "pair (x, y) for a compiled model."
            )
        measure = None if evaluate is None else as_measure(model, evaluate, None)
        if not named:
            quality = USUAL_QUALITY
        return cls(
            size,
            drop,
            quality,
            measure,
        )


class Score:
    """The score of a model, so that higher is better.

    Args:
        measure: see `Request`.
    """

    def __init__(self, measure: Callable[[], dict[str, float]]):
        self._measure = measure
        first = measure()
        self.metric: Metric = choose_metric(first, None, None)
        self.baseline = self._of(first)

    def __call__(self) -> float:
        """Measures the model as it is now."""
        return self._of(self._measure())

    def _of(self, measured: dict[str, float]) -> float:
        value = float(measured[self.metric.name])
        return value if self.metric.higher_is_better else -value
