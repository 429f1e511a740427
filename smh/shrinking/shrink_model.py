"""`smh.shrink`: a trained network in, the smallest file out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from smh.artifact.files import saved_parts
from smh.doors.candidates import candidates
from smh.errors import ArgumentError
from smh.errors.limits import COUNT
from smh.sensitivity.examples import batches_of
from smh.shrinking.applying import FileSize, apply, zeros
from smh.shrinking.curve import Curve, expected_bytes
from smh.shrinking.dead_biases import fold_biases
from smh.shrinking.flow import Flow, Rounded
from smh.shrinking.items import Item, items_of, put_back, snapshot, states_of
from smh.shrinking.report import Attempt, ShrinkReport, rows_of
from smh.shrinking.request import USUAL_QUALITY, Request, Score
from smh.shrinking.rest import fold_statistics, rest_of, round_rest
from smh.shrinking.search import LEAST, price_of_quality, to_drop, to_size
from smh.shrinking.statistics import gather
from smh.typing import Selector
from smh.virtual_variable import own_layers
from smh.virtual_variable.computable import check_computable
from smh.virtual_variable.inside_keras.rematerialising import not_rematerialised
from smh.virtual_variable.inside_keras.replicas import check_outside_scope

_BESIDE = 200  # bytes of names and shapes, by which files of one network may differ
_TELLING = 256  # bytes of a file's numbers: those of fewer do not tell how far off others are
_BITS = 0.5  # of a number, where a search by a score begins, half way to what a quality has
_FAR = 1e8  # times a price: beyond, as of weights that are all alike
_LEAST_BATCHES = 8  # examples are told apart by them: what holds in one and not in others


def shrink(
    model: keras.Model,
    data: Any = None,
    *,
    target_size: int | None = None,
    max_drop: float | None = None,
    quality: float | None = None,
    evaluate: Any = None,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    examples: int = 512,
) -> ShrinkReport:
    """Rounds a trained model's weights, in place, so that its file is small; nothing is trained.

    Each weight becomes whole numbers times a step, which `smh.save` entropy-codes. The steps are
    such that a bit more would help the outputs as little in one layer as in any other; each number
    is rounded by what it costs in error and in bits, the numbers after it make good its error, and
    the layers after it what is left. Biases, scales and statistics follow, and are rounded as well.

    The model goes on as before: `fit` (with the rounding on), `smh.save`, `.keras`,
    `smh.materialize`, exports.

    Args:
        model: a built, trained Keras 3 model, dense, pruned (zeros stay) or compressed (the factors
            are rounded).
        data: some hundred examples as the model takes them, without labels: an array, arrays nested
            as its inputs, a data set of batches (labels beside them are left out), or a function
            that returns one of these. `None`: by the weights alone, which is worse.
        target_size: the most bytes of the file that `smh.save(model, path)` writes. It will be
            within 1 % of that, unless all fits at the finest steps, or sizes jump there, as those
            of some thousand numbers may. The size of a model that cannot be made again from its
            configuration is estimated, within some hundred bytes.
        max_drop: how far the score of `evaluate` may fall, in its units. Of few examples a score
            falls by chance, and the search takes what is lucky on them: 126 images let a network
            pass that had lost six points on 540 others.
        quality: 0 to 100: the error that the outputs may have, from 10 to 1e-5 (of probabilities
            twice the divergence; of others the squared change over their variance). 50 if none of
            the three is given.
        evaluate: for `max_drop`: a function of the model that returns its score, or `(x, y)` for a
            compiled model. More of a score is better: a function returns the negative of a loss,
            or gives it by name, `{"loss": 0.1}`. It must leave the model as it is. Beside another
            budget it is reported.
        apply_to: which weights, as in `smh.compress`. Default: kernels, embeddings and other
            trained weights of rank 2 or more; biases and scales stay (`smh.doors.weight_roles`).
        exclude: which weights to leave alone.
        examples: how many of `data` are used at most.

    Returns:
        A `ShrinkReport`: `print(report)`, `.rows`, `.bytes`, `.to_csv`, `.to_png`.

    Raises:
        ArgumentError: a value that cannot work; data that the model does not take; a size that no
            rounding reaches (with the smallest that one does); a weight that is rounded already.
        SelectionError: nothing is selected, or a weight has NaN in it, or is assigned to by its
            layer (`SpectralNormalization`), or is a LoRA adapter that was not named.
        UnbuiltModelError: the model has no weights yet.
        DeployedModelError: the model is deployed.
        In every case, and after Ctrl-C, the model is as it was.

    Cost: two forward passes of the examples and a backward one, then as a rule one to ten
        roundings, each a forward pass and `2 * n * m * (n + m)` multiply-adds for each matrix
        `[n, m]`: ten seconds for a ResNet-8. Memory: three times the weights, with `max_drop` five
        times, `n * n + m * m` for each matrix, and the layers' inputs.

    Example:
        >>> report = smh.shrink(model, x[:500], target_size=2_000)
        >>> smh.save(model, "model.smh")

    Reference: the files `rounding`, `shares` and `flow` in `smh/shrinking` name what they build on.
    """
    check_outside_scope("smh.shrink")
    request = Request.of(model, target_size, max_drop, quality, evaluate)
    examples = COUNT.checked(examples, "examples")
    selected = candidates(model, apply_to, exclude)
    check_computable(model, [candidate.variable for candidate in selected])
    items = items_of(model, selected)
    states = states_of(model)
    with not_rematerialised(own_layers(model)):
        try:
            batches = []
            if data is not None:
                batches = batches_of(model, data, examples, least=_LEAST_BATCHES)
            work = _Work(model, items, batches, request, states)
            if work.score is not None:
                request.warn_of_chance(work.score)
            return _shrunk(work)
        finally:
            put_back(states)


def _shrunk(work: _Work) -> ShrinkReport:
    model, items = work.model, work.items
    with work.put_back_on_errors():
        chosen = work.search()
        best = work.round_again(chosen)
        found = [item.candidate for item in items]
        rules = ["inputs" if item.calls else "numbers" for item in items]
        paths = [item.path for item in items]
        rows = tuple(rows_of(paths, best, rules))
        baseline = None if work.score is None else work.score.baseline
        parts = work.size.exactly(best, is_last=True)
        apply(model, found, best)
    size, numbers = parts if work.size.is_known else _saved(model)
    chosen = work.measured(chosen, size, numbers)
    attempts = tuple(sorted(work.attempts, key=lambda one: one.multiplier))
    return ShrinkReport(model.name, rows, size, work.before, attempts, chosen, baseline)


def _saved(model: keras.Layer) -> tuple[int, int]:
    """The bytes of its file, and how many of them are numbers."""
    try:
        return saved_parts(model)
    except ArgumentError:  # its architecture has no description
        return saved_parts(model, architecture=False)


class _Work:
    """One model while it is rounded again and again."""

    def __init__(self, model, items: list[Item], batches: list[Any], request: Request, states):
        self.model, self.items, self.request = model, items, request
        self._states = states
        self._batches = batches
        self.attempts: list[Attempt] = []
        self.score = None if request.measure is None else Score(request.measure)
        self.before, _ = _saved(model)
        self._saved = self._start = snapshot(model, items)
        self._rest = rest_of(model, items)
        self.size = FileSize(model, items)
        self._squares: list[np.ndarray] | None = None
        self._flow: Flow | None = None
        self._last: tuple[float, list[Rounded]] | None = None
        # The smallest that kept the score, with the numbers that the model had.
        self._kept: tuple[Attempt, list[Rounded], list] | None = None

    @contextlib.contextmanager
    def put_back_on_errors(self) -> Iterator[None]:
        """Puts the numbers back if anything fails, Ctrl-C too."""
        try:
            yield
        except BaseException:
            put_back(self._saved)
            raise

    def search(self) -> Attempt:
        """Gathers the statistics, then finds the price of a bit."""
        dead = fold_biases(self.model)
        self._start = snapshot(self.model, self.items)
        seen = gather(self.model, self.items, self._batches, self._rest)
        put_back(self._states)
        if self._batches:
            self._squares = seen.squares
        self._flow = Flow(self.model, self.items, seen.batch, seen.norms, dead)
        numbers = sum(item.original.size for item in self.items)
        name, request = self.model.name, self.request
        quality = USUAL_QUALITY if request.quality is None else request.quality
        start = price_of_quality(quality, numbers)
        if not self._batches:  # errors are those of the weights, whatever their scale
            start *= (
                sum(float(np.square(item.original, dtype=np.float64).sum()) for item in self.items)
                or 1.0
            )
        if request.size is not None:
            self._check_possible(request.size)
            return to_size(self.attempt, Curve(self._expected, start), request.size, name)
        if request.drop is not None:
            assert self.score is not None
            start = math.sqrt(start * self._price_of_bits(numbers, start))
            return to_drop(self.attempt, self.score.baseline, request.drop, start, name)
        return self.attempt(start)

    def _price_of_bits(self, numbers: int, start: float) -> float:
        """At which numbers may be expected to have `_BITS` each; `start`, if that says nothing."""
        curve = Curve(lambda price: max(1.0, expected_bytes(self.items, price)), start)
        price = curve.price_of(math.log(_BITS / 8 * numbers))
        return price if 1 / _FAR < price / start < _FAR else start

    def _check_possible(self, size: int) -> None:
        smallest = zeros(self.items)
        self._round_rest(1e-3)
        least, _ = self.size.exactly(smallest)
        if least > size:
            raise ArgumentError(
                f"No rounding of '{self.model.name}' makes a file of {size:,} bytes: the smallest "
                f"has {least:,}, and every weight in it is zero. Allow more, or make the network "
                "smaller first (smh.prune, smh.compress)."
            )

    def attempt(self, multiplier: float) -> Attempt:
        """Rounds the model at a price."""
        rounded = self._round(multiplier)
        size = self._bytes(rounded)
        score = None if self.score is None else self.score()
        error = sum(one.error for one in rounded)
        made = Attempt(multiplier, size, error, score)
        self.attempts.append(made)
        if self._keeps_score(made) and (self._kept is None or size < self._kept[0].bytes):
            self._kept = made, rounded, snapshot(self.model, self.items)
        return made

    def _keeps_score(self, made: Attempt) -> bool:
        if self.request.drop is None or self.score is None or made.score is None:
            return False
        return made.score >= self.score.baseline - self.request.drop

    def _round(self, multiplier: float) -> list[Rounded]:
        assert self._flow is not None
        put_back(self._start)
        rounded = self._flow.run(multiplier)
        put_back(self._states)
        self._round_rest(multiplier)
        self._last = multiplier, rounded
        return rounded

    def _round_rest(self, multiplier: float) -> None:
        fold_statistics(self.model)
        round_rest(self._rest, self._squares, multiplier)

    def round_again(self, chosen: Attempt) -> list[Rounded]:
        """The model at the price that was chosen."""
        if self._last is not None and self._last[0] == chosen.multiplier:
            return self._last[1]
        if self._kept is not None and self._kept[0] == chosen:
            put_back(self._kept[2])
            return self._kept[1]
        return self._round(chosen.multiplier)

    def measured(self, chosen: Attempt, size: int, numbers: int) -> Attempt:
        """The one that was chosen, its file measured, and the others as far off as it was.

        By a score only: otherwise sizes are known already.
        """
        if self.request.drop is None:
            return chosen
        ratio = numbers / chosen.bytes if chosen.bytes >= _TELLING else 1.0
        beside = size - chosen.bytes * ratio
        place = self.attempts.index(chosen)
        self.attempts = [
            replace(one, bytes=round(one.bytes * ratio + beside)) for one in self.attempts
        ]
        return self.attempts[place]

    def _expected(self, price: float) -> float:
        put_back(self._start)
        self._round_rest(price)
        self._last = None
        return expected_bytes(self.items, price) + self.size.beside

    def _bytes(self, rounded: list[Rounded]) -> int:
        wanted = self.request.size
        if self.request.drop is not None:  # a score decides: nothing is coded but what it chose,
            return round(self.size.about(rounded))  # and all have the same beside their numbers
        if not self.attempts:
            return self.size.exactly(rounded)[0]  # what is beside them is known from then on
        size = self.size.nearly(rounded)
        if wanted is None or not self.size.is_known:
            return size  # some bytes decide nothing
        if not LEAST * wanted - _BESIDE <= size <= wanted + _BESIDE:
            return size
        return self.size.exactly(rounded)[0]
