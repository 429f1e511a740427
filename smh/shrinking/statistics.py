"""What goes through the products of a model when it runs on examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from smh.progress import track
from smh.shrinking.gradients import squared_gradients
from smh.shrinking.items import Item
from smh.shrinking.rounding import Inputs
from smh.shrinking.watching import values, watched
from smh.virtual_variable import Source

_ROWS_PER_INPUT = 48  # rows for each number of a row, over all batches: more change little
_LEAST_ROWS = 4096
_LEAST_WEIGHT = 1e-3  # of the mean: of an output that the examples do not need
_FEW = 4  # batches; below, outputs are not told apart


def gather(model: keras.Layer, items: Sequence[Item], batches: Sequence[Any]) -> None:
    """Fills in `inputs`, `weights` and `calls` of all items.

    Args:
        model: is run with `training=False`.
        items: of the model.
        batches: each what the model takes; none: only the weights themselves count.
    """
    moments = _moments(model, items, batches)
    if batches:
        squares = squared_gradients(model, [item.stored for item in items], batches)
    for number, item in enumerate(items):
        if batches:
            found = item.product.to_matrices(squares[number])
            item.weights = _weights(found, moments[number], len(batches))
        else:
            item.weights = np.full((1, 1), _by_numbers_alone(item, items))
        item.inputs = Inputs.of(moments[number])


def _by_numbers_alone(item: Item, items: Sequence[Item]) -> float:
    """One for a layer's weight: all have one step. A pool's factors count by their own scale."""
    if not isinstance(item.candidate.owners[0], Source):
        return 1.0
    own = float(np.square(item.original).mean())
    every = np.concatenate([one.original.ravel() for one in items])
    return float(np.square(every).mean()) / own if own > 0 else 1.0


def _moments(model, items: Sequence[Item], batches: Sequence[Any]) -> list[np.ndarray]:
    """The mean moments of each product's inputs, `[groups, n, n]`; of none seen the identity."""
    sums = [np.zeros(_square(item), np.float64) for item in items]
    rows = np.zeros(len(items), np.int64)
    places = _of_layers(items)
    random = np.random.default_rng(0)

    def before(layer: keras.Layer, inputs: list[Any]) -> None:
        for number in places[id(layer)]:
            item = items[number]
            item.calls += 1
            x = values(inputs[item.product.argument])
            item.widest = max(item.widest, 4 * x.size // max(1, len(x)))
            wanted = max(_LEAST_ROWS, _ROWS_PER_INPUT * sums[number].shape[-1]) // len(batches)
            chosen = some(item.product.count(x), wanted, random)
            sums[number] += item.product.moments(x, chosen)
            rows[number] += len(chosen)

    layers = _layers(items)
    with watched(model, layers, before):
        for batch in track(batches, "looking at the layers' inputs"):
            for item in items:
                item.calls = 0
            model(batch, training=False)
    return [
        total / count if count else np.broadcast_to(np.eye(total.shape[-1]), total.shape)
        for total, count in zip(sums, rows, strict=True)
    ]


def _square(item: Item) -> tuple[int, int, int]:
    groups, n, _ = item.original.shape
    return groups, n, n


def _layers(items: Sequence[Item]) -> list[keras.Layer]:
    return list({id(item.layer): item.layer for item in items if item.layer is not None}.values())


def _of_layers(items: Sequence[Item]) -> dict[int, list[int]]:
    """The numbers of the items of each layer, by its id."""
    found: dict[int, list[int]] = {}
    for number, item in enumerate(items):
        if item.layer is not None:
            found.setdefault(id(item.layer), []).append(number)
    return found


def some(count: int, wanted: int, random: np.random.Generator) -> np.ndarray:
    """At most `wanted` of so many places, evenly by chance, in order."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(random.choice(count, wanted, replace=False))


def _weights(squares: np.ndarray, moments: np.ndarray, batches: int) -> np.ndarray:
    """What an error in each output costs, `[groups, m]`, so that `weight * H_ii` is its square.

    A few samples tell outputs apart only so far: each is taken half way, on a logarithmic scale,
    to the mean of all.
    """
    own = squares.sum(1)  # [groups, m]
    sizes = np.trace(moments, axis1=1, axis2=2)[:, None]  # [groups, 1]
    mean = own.sum() / max(sizes.sum() * own.shape[1], np.finfo(np.float64).tiny)
    if mean <= 0:
        return np.full((1, 1), np.finfo(np.float32).tiny)
    if batches < _FEW or squares.shape[1] == 1:
        return np.full((1, 1), mean)
    each = own / np.maximum(sizes, sizes.max() * 1e-12)
    return np.sqrt(np.maximum(each, mean * _LEAST_WEIGHT) * mean)
