"""Rounds a whole model while examples flow through it once, each layer knowing what came before.

A layer whose turn it is sees the inputs that the rounded layers before it make. Its weight is first
moved so that its outputs come out as they were (ridge regression of what is missing on these
inputs), then rounded, and its bias takes up what is still missing on average. A normalisation's
statistics move by as much as its inputs' did.

References: Frantar, Alistarh, "Optimal Brain Compression", 2022 (2208.11580), section on sequential
compression; Li et al., "GPTAQ", ICML 2025 (2504.02692), for inputs of the rounded layers before;
Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019;
Sun et al., "Hybrid 8-bit Floating Point Training", NeurIPS 2019, appendix, for the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.parametrizations.counting import Steps
from smh.sensitivity.examples import values
from smh.shrinking.items import Item, assign
from smh.shrinking.rounding import round_in_order
from smh.shrinking.shares import steps_of
from smh.shrinking.statistics import some
from smh.shrinking.watching import watched
from smh.virtual_variable import own_layers

_ROWS_PER_INPUT = 32
_LEAST_ROWS = 4096
_RIDGE = 0.1  # of the mean square of an input: how much the weight stays what it was


@dataclass(frozen=True)
class Rounded:
    """An item after its rounding.

    Attributes:
        integers: int32, in the weight's shape.
        steps: what they are multiplied by.
        error: what its rounding costs, in the units of `multiplier * bits`.
    """

    integers: np.ndarray
    steps: Steps
    error: float


class Flow:
    """Rounds a model at any price of a bit.

    Args:
        model: as it was; it is after each `run` what rounding made of it.
        items: with their statistics.
        batch: what the model takes, or `None`: no data.
        dead: biases that are zero and stay so.
    """

    def __init__(
        self,
        model: keras.Layer,
        items: Sequence[Item],
        batch: Any | None,
        dead: Sequence[keras.Variable] = (),
    ):
        self._dead = {id(bias) for bias in dead}
        self._model, self._items, self._batch = model, items, batch
        self._norms = [x for x in own_layers(model) if _has_statistics(x)]
        self._before: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if batch is not None:
            self._look()

    def _look(self) -> None:
        """Notes the outputs of the products and the inputs of the normalisations, as they are."""
        random = np.random.default_rng(0)

        def before(layer: keras.Layer, inputs: list[Any]) -> None:
            x = values(inputs[0])
            for item in self._of(layer):
                if item.product.whole and item.calls == 1:
                    wanted = max(_LEAST_ROWS, _ROWS_PER_INPUT * item.original.shape[1])
                    item.places = some(item.product.count(x), wanted, random)
                    item.targets = item.product.rows(x, item.places) @ item.original
            if layer in self._norms:
                self._before[id(layer)] = _statistics(layer, x)

        with watched(self._model, self._layers(), before):
            self._model(self._batch, training=False)

    def _of(self, layer: keras.Layer) -> list[Item]:
        return [item for item in self._items if item.layer is layer]

    def _layers(self) -> list[keras.Layer]:
        layers = [item.layer for item in self._items if item.layer is not None] + self._norms
        return list({id(layer): layer for layer in layers}.values())

    def run(self, multiplier: float) -> list[Rounded]:
        """Rounds the weights of the model as it was, in place; returns what each became."""
        found: dict[int, Rounded] = {}
        for item in self._items:
            if self._batch is None or not item.flows:
                found[id(item)] = self._round(item, item.original, multiplier)

        def before(layer: keras.Layer, inputs: list[Any]) -> None:
            x = values(inputs[0])
            for item in self._of(layer):
                if item.flows:
                    found[id(item)] = self._made_good(item, x, multiplier)
            if id(layer) in self._before:
                _move(layer, self._before[id(layer)], _statistics(layer, x))

        if self._batch is not None:
            with watched(self._model, self._layers(), before):
                self._model(self._batch, training=False)
        return [found[id(item)] for item in self._items]

    def _made_good(self, item: Item, x: np.ndarray, multiplier: float) -> Rounded:
        rows = item.product.rows(x, item.places)  # [groups, rows, n]
        wanted = item.original + _refit(rows, item.targets - rows @ item.original)
        rounded = self._round(item, wanted, multiplier)
        bias = getattr(item.layer, "bias", None)
        if isinstance(bias, keras.Variable) and id(bias) not in self._dead:
            now = item.product.to_matrices(values(item.stored.value))
            missing = (item.targets - rows @ now).mean(1)  # [groups, m]
            bias.assign(values(bias.value) + missing.reshape(-1).reshape(bias.shape))
        return rounded

    def _round(self, item: Item, wanted: np.ndarray, multiplier: float) -> Rounded:
        product, shape = item.product, tuple(item.candidate.variable._shape)
        steps = steps_of(item, multiplier)
        spread = np.broadcast_to(steps.spread(len(shape)), shape)
        step = product.to_matrices(spread)[:, 0]  # [groups, m]: one for each output
        assert item.inputs is not None and item.weights is not None
        integers = round_in_order(
            wanted, item.inputs, step, item.weights, multiplier, item.keep, item.outputs
        )
        numbers = integers * step[:, None]
        assign(item, numbers)
        error = _error(numbers - item.original, item)
        return Rounded(product.from_matrices(integers), steps, error)


def _refit(rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """What to add to the weight so that the rows give what is missing: ridge regression."""
    n = rows.shape[-1]
    across = rows.transpose(0, 2, 1)
    square = (across @ rows).astype(np.float64)
    ridge = _RIDGE * np.trace(square, axis1=1, axis2=2) / n
    ridge = np.where(ridge > 0, ridge, 1.0)[:, None, None]
    return np.linalg.solve(square + ridge * np.eye(n), (across @ missing).astype(np.float64))


def _error(off: np.ndarray, item: Item) -> float:
    """`trace(G E' H E)`, by the factors of the inverses: `H = U^-1 U'^-1`."""
    assert item.inputs is not None and item.weights is not None
    rows = np.arange(len(off))[:, None], item.inputs.order
    seen = np.linalg.solve(item.inputs.factor.astype(np.float64).transpose(0, 2, 1), off[rows])
    if item.outputs is None:
        return float((np.square(seen).sum(1) * item.weights).sum())
    seen = np.take_along_axis(seen, item.outputs.order[:, None], axis=2).transpose(0, 2, 1)
    seen = np.linalg.solve(item.outputs.factor.astype(np.float64).transpose(0, 2, 1), seen)
    return float(np.square(seen).sum())


def _has_statistics(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and layer.built


def _statistics(layer: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = tuple(i for i in range(x.ndim) if i != layer.axis % x.ndim)
    return x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)


def _move(layer: Any, before: tuple, now: tuple) -> None:
    """Moves a normalisation's statistics by as much as its inputs' moved."""
    layer.moving_mean.assign(values(layer.moving_mean.value) + now[0] - before[0])
    ratio = np.where(before[1] > 0, now[1] / np.where(before[1] > 0, before[1], 1), 1.0)
    layer.moving_variance.assign(values(layer.moving_variance.value) * ratio)
