"""What goes through the products of a model when it runs on examples, and what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError
from smh.progress import track
from smh.sensitivity.examples import values
from smh.sensitivity.gradients import Noticeable, gradients, signed_sum
from smh.shrinking.factors import Halves, Inputs, Outputs
from smh.shrinking.items import Item
from smh.shrinking.taps import tapped
from smh.shrinking.watching import watched
from smh.virtual_variable import Source

_ROWS_PER_INPUT = 48  # rows for each number of a row, over all batches: more change little
_LEAST_ROWS, _LEAST_OF_A_GROUP = 4096, 1024  # a group of a depthwise layer has few inputs
_LEAST_WEIGHT = 1e-3  # of the mean: of an output that the examples do not need
_FEW = 4  # batches; below, outputs are not told apart
_MOST_OUTPUTS = 2048  # of a product with more, each counts for itself: `m * m` numbers are too many
_PRIOR = 2.0  # examples that every channel is taken to have, in which it is as the median one
_ALIKE = 0.1  # of the outputs' spread: how far they may be from the product that they are


def gather(
    model: keras.Layer,
    items: Sequence[Item],
    batches: Sequence[Any],
    others: Sequence[keras.Variable] = (),
) -> list[np.ndarray]:
    """Fills in `inputs`, `outputs`, `weights` and `calls` of all items.

    Args:
        model: is run with `training=False`.
        items: of the model.
        batches: each what the model takes; none: only the weights themselves count.
        others: variables of the model that are no items.

    Returns:
        for each of the `others` its mean squared gradient, per example, in its shape.

    Raises:
        ArgumentError: numbers inside the model overflow.

    Cost: two forward passes of each batch and a backward pass.
    """
    seen = [_Seen(item) for item in items]
    squares = [np.zeros(tuple(variable.shape)) for variable in others]
    if batches:
        _look(model, seen, batches, others, squares)
    for one in seen:
        item, moments, prior = one.item, one.mean_moments(), _PRIOR / max(1, one.examples)
        sums = (moments, one.squares, () if one.gradients is None else one.gradients)
        if not all(np.isfinite(each).all() for each in sums):
            raise ArgumentError(
                f"On these data '{item.path}' meets numbers whose squares float32 cannot hold."
            )
        if sum(one.rows):
            item.inputs = Inputs.of(moments, one.halves(one.moments), prior)
        else:
            item.inputs = Inputs.alike(*item.original.shape[:2])
        if not batches:
            item.weights = np.full((1, 1), _by_numbers_alone(item, items))
            continue
        own = item.product.to_matrices(one.squares / one.examples)
        item.weights = _weights(own, moments, len(batches), prior)
        if one.gradients is not None and one.pairs and item.weights.size > 1:
            halves = one.halves(one.gradients)
            item.outputs = Outputs.of(one.gradients.sum(0, dtype=np.float64), item.weights, halves)
    return [each / max(1, sum(map(_examples, batches))) for each in squares]


def _examples(batch: Any) -> int:
    return len(keras.tree.flatten(batch)[0])


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
        half: which of both the batch belongs to.
        squares: sum over the batches of the squared gradient of its numbers, in their shape.
        examples: in all batches.
        gradients: sum over `pairs` of the products of its outputs' gradients, of every other batch:
            `[2, groups, m, m]`.
        places: the rows of the last batch that were looked at.
        products: what its inputs give there, `[groups, rows, m]`.
        made: what the layer made of them, its bias included: `[count, groups, m]`.
        count: how many rows the last batch has.
    """

    def __init__(self, item: Item):
        groups, n, m = item.original.shape
        self.item = item
        self.moments = np.zeros((2, groups, n, n), np.float32)
        self.rows, self.half = [0, 0], 0
        self.squares = np.zeros(tuple(item.stored.shape))
        tells = 1 < m <= _MOST_OUTPUTS and item.product.whole
        self.gradients: np.ndarray | None = (
            np.zeros((2, groups, m, m), np.float32) if tells else None
        )
        self.examples = self.pairs = self.count = 0
        self.places = np.zeros(0, np.int64)
        self.products: np.ndarray | None = None

    def inputs(self, x: np.ndarray, places: np.ndarray) -> None:
        """Takes in an input of the layer."""
        item = self.item
        item.calls += 1
        item.widest = max(item.widest, 4 * x.size // max(1, len(x)))
        self.moments[self.half] += item.product.moments(x, places)
        self.rows[self.half] += len(places)
        self.places, self.count = places, item.product.count(x)
        if self.gradients is not None and not self.pairs:
            self.products = item.product.rows(x, places) @ item.original

    def output(self, y: np.ndarray) -> None:
        """Takes in what the layer made of it; an output that is not the product counts for itself.

        Of layers whose channels are not the last axis, for example.
        """
        if self.gradients is None or self.products is None:
            return
        groups, _, m = self.item.original.shape
        if self.item.calls != 1 or y.size != self.count * groups * m:
            self.gradients = None
            return
        made = y.reshape(self.count, groups, m)[self.places].transpose(1, 0, 2)
        bias = (made - self.products).mean(1, keepdims=True)
        spread = self.products.std(dtype=np.float64)
        if np.abs(made - self.products - bias).max() > _ALIKE * spread:
            self.gradients = None
        self.products = None

    def gradient(self, y: np.ndarray) -> None:
        """Takes in the gradient of the layer's outputs."""
        if self.gradients is None:
            return
        groups, _, m = self.item.original.shape
        rows = y.reshape(self.count, groups, m)[self.places].transpose(1, 0, 2)
        rows = rows.astype(np.float32)
        self.gradients[self.half] += rows.transpose(0, 2, 1) @ rows
        self.pairs += len(self.places)

    def mean_moments(self) -> np.ndarray:
        """Of all batches; of none the identity."""
        if sum(self.rows):
            return self.moments.sum(0, dtype=np.float64) / sum(self.rows)
        return np.broadcast_to(np.eye(self.moments.shape[-1]), self.moments.shape[1:])

    def halves(self, sums: np.ndarray) -> Halves | None:
        """The mean over the rows of each half; `None`: one has none."""
        if min(self.rows) == 0:
            return None
        one, other = (
            part.astype(np.float64) / rows for part, rows in zip(sums, self.rows, strict=True)
        )
        return one, other


def _look(
    model: keras.Layer,
    seen: Sequence[_Seen],
    batches: Sequence[Any],
    others: Sequence[keras.Variable],
    squares: Sequence[np.ndarray],
) -> None:
    """Runs the batches; adds the squared gradients of the `others` to `squares`."""
    layers = {id(one.item.layer): one.item.layer for one in seen if one.item.layer is not None}
    stored = [*(one.item.stored for one in seen), *others]
    random, signs = np.random.default_rng(0), np.random.default_rng(0)
    scale = Noticeable.of(model, batches[0])

    def of(layer: keras.Layer) -> list[_Seen]:
        return [one for one in seen if one.item.layer is layer]

    def before(layer: keras.Layer, inputs: list[Any]) -> None:
        for one in of(layer):
            x, product = values(inputs[one.item.product.argument]), one.item.product
            wanted = enough(one.item, _ROWS_PER_INPUT) // len(batches)
            one.inputs(x, some(product.count(x), wanted, random))

    for number, batch in enumerate(track(batches, "looking at the layers")):
        added: dict[int, keras.Variable] = {}

        def note(layer: keras.Layer, y, added=added):
            for one in of(layer):
                one.output(values(y))
            if any(one.gradients is not None for one in of(layer)):
                added[id(layer)] = keras.Variable(np.zeros(tuple(y.shape), np.float32))
            return y

        def add(layer: keras.Layer, y, added=added):
            return y + ops.cast(added[id(layer)], y.dtype) if id(layer) in added else y

        seed = int(signs.integers(2**32))

        def score(batch=batch, seed=seed, add=add):
            with tapped(layers.values(), add):
                return signed_sum(scale(model(batch, training=False)), seed)

        for one in seen:
            one.item.calls, one.half = 0, number % 2
        with watched(model, layers.values(), before), tapped(layers.values(), note):
            model(batch, training=False)
        found = gradients(score, [*stored, *added.values()])
        for one, gradient in zip(seen, found[: len(seen)], strict=True):
            one.squares += np.square(gradient, dtype=np.float64)
            one.examples += _examples(batch)
        for total, gradient in zip(squares, found[len(seen) : len(stored)], strict=True):
            total += np.square(gradient, dtype=np.float64)
        by_layer = dict(zip(added, found[len(stored) :], strict=True))
        for one in seen:
            if id(one.item.layer) in by_layer:
                one.gradient(by_layer[id(one.item.layer)])


def enough(item: Item, per_input: int) -> int:
    """How many rows of its inputs tell what a weight has to be."""
    groups, n, _ = item.original.shape
    return max(_LEAST_ROWS if groups == 1 else _LEAST_OF_A_GROUP, per_input * n)


def some(count: int, wanted: int, random: np.random.Generator) -> np.ndarray:
    """At most `wanted` of so many places, evenly by chance, in order."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(random.choice(count, wanted, replace=False))


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
