"""The smallest compressed model that loses at most so much accuracy."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import keras

from smh.artifact.files import saved_bytes
from smh.errors import ArgumentError
from smh.errors.limits import DROP
from smh.progress import task
from smh.sensitivity.words import Shown
from smh.shrinking.request import SMALLEST, check_is_no_loss, check_is_score, name_of
from smh.shrinking.searching.copies import Copies, Search, check_functions, checked_bits
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
        evaluate: returns the score of a model; higher is better. Use validation data. One that is
            called a loss (`dice_loss`) is refused, and so is one above zero that rises in copies
            that are not trained yet.
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
    is_clear = check_is_no_loss(evaluate)
    widths, copies = checked_bits(bits), Copies.of(model, apply_to, exclude, seed)
    baseline = _score(evaluate, model)
    search = _ByDrop(copies, rest, show)
    search.evaluate, search.recover = evaluate, recover
    search.baseline, search.drop, search.is_clear = baseline, max_drop, is_clear
    halvings = math.ceil(math.log2(len(_steps(copies.largest.replicas)) + 1))
    with task("looking for the smallest pool", halvings * len(widths)) as search.advance:
        for width in widths:
            search.run(width)
    metric = name_of(evaluate) or "score"
    return search.result(lambda: _too_far(model, search, metric), baseline, metric)


def _too_far(model: keras.Model, search: _ByDrop, metric: str) -> str:
    near = max((one for one in search.tries), key=lambda one: one.score or -math.inf)
    score, baseline = near.score or 0.0, search.baseline
    shown = Shown.of(metric, [baseline, score])
    return (
        f"No compressed '{model.name}' came within {shown.amount(search.drop)} of "
        f"{shown.score(baseline)}: the closest had {shown.score(score)}, at fraction "
        f"{near.fraction:.4g} with {near.bits} bits. Allow a larger drop, or train each try "
        "(longer)."
    )


class _ByDrop(Search):
    """Keeps the smallest of the models that are good enough."""

    evaluate: Callable[[keras.Model], float]
    recover: Callable[[keras.Model], Any] | None
    baseline: float
    drop: float
    is_clear: bool  # that more of the score is better

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
            self.recover(model)
            score = None
        score = _score(self.evaluate, model) if score is None else score
        size = saved_bytes(model, self.rest, checked=False)
        fraction, fits = self.copies.fraction(replicas), score >= self.baseline - self.drop
        one = Try(fraction, bits, size, energy, score, fits)
        self.note(one, model, lambda new, best: new.bytes < best.bytes)
        return fits

    def _untrained_score(self, model: keras.Model) -> float | None:
        """That of a copy that is not trained yet, of which the first few tell a loss; or `None`."""
        if self.is_clear or len(self._untrained) == SMALLEST:
            return None
        self._untrained.append(_score(self.evaluate, model))
        check_is_score(self._untrained, self.baseline, self.drop)
        return self._untrained[-1]


def _steps(most: int) -> list[int]:
    """Numbers of replicas from 1 to `most`, each a quarter above the one before."""
    steps = [1]
    while steps[-1] < most:
        steps.append(min(max(steps[-1] + 1, int(steps[-1] * _STEP)), most))
    return steps


def _score(evaluate: Callable[[keras.Model], float], model: keras.Model) -> float:
    score = evaluate(model)
    if not isinstance(score, numbers.Real) or not math.isfinite(score):
        raise ArgumentError(f"evaluate must return one finite number, got {score!r:.80}.")
    return float(score)
