"""Gives normalisations the statistics with which they give what they gave.

By the regression of what went into each channel on what goes in now, through layers that are
rounded: where rounding has left little but noise, it is not made loud again.

Reference: Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets", ICML
2021, for normalisations tuned to what the rounded layers before them give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.sensitivity.examples import values
from smh.virtual_variable import own_layers

_ROWS = 4096  # of its inputs
_MOST_GAIN = 16.0  # of a channel, and its inverse
_TOGETHER = 4096  # rows that float32 adds up well


class Normalisations:
    """Those of a model that have statistics.

    Attributes:
        layers: they.
    """

    def __init__(self, model: keras.Layer):
        self.layers = [x for x in own_layers(model) if _has_statistics(x)]
        self._before: dict[int, _Inputs | None] = {}  # `None` of one that is called twice

    def see(self, layer: keras.Layer, x: np.ndarray, random: np.random.Generator) -> None:
        """Notes what goes into one of them before anything is rounded."""
        again = id(layer) in self._before
        self._before[id(layer)] = None if again else _Inputs.of(layer, x, random)

    def keep(self, layer: keras.Layer, x: np.ndarray) -> None:
        """Changes the statistics of a layer, if it is one of them, by what goes in now."""
        before = self._before.get(id(layer))
        if before is not None:
            before.kept_by(layer, x)


def _has_statistics(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and layer.built


def some(count: int, wanted: int, random: np.random.Generator) -> np.ndarray:
    """At most `wanted` of so many places, evenly by chance, in order."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(random.choice(count, wanted, replace=False))


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
        return cls(_means(rows), places, rows[places])

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
        new_mean = _means(rows) - off * after
        norm.moving_variance.assign(np.where(can, np.square(after) - norm.epsilon, variance))
        norm.moving_mean.assign(np.where(can, new_mean, mean))


def _means(rows: np.ndarray) -> np.ndarray:
    """Of each column, in float64: a product adds up some rows, in a fifth of `mean`'s time."""
    parts = [rows[i : i + _TOGETHER] for i in range(0, len(rows), _TOGETHER)]
    ones = np.ones(_TOGETHER, np.float32)
    sums = [(ones[: len(part)] @ part).astype(np.float64) for part in parts]
    return sum(sums, np.zeros(rows.shape[1])) / max(1, len(rows))


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
