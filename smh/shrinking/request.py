"""What `smh.shrink` was asked for: one budget, checked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from smh.errors import ArgumentError, SmhWarning
from smh.errors.limits import BYTES, DROP, QUALITY
from smh.sensitivity.evaluating import checked
from smh.sensitivity.metrics import Metric, as_measure, choose_metric
from smh.sensitivity.words import Shown, better_when_higher

USUAL_QUALITY = 50.0
SMALLEST = 3  # models that have to agree on which way a score goes
_NOTABLE = 0.1  # of the score: no score rises so much because numbers were rounded


@dataclass(frozen=True)
class Measure:
    """What measures a model.

    Attributes:
        run: gives the scores by name.
        drop: how far the one that decides may fall, if it decides.
    """

    run: Callable[[], dict[str, float]]
    drop: float | None


@dataclass(frozen=True)
class Request:
    """What decides how far a model is rounded: one of three.

    Attributes:
        size: the most bytes of the file, or `None`.
        drop: how far the score may fall, or `None`.
        quality: 0 to 100, or `None`.
        measure: what gives the scores by name, if there is something to measure.
        examples: how many it is measured on, if that is known.
    """

    size: int | None
    drop: float | None
    quality: float | None
    measure: Measure | None
    examples: int | None

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
        measure = None
        if evaluate is not None:
            evaluate = checked(model, evaluate)
            if drop is not None and callable(evaluate):
                evaluate = scored(evaluate)
            measure = Measure(as_measure(model, evaluate, None, choosable=False), drop)
        if not named:
            quality = USUAL_QUALITY
        return cls(size, drop, quality, measure, _count(evaluate))

    def warn_of_chance(self, score: Score) -> None:
        """See the function, where it is known how many examples gave an accuracy."""
        is_share = Shown.of(score.metric.name, [score.baseline]).is_share
        if self.drop is not None and self.examples and is_share:
            warn_of_chance(score.baseline, self.drop, self.examples)


def check_is_no_loss(evaluate: Callable) -> bool:
    """Whether the name of a function says that more of its score is better.

    Raises:
        ArgumentError: it says that less is.
    """
    name = name_of(evaluate)
    higher = better_when_higher(name)
    if higher is False:
        raise ArgumentError(
            f"evaluate must return a score, higher is better, and is called '{name}': return the "
            f"negative of a loss, lambda model: -{name}(model)."
        )
    return bool(higher)


def name_of(evaluate: Callable) -> str:
    """What a function is called, `""` if it has no name."""
    name = getattr(evaluate, "__name__", "")
    return name if name.isidentifier() else ""  # of a lambda


def scored(evaluate: Callable) -> Callable:
    """`evaluate`, which must not be called a loss if it returns one number, without a name."""

    def measured(model: keras.Layer) -> Any:
        returned = evaluate(model)
        if not isinstance(returned, Mapping | tuple | list):
            check_is_no_loss(evaluate)
        return returned

    measured.__name__ = name_of(evaluate)
    return measured


def _count(evaluate: Any) -> int | None:
    """How many examples there are in `(x, y)`."""
    pair = isinstance(evaluate, (tuple, list)) and len(evaluate) > 1
    shape = getattr(evaluate[1], "shape", None) if pair else None
    return int(shape[0]) if shape else None


def warn_of_chance(accuracy: float, drop: float, examples: int) -> None:
    """Warns if an accuracy on so many examples moves by chance more than it may fall.

    The search looks at some roundings, and takes the smallest that passes: the luckiest.
    """
    likely = (accuracy * examples + 1) / (examples + 2)  # never 0 or 1, as of few it would be
    error = math.sqrt(likely * (1 - likely) / examples)
    if drop < error:
        warnings.warn(
            f"A drop of {100 * drop:g} points is within chance: {100 * accuracy:.1f} % right of "
            f"{examples:,} examples have a standard error of {100 * error:.1f} points. On others "
            "the model that is found may lose more; decide by more examples.",
            SmhWarning,
            stacklevel=4,  # where `smh.shrink` is called
        )


def check_is_score(scores: Sequence[float], baseline: float, drop: float) -> None:
    """Refuses a loss that is taken for a score: it rises as a model is made smaller.

    Args:
        scores: of models that are made smaller, and not trained since.
        baseline: that of the unchanged model.
        drop: by how much it may fall.

    Raises:
        ArgumentError: the last three are better than the unchanged model, by more than `drop` and
            by a tenth.
    """
    last, limit = scores[-SMALLEST:], max(drop, _NOTABLE * abs(baseline))
    if baseline < 0:  # the negative of a loss, and may get better: rounding calms what is too sure
        return
    if len(last) == SMALLEST and all(score - baseline > limit for score in last):
        raise ArgumentError(
            f"The score rises as the model is made smaller: from {baseline:.4g} to {last[-1]:.4g}. "
            "Is it a loss? evaluate must return what is better when higher: return its negative."
        )


class Score:
    """The score of a model, so that higher is better.

    Args:
        measure: see `Request`. Of what is better when lower the score is the negative.
    """

    def __init__(self, measure: Measure):
        self._measure = measure
        first = measure.run()
        self.metric: Metric = choose_metric(first, None, None)
        self.baseline = self.metric.score(first)
        self._rounded: list[float] = []

    def __call__(self) -> float:
        """Measures the model as it is rounded now.

        Raises:
            ArgumentError: it is a loss whose name does not say so.
        """
        score = self.metric.score(self._measure.run())
        self._rounded.append(score)
        if self.metric.is_guess and self._measure.drop is not None:
            check_is_score(self._rounded, self.baseline, self._measure.drop)
        return score
