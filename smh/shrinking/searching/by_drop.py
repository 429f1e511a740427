"""The smallest compressed model that loses at most so much accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from smh.artifact.files import saved_bytes
from smh.errors import ArgumentError
from smh.errors.limits import DROP
from smh.progress import task
from smh.sensitivity.metrics import Metric, as_measure, choose_metric
from smh.sensitivity.words import Shown
from smh.shrinking.request import SMALLEST, check_is_score, scored
from smh.shrinking.searching.copies import (
    Copies,
    Search,
    check_functions,
    checked_bits,
    recovered,
)
from smh.shrinking.searching.tries import SearchResult, Try
from smh.typing import Selector

_STEP = 1.25  # between neighbouring numbers of replicas that are tried


def search_drop(
    model: keras.Model,
    max_drop: float,
    evaluate: Callable[[keras.Model], float],
    *,
    recover: Callable[[keras.Model], Any] | None = None,
    bits: int | Sequence[int] = (8, 4),
    rest: str = "float32",
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    seed: int | None = 0,
    show: Callable[[Try], Any] | None = None,
) -> SearchResult:
    """Finds the smallest pool that, trained, has nearly the score of the dense model.

    To make a trained model small without training it, call `smh.shrink(model, data, max_drop=...,
    evaluate=...)`: a pool that is not trained keeps little of what a model has learned.

    Each try is a copy that starts at the best fit of the weights, its factors rounded; `recover`
    trains it, then it is evaluated. For each number of bits the number of replicas is found by
    bisection, in steps of a quarter, which takes for granted that more replicas are no worse; with
    few images or little training that may fail by a step.

    Args:
        model: a built dense model, trained. It is not changed; copies are made from its
            configuration.
        max_drop: how far the score may fall, in units of the score: 0.01 is a point of accuracy.
        evaluate: returns the score of a model; higher is better, of what a dictionary calls a loss
            lower. Use validation data. A function that is called a loss (`dice_loss`) is refused,
            and so is a score above zero that rises in copies that are not trained yet, or what
            changes the model.
        recover: trains a model in place. Default: nothing is trained.
        bits: for the factors, 2 to 8, or 32: float; several are compared.
        rest: as for `smh.save`.
        apply_to: as for `smh.compress`.
        exclude: as for `smh.compress`.
        seed: as for `smh.compress`.
        show: called with each `Try`.

    Returns:
        A `SearchResult`, whose model is trained as far as it was for the try.

    Raises:
        ArgumentError: no try came close enough, a value that cannot work, a loss where a score
            belongs, or a model of which a part is compressed already.
        UnbuiltModelError: the model has no weights yet.
        SelectionError: nothing is selected.

    Cost: about five tries for each number of bits, each a copy, a fit, a training and an
    evaluation; of the first three another, before the training.

    Example:
        >>> result = smh.search_drop(smh.zoo.lenet_300_100(), 0.01, lambda model: 1.0, bits=4)
        >>> result.best.bytes < 10_000
        True
    """
    max_drop = DROP.checked(max_drop, "max_drop")
    if evaluate is None:
        raise ArgumentError("evaluate must be a function of the model, got None.")
    check_functions(evaluate=evaluate, recover=recover)
    widths, copies = checked_bits(bits), Copies.of(model, apply_to, exclude, seed)
    evaluate = scored(evaluate)
    first = _measured(evaluate, model)
    search = _ByDrop(copies, rest, show)
    search.evaluate, search.recover, search.drop = evaluate, recover, max_drop
    search.metric = choose_metric(first, None, None)
    search.baseline = search.metric.score(first)
    halvings = math.ceil(math.log2(len(_steps(copies.largest.replicas)) + 1))
    with task("looking for the smallest pool", halvings * len(widths)) as search.advance:
        for width in widths:
            search.run(width)
    name = search.metric.name if search.metric.higher_is_better else ""
    shown = "score" if name in ("", "metric") else name  # of a lambda
    return search.result(lambda: _too_far(model, search, shown), search.baseline, shown)


def _too_far(model: keras.Model, search: _ByDrop, metric: str) -> str:
    scores = [-math.inf if one.score is None else one.score for one in search.tries]
    score, baseline = max((x for x in scores if x == x), default=math.nan), search.baseline
    near = search.tries[scores.index(score) if score == score else 0]
    shown = Shown.of(metric, [baseline, score])
    return (
        f"No compressed '{model.name}' came within {shown.amount(search.drop)} of "
        f"{shown.score(baseline)}: the closest had {shown.score(score)}, at fraction "
        f"{near.fraction:.4g} with {near.bits} bits. Allow a larger drop, or train each try "
        "(longer)."
    )


class _ByDrop(Search):
    """Keeps the smallest of the models that are good enough."""

    evaluate: Callable[[keras.Model], Any]
    recover: Callable[[keras.Model], Any] | None
    baseline: float
    drop: float
    metric: Metric

    def __init__(self, copies: Copies, rest: str, show: Callable[[Try], Any] | None):
        super().__init__(copies, rest, show)
        self._untrained: list[float] = []

    def run(self, bits: int) -> None:
        """Finds the fewest replicas that are good enough at so many bits."""
        steps = _steps(self.copies.largest.replicas)
        if self.best is not None:  # no more than give a smaller file
            most = self.best.fraction * self.best.bits / bits
            steps = [n for n in steps if self.copies.fraction(n) < most]
        low, high = 0, len(steps)  # steps[:low] are not good enough, steps[high:] are
        while low < high:
            middle = (low + high) // 2
            if self.measure(steps[middle], bits):
                high = middle
            else:
                low = middle + 1

    def measure(self, replicas: int, bits: int) -> bool:
        """Makes, trains, evaluates and writes one model; returns whether it is good enough."""
        model, energy = self.copies.make(replicas, bits)
        score = self._untrained_score(model)
        if self.recover is not None:
            recovered(self.recover, model)
            score = None
        score = self._score(model) if score is None else score
        size = saved_bytes(model, self.rest, checked=False)
        fraction, fits = self.copies.fraction(replicas), score >= self.baseline - self.drop
        one = Try(fraction, bits, size, energy, score, fits)
        self.note(one, model, lambda new, best: new.bytes < best.bytes)
        return fits

    def _untrained_score(self, model: keras.Model) -> float | None:
        """That of a copy that is not trained yet, of which the first few tell a loss; or `None`."""
        if not self.metric.is_guess or len(self._untrained) == SMALLEST:
            return None
        self._untrained.append(self._score(model))
        check_is_score(self._untrained, self.baseline, self.drop)
        return self._untrained[-1]

    def _score(self, model: keras.Model) -> float:
        measured = _measured(self.evaluate, model)
        if self.metric.name not in measured:
            raise ArgumentError(f"evaluate no longer returns {self.metric.name!r}.")
        return self.metric.score(measured)


def _steps(most: int) -> list[int]:
    """Numbers of replicas from 1 to `most`, each a quarter above the one before."""
    steps = [1]
    while steps[-1] < most:
        steps.append(min(max(steps[-1] + 1, int(steps[-1] * _STEP)), most))
    return steps


def _measured(evaluate: Callable[[keras.Model], Any], model: keras.Model) -> dict[str, float]:
    return as_measure(model, evaluate, None, choosable=False)()
