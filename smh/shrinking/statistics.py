"""What goes through the products of a model when it runs on examples, and what it does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.progress import track
from smh.sensitivity.examples import examples_of, pieces_of, values
from smh.sensitivity.gradients import Noticeable, signed_gradients
from smh.shrinking.factors import Halves, Inputs, Outputs
from smh.shrinking.items import Item
from smh.shrinking.normalisations import Normalisations, some
from smh.shrinking.taps import tapped
from smh.shrinking.watching import watched
from smh.virtual_variable import Source

_ROWS_PER_INPUT = 48  # rows for each number of a row, over all batches: more change little
_TARGETS_PER_INPUT = 32  # and at which what was lost is made good
_MOST_NUMBERS, _LEAST_PER_INPUT = 2**24, 4  # in these rows, and rows where that is too few
_LEAST_ROWS, _LEAST_OF_A_GROUP = 4096, 1024  # a group of a depthwise layer has few inputs
_LEAST_WEIGHT = 1e-3  # of the mean: of an output that the examples do not need
_FEW = 4  # batches; below, outputs are not told apart
_MOST_OUTPUTS = 2048  # of a product with more, each counts for itself: `m * m` numbers are too many
_PRIOR = 2.0  # examples that every channel is taken to have, in which it is as the median one
_MOST_AT_ONCE = 2**28  # bytes of the largest input of a layer, for the examples that flow through
_ALIKE = 0.1  # of the outputs' spread: how far they may be from the product that they are


@dataclass(frozen=True)
class Gathered:
    """What was seen of a model.

    Attributes:
        squares: of the variables that are no items the mean squared gradient, per example.
        norms: of the model, with what went into them.
        batch: the examples of which that and the items' targets are; `None`: there are none.
    """

    squares: list[np.ndarray]
    norms: Normalisations
    batch: Any | None


def gather(
    model: keras.Layer,
    items: Sequence[Item],
    batches: Sequence[Any],
    others: Sequence[keras.Variable] = (),
) -> Gathered:
    """Fills in `inputs`, `outputs`, `weights`, `calls`, `places` and `targets` of all items.

    Args:
        model: is run with `training=False`.
        items: of the model.
        batches: each what the model takes; none: only the weights themselves count.
        others: variables of the model that are no items.

    Raises:
        ArgumentError: numbers inside the model overflow.

    Cost: two forward passes of each batch and a backward pass.
    """
    seen = [_Seen(item) for item in items]
    squares = [np.zeros(tuple(variable.shape)) for variable in others]
    norms = Normalisations(model)
    batch = None
    if batches:
        scale = _first_look(model, seen, batches[0])
        batch = _look(model, seen, batches, norms)
        _weigh(model, seen, batches, scale, others, squares)
    for one in seen:
        item, moments, prior = one.item, one.mean_moments(), _PRIOR / max(1, one.examples)
        sums = (moments, one.squares, () if one.gradients is None else one.gradients)
        if not all(np.isfinite(each).all() for each in sums):
            raise ArgumentError(
                f"On these data '{item.path}' meets numbers whose squares float32 cannot hold."
            )
        if sum(one.rows):
            item.inputs = Inputs.of(moments, _halves(one.moments, one.rows), prior)
        else:
            item.inputs = Inputs.alike(*item.original.shape[:2])
        if not batches:
            item.weights = np.full((1, 1), _by_numbers_alone(item, items))
            continue
        own = item.product.to_matrices(one.squares / one.examples)
        item.weights = _weights(own, moments, len(batches), prior)
        if one.gradients is not None and any(one.pairs) and item.weights.size > 1:
            halves = _halves(one.gradients, one.pairs)
            item.outputs = Outputs.of(one.gradients.sum(0, dtype=np.float64), item.weights, halves)
    count = max(1, sum(map(examples_of, batches)))
    return Gathered([each / count for each in squares], norms, batch)


def _by_numbers_alone(item: Item, items: Sequence[Item]) -> float:
    """One for a layer's weight: all have one step. A pool's factors count by their own scale."""
    if not isinstance(item.candidate.owners[0], Source):
        return 1.0
    own = float(np.square(item.original).mean())
    every = np.concatenate([one.original.ravel() for one in items])
    return float(np.square(every).mean()) / own if own > 0 else 1.0


class _Seen:
    """What was seen of one item.

    Attributes:
        item: it.
        moments: sum over `rows` of its inputs' products, of every other batch: `[2, groups, n, n]`.
        rows: of both halves of the batches.
        squares: sum over the batches of the squared gradient of its numbers, in their shape.
        examples: in all batches.
        gradients: sum over `pairs` of the products of its outputs' gradients, of every other batch:
            `[2, groups, m, m]`; `None`: its outputs count each for itself.
        pairs: of both halves of the batches.
        count: how many rows its input had.
    """

    def __init__(self, item: Item):
        groups, n, m = item.original.shape
        self.item = item
        self.moments = np.zeros((2, groups, n, n), np.float32)
        self.rows = [0, 0]
        self.squares = np.zeros(tuple(item.stored.shape))
        tells = 1 < m <= _MOST_OUTPUTS and item.product.whole
        self.gradients: np.ndarray | None = (
            np.zeros((2, groups, m, m), np.float32) if tells else None
        )
        self.pairs = [0, 0]
        self.examples = self.count = 0

    def inputs(self, x: np.ndarray, parts: range, share: float, are_first: bool, random) -> None:
        """Takes in an input of the layer.

        Args:
            x: of some examples.
            parts: the numbers of the batches in it.
            share: of all examples that it has.
            are_first: whether the targets are theirs.
            random: draws its rows.
        """
        item, product = self.item, self.item.product
        item.calls += 1
        self.count = count = product.count(x)
        wanted = max(1, int(enough(item, _ROWS_PER_INPUT) * share))
        has_targets = are_first and product.whole and item.calls == 1
        flowing = _rows_of(item) if has_targets else 0
        places = some(count, max(wanted, flowing), random)
        seen, told = (_drawn(len(places), number, random) for number in (wanted, flowing))
        targets: list[np.ndarray] = []
        ends = np.searchsorted(places * len(parts), count * np.arange(len(parts) + 1))
        for number, start, stop in zip(parts, ends[:-1], ends[1:], strict=True):
            own = slice(start, stop)
            if start == stop:  # fewer rows than batches
                continue
            self.rows[number % 2] += int(seen[own].sum())
            if has_targets:
                rows = product.rows(x, places[own])
                self.moments[number % 2] += product.moments_of(_at(rows, seen[own]))
                targets.append(_at(rows, told[own]) @ item.original)
            else:
                self.moments[number % 2] += product.moments(x, places[own])
        if targets:
            item.places, item.targets = places[told], np.concatenate(targets, 1)

    def output(self, y: np.ndarray) -> None:
        """Looks at what the layer made of it; an output that is not the product counts for itself.

        Of layers whose channels are not the last axis, for example.
        """
        if self.gradients is None or self.item.targets is None:
            return
        products = self.item.targets
        groups, _, m = products.shape
        if self.item.calls != 1 or y.size != self.count * groups * m:
            self.gradients = None
            return
        made = y.reshape(self.count, groups, m)[self.item.places].transpose(1, 0, 2)
        bias = (made - products).mean(1, keepdims=True)
        spread = products.std(dtype=np.float64)
        if np.abs(made - products - bias).max() > _ALIKE * spread:
            self.gradients = None

    def gradient(self, y: np.ndarray, batch: int, wanted: int, random) -> None:
        """Takes in the gradient of the layer's outputs in a batch."""
        assert self.gradients is not None
        groups, _, m = self.item.original.shape
        by_row = y.reshape(-1, groups, m)
        places = some(len(by_row), wanted, random)
        rows = by_row[places].transpose(1, 0, 2).astype(np.float32)
        self.gradients[batch % 2] += rows.transpose(0, 2, 1) @ rows
        self.pairs[batch % 2] += len(places)

    def mean_moments(self) -> np.ndarray:
        """Of all batches; of none the identity."""
        if sum(self.rows):
            return self.moments.sum(0, dtype=np.float64) / sum(self.rows)
        return np.broadcast_to(np.eye(self.moments.shape[-1]), self.moments.shape[1:])


def _halves(sums: np.ndarray, counts: Sequence[int]) -> Halves | None:
    """The mean of each half; `None`: one has nothing."""
    if min(counts) == 0:
        return None
    one, other = (part.astype(np.float64) / n for part, n in zip(sums, counts, strict=True))
    return one, other


def _drawn(count: int, wanted: int, random: np.random.Generator) -> np.ndarray:
    """Bool `[count]`: at most `wanted` by chance."""
    out = np.zeros(count, bool)
    out[some(count, wanted, random)] = True
    return out


def _at(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Some of `[groups, rows, n]`; no copy of all."""
    return rows if which.all() else rows[:, which]


def _layers(seen: Sequence[_Seen]) -> list[keras.Layer]:
    layers = [one.item.layer for one in seen if one.item.layer is not None]
    return list({id(layer): layer for layer in layers}.values())


def _of(seen: Sequence[_Seen], layer: keras.Layer) -> list[_Seen]:
    return [one for one in seen if one.item.layer is layer]


def _first_look(model: keras.Layer, seen: Sequence[_Seen], batch: Any) -> Noticeable:
    """How the outputs of a batch are noticed, and how wide the inputs of each layer are."""

    def before(layer: keras.Layer, inputs: list[Any]) -> None:
        for one in _of(seen, layer):
            x = inputs[one.item.product.argument]
            one.item.widest = max(one.item.widest, 4 * math.prod(x.shape) // examples_of(batch))

    with watched(model, _layers(seen), before):
        return Noticeable.of(model, batch)


def _look(
    model: keras.Layer, seen: Sequence[_Seen], batches: Sequence[Any], norms: Normalisations
) -> Any:
    """Looks at the inputs of all layers; returns the examples that the targets are of."""
    random, count, done = np.random.default_rng(0), sum(map(examples_of, batches)), 0
    widest = max((one.item.widest for one in seen), default=1)
    pieces = pieces_of(batches, max(1, _MOST_AT_ONCE // max(1, widest)))
    layers = list({id(layer): layer for layer in [*_layers(seen), *norms.layers]}.values())
    for number, piece in enumerate(track(pieces, "looking at the layers")):
        first, share = number == 0, examples_of(piece) / count
        parts = range(done, done + max(1, round(share * len(batches))))
        done = parts.stop

        def before(layer, inputs: list[Any], parts=parts, share=share, first=first) -> None:
            for one in _of(seen, layer):
                x = values(inputs[one.item.product.argument])
                one.inputs(x, parts, share, first, random)
            if first and layer in norms.layers:
                norms.see(layer, values(inputs[0]), random)

        def note(layer: keras.Layer, y):
            for one in _of(seen, layer):
                one.output(values(y))
            return y

        for one in seen:
            one.item.calls = 0
        with watched(model, layers, before), tapped(_layers(seen) if first else (), note):
            model(piece, training=False)
    return pieces[0]


def _weigh(
    model: keras.Layer,
    seen: Sequence[_Seen],
    batches: Sequence[Any],
    scale: Noticeable,
    others: Sequence[keras.Variable],
    squares: Sequence[np.ndarray],
) -> None:
    """Looks at the gradients; adds those of the `others`, squared, to `squares`."""
    stored = [*(one.item.stored for one in seen), *others]
    random = np.random.default_rng(0)
    told = [one for one in seen if one.gradients is not None]

    def products(inside):
        return tapped(_layers(told), lambda layer, y: inside(id(layer), y))

    runs = signed_gradients(model, stored, batches, scale, products)
    for number, (examples, found, by_layer) in enumerate(runs):
        for one, gradient in zip(seen, found[: len(seen)], strict=True):
            one.squares += np.square(gradient, dtype=np.float64)
            one.examples += examples
        for total, gradient in zip(squares, found[len(seen) :], strict=True):
            total += np.square(gradient, dtype=np.float64)
        for one in told:
            if id(one.item.layer) in by_layer:
                wanted = enough(one.item, _ROWS_PER_INPUT) // len(batches)
                one.gradient(by_layer[id(one.item.layer)], number, wanted, random)


def enough(item: Item, per_input: int) -> int:
    """How many rows of its inputs tell what a weight has to be."""
    groups, n, _ = item.original.shape
    return max(_LEAST_ROWS if groups == 1 else _LEAST_OF_A_GROUP, per_input * n)


def _rows_of(item: Item) -> int:
    """How many rows of its inputs tell how a weight makes good what was lost before it."""
    n = item.original.shape[1]
    most = max(_MOST_NUMBERS // n, _LEAST_PER_INPUT * n)
    return min(enough(item, _TARGETS_PER_INPUT), most)


def _weights(squares: np.ndarray, moments: np.ndarray, batches: int, prior: float) -> np.ndarray:
    """What an error in each output costs, `[groups, m]`, so that `weight * H_ii` is its square.

    Of an output that no example has woken nothing is known: it counts as if some more had, in which
    it is like the median one. A few samples tell outputs apart only so far: each is taken half way,
    on a logarithmic scale, to the mean of all.
    """
    own = squares.sum(1)  # [groups, m]
    sizes = np.trace(moments, axis1=1, axis2=2)[:, None]  # [groups, 1]
    mean = own.sum() / max(sizes.sum() * own.shape[1], np.finfo(np.float64).tiny)
    if mean <= 0 or not sizes.any():  # inputs of nothing, or too small to be squared
        return np.full((1, 1), np.finfo(np.float32).tiny)
    if batches < _FEW or squares.shape[1] == 1:
        return np.full((1, 1), mean)
    sizes = np.maximum(sizes + prior * np.median(sizes), sizes.max() * 1e-12)
    each = (own + prior * np.median(own)) / sizes
    return np.sqrt(np.maximum(each, mean * _LEAST_WEIGHT) * mean)
