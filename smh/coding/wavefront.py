"""Signed integers of a matrix, coded along its antidiagonals with what lies above and to the left.

Rounded weights are not independent: some rows and columns are larger than others, and a kernel's
taps resemble their neighbours. An antidiagonal is coded in one call, because all that is above or
to the left of its elements is known by then: how far the integers of its row and of its column
were from what was expected, and the neighbours that the expectation is made of. Out of both comes
one of a few tables of probabilities, which start as Laplace distributions and learn.

Everything is whole numbers, so every machine finds the same tables; `docs/format.md` is the
specification. Needs NumPy and constriction.

Measured on rounded weights, against the entropy of the integers' histogram (which counts no
table): 5 % less for a ResNet-8 (1.5 and 2.4 bits a weight; the nine taps of its kernels are alike),
12 % for a MobileNetV1 0.25 at 0.4 bits (rows and columns differ), 17 % for an autoencoder of
spectrograms (neighbouring inputs), 5 % for a 1-D network, 1.5 % for a recurrent one.

Reference: the row and column means are the rank-one model of variances, as in Adafactor (Shazeer
and Stern, 2018); learning tables while coding: Krichevsky and Trofimov (1981).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from smh.coding.range_coder import TOTAL

LARGEST = 1 << 24  # of an integer; float32 holds it exactly
MAX_SYMBOL = 31  # what is further from its place is written apart
MAX_NEIGHBOURS = 4
UNIT = 64  # expectations and deviations are counted in 64ths

_FIRST = 32  # symbols that what a table begins with weighs
_ONE = 1 << 10  # the weight of one symbol
_PATIENCE = 16  # shares are made anew when a table has grown by a sixteenth
_SHRINK = 8  # a row's mean counts as if 8 of its elements had been the mean of all
_MOST = 127 * UNIT  # of a deviation
_PLACES = 6  # half steps between zero and the expected place
# Tables are for mean deviations of 2**(i / 2 - 6.25), i = 0 .. 20. Between them lie the edges, in
# 2**-16; and rho, in 2**-16, is how a Laplace distribution of that mean decays in half a step.
EDGES = np.array(
    [1024, 1448, 2048, 2896, 4096, 5793, 8192, 11585, 16384, 23170, 32768, 46341, 65536, 92682,
     131072, 185364, 262144, 370728, 524288, 741455]
)  # fmt: skip
RHO = np.array(
    [861, 1217, 1721, 2432, 3435, 4844, 6814, 9536, 13217, 18012, 23892, 30518, 37278, 43539,
     48887, 53191, 56514, 59008, 60846, 62182, 63146]
)  # fmt: skip
TABLES = _PLACES * RHO.size


@dataclass(frozen=True)
class Neighbour:
    """An element that another's expectation is made of: `above` rows up, `before` columns left."""

    above: int
    before: int
    weight: int  # in 64ths, -128 to 127


@dataclass(frozen=True)
class Expectation:
    """What is known of the elements of one antidiagonal, `[n]` each.

    The symbol of an integer `v` is `sign * v - base`: zero near its expected place, positive on
    the far side of it.
    """

    place: slice  # in the flat array
    rows: slice
    columns: slice  # of the reversed array
    mean: np.ndarray | int  # in 64ths; without neighbours all are 0, all signs 1
    sign: np.ndarray | int
    base: np.ndarray | int
    table: np.ndarray


Code = Callable[[Expectation, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Wavefront:
    """The learning model of a matrix `[ceil(n / width), width]` whose last row may be short.

    Args:
        count: `n`, number of integers.
        width: elements of a row.
        largest: symbols are `-largest .. largest`; of `MAX_SYMBOL` the two ends stand for all
            that is beyond as well.
        neighbours: what expectations are made of.
    """

    def __init__(self, count: int, width: int, largest: int, neighbours: tuple[Neighbour, ...]):
        self.width = width
        self.height = -(-count // width)
        self.largest = largest
        self.values = np.zeros(count, np.int32)
        self._neighbours = neighbours
        self._rows = np.zeros(self.height, np.int64)
        self._columns = np.zeros(width, np.int64)  # reversed: rows grow as columns fall
        self._sum, self._seen = 0, 0
        self._index = np.arange(max(self.height, width))
        self.weights = first_tables(largest)
        self._shares = np.empty(self.weights.shape)
        self._shared = np.full(TABLES, _FIRST)  # symbols that a table's shares were made of
        self._new = np.zeros(TABLES, np.int64)  # and those since then
        self._share_out(np.arange(TABLES))

    def walk(self, code: Code) -> None:
        """Calls `code` for each antidiagonal, and learns from what it returns.

        Args:
            code: takes an `Expectation` and the shares of its symbols less one, float64
                `[n, 2 * largest + 1]`; returns the integers and their symbols, from 0 on.
        """
        for expected in self._antidiagonals():
            values, symbols = code(expected, self._shares[expected.table])
            self._learn(expected, values, symbols)

    def _antidiagonals(self) -> Iterator[Expectation]:
        last = self.values.size - 1 - (self.height - 1) * self.width  # column of the last element
        for number in range(self.height + self.width - 1):
            first_row = max(0, number - self.width + 1)
            last_row = min(self.height - 1, number)
            if last_row == self.height - 1 and number - last_row > last:
                last_row -= 1
            if first_row <= last_row:
                yield self._expect(number, first_row, last_row)

    def _expect(self, number: int, first: int, last: int) -> Expectation:
        stride = max(1, self.width - 1)
        start = first * (self.width - 1) + number
        size = last - first + 1
        place = slice(start, start + (size - 1) * stride + 1, stride)
        row = self._index[first : last + 1]
        end = self.width - 1 - (number - first)  # of the reversed columns
        rows, columns = slice(first, last + 1), slice(end, end + size)
        overall = ((self._sum << 10) + (1 << 15)) // (self._seen + 1)
        shrink = _SHRINK * overall
        of_row = ((self._rows[rows] << 10) + shrink) // (number + _SHRINK - row)
        of_column = ((self._columns[columns] << 10) + shrink) // (row + _SHRINK)
        table = EDGES.searchsorted(of_row * of_column // max(overall, 1), side="right")
        if not self._neighbours:
            return Expectation(place, rows, columns, 0, 1, 0, table)
        mean = self._mean(number, first, last, stride)
        sign, base, half_steps = around(mean)
        table += half_steps * RHO.size
        return Expectation(place, rows, columns, mean, sign, base, table)

    def _mean(self, number: int, first: int, last: int, stride: int) -> np.ndarray:
        mean = np.zeros(last - first + 1, np.int64)
        for near in self._neighbours:
            low, high = max(first, near.above), min(last, number - near.before)
            if low <= high:
                at = low * (self.width - 1) + number - near.above * self.width - near.before
                those = self.values[at : at + (high - low) * stride + 1 : stride]
                mean[low - first : high - first + 1] += near.weight * those.astype(np.int64)
        return mean

    def _learn(self, expected: Expectation, values: np.ndarray, symbols: np.ndarray) -> None:
        self.values[expected.place] = values
        deviation = np.minimum(np.abs(UNIT * values - expected.mean), _MOST)
        self._rows[expected.rows] += deviation
        self._columns[expected.columns] += deviation
        self._sum += int(deviation.sum())
        self._seen += values.size
        np.add.at(self.weights, (expected.table, symbols), _ONE)
        self._new += np.bincount(expected.table, minlength=TABLES)
        grown = (_PATIENCE * self._new >= self._shared).nonzero()[0]
        if grown.size:
            self._shared[grown] += self._new[grown]
            self._new[grown] = 0
            self._share_out(grown)

    def _share_out(self, tables: np.ndarray) -> None:
        """Makes the shares of some tables anew, by the rule of `range_coder.frequencies`."""
        weights = self.weights[tables]
        shared = 1 + weights * (TOTAL - weights.shape[1]) // weights.sum(axis=1, keepdims=True)
        shared[np.arange(tables.size), weights.argmax(axis=1)] += TOTAL - shared.sum(axis=1)
        self._shares[tables] = shared - 1


def around(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns signs, bases, and the half steps from each base to its expected place, 0 to 5.

    Up to two steps from zero the base is zero, so that zero keeps its place, which rounding
    favours; further out it follows.
    """
    far = np.abs(mean)
    base = np.maximum(((far + UNIT // 2) >> 6) - 2, 0)
    return np.where(mean < 0, -1, 1), base, (2 * (far - UNIT * base) + UNIT // 2) >> 6


def first_tables(largest: int) -> np.ndarray:
    """Returns int64 `[TABLES, 2 * largest + 1]`: Laplace distributions, as weights."""
    # Half of what is further than j half steps from the place, in 2**-32.
    tails = [np.full(RHO.size, 1 << 31, np.int64)]
    while len(tails) < 2 * largest + _PLACES + 3:
        tails.append(tails[-1] * RHO >> 16)
    tail = np.stack(tails)
    # From the place, in half steps: where each symbol begins. It is two of them wide.
    begin = 2 * np.arange(-largest, largest + 1) - 1 - np.arange(_PLACES)[:, None]

    def below(edge: np.ndarray) -> np.ndarray:
        share = tail[np.abs(edge)]
        return np.where((edge >= 0)[..., None], (1 << 32) - share, share)

    share = below(begin + 2) - below(begin)  # [places, symbols, deviations]
    weights = np.maximum(share * (_FIRST * _ONE) >> 32, 1)
    return weights.transpose(0, 2, 1).reshape(TABLES, -1)
