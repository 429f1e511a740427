"""Rounds a whole model while examples flow through it once, each layer knowing what came before.

A layer whose turn it is sees the inputs that the rounded layers before it make. Its weight is first
moved so that its outputs come out as they were (ridge regression of what is missing on these
inputs), then rounded, and its bias takes up what is still missing on average. A normalisation's
statistics become those with which it gives what it gave, by the regression of what went into each
channel on what goes in now: where rounding has left little but noise, it is not made loud again.

References: Frantar, Alistarh, "Optimal Brain Compression", 2022 (2208.11580), section on sequential
compression; Li et al., "GPTAQ", ICML 2025 (2504.02692), for inputs of the rounded layers before;
Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019;
Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets", ICML 2021, for
normalisations tuned to what the rounded layers before them give.
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
from smh.shrinking.rounding import round_in_order
from smh.shrinking.shares import steps_of
from smh.shrinking.statistics import enough, some
from smh.shrinking.watching import watched
from smh.virtual_variable import own_layers

_ROWS_PER_INPUT = 32
_MANY_ROWS, _LEAST_PER_INPUT = 16384, 8  # of a weight with more inputs
_ROWS = 4096  # of a normalisation's inputs
_MOST_GAIN = 16.0  # of a channel of a normalisation, and its inverse
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
        self._before: dict[int, _Inputs | None] = {}  # `None` of one that is called twice
        if batch is not None:
            self._look()

    def _look(self) -> None:
        """Notes the outputs of the products and the inputs of the normalisations, as they are."""
        random = np.random.default_rng(0)

        def before(layer: keras.Layer, inputs: list[Any]) -> None:
            x = values(inputs[0])
            for item in self._of(layer):
                if item.product.whole and item.calls == 1:
                    item.places = some(item.product.count(x), _rows_of(item), random)
                    item.targets = item.product.rows(x, item.places) @ item.original
            if layer in self._norms:
                again = id(layer) in self._before
                self._before[id(layer)] = None if again else _Inputs.of(layer, x, random)

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
            inputs_before = self._before.get(id(layer))
            if inputs_before is not None:
                inputs_before.kept_by(layer, x)

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


def _rows_of(item: Item) -> int:
    """How many rows of its inputs tell how a weight makes good what was lost before it."""
    most = max(_MANY_ROWS, _LEAST_PER_INPUT * item.original.shape[1])
    return min(enough(item, _ROWS_PER_INPUT), most)


def _refit(rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """What to add to the weight so that the rows give what is missing: ridge regression."""
    n = rows.shape[-1]
    across = rows.transpose(0, 2, 1)
    square = (across @ rows).astype(np.float64)
    ridge = _RIDGE * np.trace(square, axis1=1, axis2=2) / n
    square[:, np.arange(n), np.arange(n)] += np.where(ridge > 0, ridge, 1.0)[:, None]
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


def _has_statistics(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and layer.built


@dataclass(frozen=True)
class _Inputs:
    """What went into a normalisation before anything was rounded.

    Attributes:
        mean: of each channel.
        places: of the rows that are kept.
        rows: `[len(places), channels]`.
    """

    mean: np.ndarray
    places: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, norm: Any, x: np.ndarray, random: np.random.Generator) -> _Inputs:
        """Of some rows of `x`."""
        rows = _by_channel(norm, x)
        places = some(len(rows), _ROWS, random)
        return cls(rows.mean(0, dtype=np.float64), places, rows[places])

    def kept_by(self, norm: Any, x: np.ndarray) -> None:
        """Gives `norm` the statistics with which it makes of `x` nearly what it made of these."""
        rows = _by_channel(norm, x)
        mean, variance = (values(v.value) for v in (norm.moving_mean, norm.moving_variance))
        before = np.sqrt(variance.astype(np.float64) + norm.epsilon)
        after = before / _slopes(rows[self.places], self.rows)
        after = np.sqrt(np.maximum(np.square(after), norm.epsilon))
        can = before > 0  # be divided by
        # What it gave on average, before its scale and offset.
        off = (self.mean - mean) / np.where(can, before, 1)
        new_mean = rows.mean(0, dtype=np.float64) - off * after
        norm.moving_variance.assign(np.where(can, np.square(after) - norm.epsilon, variance))
        norm.moving_mean.assign(np.where(can, new_mean, mean))


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the regression of each column of `y` on that of `x`, within limits; 1 of a constant."""
    x, y = (rows - rows.mean(0) for rows in (x, y))
    square = np.einsum("ij,ij->j", x, x, dtype=np.float64)
    both = np.einsum("ij,ij->j", x, y, dtype=np.float64)
    slope = np.where(square > 0, both / np.where(square > 0, square, 1), 1.0)
    return np.clip(slope, 1 / _MOST_GAIN, _MOST_GAIN)


def _by_channel(norm: Any, x: np.ndarray) -> np.ndarray:
    """`[rows, channels]`."""
    return np.moveaxis(x, norm.axis, -1).reshape(-1, x.shape[norm.axis])
