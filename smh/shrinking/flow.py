"""Rounds a whole model while examples flow through it once, each layer knowing what came before.

A layer whose turn it is sees the inputs that the rounded layers before it make. Its weight is first
moved so that its outputs come out as they were (ridge regression of what is missing on these
inputs), then rounded, and its bias takes up what is still missing on average. A normalisation's
statistics follow (`smh.shrinking.normalisations`).

References: Frantar, Alistarh, "Optimal Brain Compression", 2022 (2208.11580), section on sequential
compression; Li et al., "GPTAQ", ICML 2025 (2504.02692), for inputs of the rounded layers before;
Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh import coding
from smh.parametrizations.counting import Steps
from smh.sensitivity.examples import values
from smh.shrinking.factors import solve_lower
from smh.shrinking.items import Item, assign
from smh.shrinking.normalisations import Normalisations
from smh.shrinking.rounding import round_in_order
from smh.shrinking.shares import steps_of
from smh.shrinking.watching import watched

_ALPHABET_BITS = 8  # of a histogram of integers
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

    @functools.cached_property
    def bytes(self) -> int:
        """In a file, exactly: of the integers and the steps."""
        how = coding.Stepped(self.steps.step, self.steps.exponents, self.steps.axis)
        return len(coding.encode(self.integers, how).payload)

    @functools.cached_property
    def entropy(self) -> float:
        """About as many, by how often each integer occurs; of a wide range the lowest bits whole.

        No table is counted, and nothing is coded.
        """
        low = max(0, int(np.ptp(self.integers)).bit_length() - _ALPHABET_BITS)
        high = (self.integers >> low).ravel()
        counts = np.bincount(high - high.min())
        counts = counts[counts > 0]
        bits = (counts * np.log2(high.size / counts)).sum() + low * high.size
        return float(bits / 8)


class Flow:
    """Rounds a model at any price of a bit.

    Args:
        model: as it was; it is after each `run` what rounding made of it.
        items: with what was seen of them.
        batch: the examples of which their targets are, or `None`: no data.
        norms: of the model, with what went into them.
        dead: biases that are zero and stay so.
    """

    def __init__(
        self,
        model: keras.Layer,
        items: Sequence[Item],
        batch: Any | None,
        norms: Normalisations,
        dead: Sequence[keras.Variable] = (),
    ):
        self._dead = {id(bias) for bias in dead}
        self._model, self._items, self._batch, self._norms = model, items, batch, norms

    def _of(self, layer: keras.Layer) -> list[Item]:
        return [item for item in self._items if item.layer is layer]

    def _layers(self) -> list[keras.Layer]:
        layers = [item.layer for item in self._items if item.layer is not None]
        layers += self._norms.layers
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
            self._norms.keep(layer, x)

        if self._batch is not None:
            with watched(self._model, self._layers(), before):
                self._model(self._batch, training=False)
        return [found[id(item)] for item in self._items]

    def _made_good(self, item: Item, x: np.ndarray, multiplier: float) -> Rounded:
        rows = item.product.rows(x, item.places)  # [groups, rows, n]
        wanted = item.original + _refit(rows, item.targets - rows @ item.original)
        rounded = self._round(item, wanted, multiplier)
        bias = item.product.bias  # of type `VirtualVariable`, where it is pruned
        if bias is not None and type(bias) is keras.Variable and id(bias) not in self._dead:
            now = item.product.to_matrices(values(item.stored.value))
            given = rows.mean(1, keepdims=True) @ now
            missing = (item.targets - given).mean(1)  # [groups, m]
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
    """What to add to the weight so that the rows give what is missing: ridge regression.

    Of fewer rows than inputs by the products of the rows, `X' (X X' + r)^-1 = (X' X + r)^-1 X'`.
    """
    count, n = rows.shape[1:]
    across = rows.transpose(0, 2, 1)
    square = (rows @ across if count < n else across @ rows).astype(np.float64)
    ridge = _RIDGE * np.trace(square, axis1=1, axis2=2) / n
    every = np.arange(square.shape[-1])
    square[:, every, every] += np.where(ridge > 0, ridge, 1.0)[:, None]
    if count < n:
        return across @ np.linalg.solve(square, missing.astype(np.float64))
    return np.linalg.solve(square, (across @ missing).astype(np.float64))


def _error(off: np.ndarray, item: Item) -> float:
    """`trace(G E' H E)`, by the factors of the inverses: `H = U^-1 U'^-1`."""
    assert item.inputs is not None and item.weights is not None
    rows = np.arange(len(off))[:, None], item.inputs.order
    seen = solve_lower(item.inputs.factor.transpose(0, 2, 1), off[rows].astype(np.float32))
    if item.outputs is None:
        return float((np.square(seen).sum(1, dtype=np.float64) * item.weights).sum())
    seen = np.take_along_axis(seen, item.outputs.order[:, None], axis=2).transpose(0, 2, 1)
    seen = solve_lower(item.outputs.factor.transpose(0, 2, 1), seen)
    return float(np.square(seen).sum(dtype=np.float64))
