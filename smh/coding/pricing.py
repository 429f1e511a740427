"""What integers cost, each of them and all together, by the coder that will write them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from smh.coding import integers, wavefront_block
from smh.coding.range_coder import TOTAL
from smh.coding.wavefront import LARGEST, MAX_SYMBOL, Expectation
from smh.errors import ArgumentError

_BEYOND_BITS = 8  # for each 7 bits of how far an integer lies beyond the largest symbol


@dataclass(frozen=True)
class Rates:
    """Bits and bytes of a tensor's integers, out of the same block, so that they cannot disagree.

    Attributes:
        bytes: length of the block that `Stepped` writes for them.
        bits: float32 in the tensor's shape: what each integer takes. Together they are `bytes`
            but for some ten bytes of settings.
    """

    bytes: int
    bits: np.ndarray
    _price: _Price = field(repr=False)

    def of(self, other: np.ndarray) -> np.ndarray:
        """Returns what other integers would take, each alone in its place.

        Args:
            other: whole numbers `[*shape]` or `[k, *shape]`.

        Returns:
            float32 bits in the shape of `other`, from the tables as they are after the last
            integer. That a changed integer changes what is expected of its neighbours is left out.
        """
        other = np.asarray(other)
        shape = self.bits.shape
        if other.shape[other.ndim - len(shape) :] != shape or other.dtype.kind not in "iu":
            raise ArgumentError(
                f"other must be integers of shape {shape} or (k, {str(shape)[1:]}, got shape "
                f"{other.shape} of type {other.dtype}."
            )
        if not other.size:
            return np.zeros(other.shape, np.float32)
        flat = other.reshape(-1, math.prod(shape))
        out = np.stack([self._price(one.astype(np.int64)) for one in flat])
        return out.astype(np.float32).reshape(other.shape)


def rates(given: np.ndarray, coder: str = "range") -> Rates:
    """Returns what integers cost in a `Stepped` tensor.

    Args:
        given: whole numbers in the tensor's own shape, below `2**24` in size.
        coder: 'range', 'huffman' or 'packed', as in `Stepped`.

    Returns:
        A `Rates`: `.bytes`, `.bits`, and `.of(other)` for what others would cost.

    Raises:
        ArgumentError: if `given` does not hold integers of that size.

    Cost: some two or three times `encode`, about a second for a million integers.

    Example:
        >>> import numpy as np
        >>> from smh.coding import rates
        >>> found = rates(np.arange(-8, 8).reshape(4, 4))
        >>> found.bytes, found.bits.shape, found.of(np.zeros((2, 4, 4), int)).shape
        (11, (4, 4), (2, 4, 4))
    """
    given = np.asarray(given)
    if given.dtype.kind not in "iu" or np.abs(given.astype(np.float64)).max(initial=0) >= LARGEST:
        raise ArgumentError(
            f"given must be integers below {LARGEST:,} in size, got {given.dtype} up to "
            f"{given.max(initial=0)}."
        )
    flat = given.astype(np.int32).ravel()
    prices: list[_Price] = [_OfPlain(flat, coder)]
    prices += [_OfWavefront(flat, settings) for settings in integers.wavefronts(given, coder)]
    best = min(prices, key=lambda price: price.bytes)
    return Rates(best.bytes, best.own.astype(np.float32).reshape(given.shape), best)


class _Price:
    """Bits of integers in each place: `own` of those that were coded, and of any others."""

    bytes: int
    own: np.ndarray

    def __call__(self, others: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class _OfPlain(_Price):
    """By the histogram, with half a count for each symbol that does not occur."""

    def __init__(self, flat: np.ndarray, coder: str):
        self.bytes = len(integers.write_plain(flat, coder)) if flat.size else 0
        self._low = integers.low_bits(flat) if flat.size else 0
        self._least = int(flat.min()) if flat.size else 0
        high = (flat - self._least) >> self._low
        self._values, place, counts = np.unique(high, return_inverse=True, return_counts=True)
        total = counts.sum() + 0.5
        self._bits = np.log2(total / np.maximum(counts, 0.5))
        self._absent = math.log2(total / 0.5) if flat.size else 0.0
        own = np.log2(counts.sum() / counts)[place.ravel()] if flat.size else np.zeros(0)
        self.own = own + self._low

    def __call__(self, others: np.ndarray) -> np.ndarray:
        if not self._values.size:
            return np.zeros(others.shape)
        others = (others - self._least) >> self._low
        place = np.searchsorted(self._values, others).clip(max=self._values.size - 1)
        there = self._values[place] == others
        outside = np.maximum(self._values[0] - others, others - self._values[-1]).clip(min=0)
        absent = self._absent + 2 * np.log2(1 + outside)
        return self._low + np.where(there, self._bits[place], absent)


class _OfWavefront(_Price):
    """By the tables of a `Wavefront`: `own` as they were then, others as they are at the end."""

    def __init__(self, flat: np.ndarray, settings: wavefront_block.Settings):
        self._settings = settings
        self.own = np.empty(flat.size)
        self._sign, self._base, self._table = (np.empty(flat.size, np.int32) for _ in range(3))

        def watch(expected: Expectation, shares: np.ndarray, symbols: np.ndarray) -> None:
            share = shares[np.arange(symbols.size), symbols] + 1
            self.own[expected.place] = np.log2(TOTAL / share)
            self._sign[expected.place] = expected.sign
            self._base[expected.place] = expected.base
            self._table[expected.place] = expected.table

        encoded = wavefront_block.encode(flat, settings, watch)
        self.bytes = 1 + len(wavefront_block.write(flat, settings, encoded))
        weights = encoded.weights
        self._bits = np.log2(weights.sum(axis=1, keepdims=True) / weights)
        self.own += self._beside(self._symbols(flat))

    def __call__(self, others: np.ndarray) -> np.ndarray:
        symbols = self._symbols(others)
        largest = self._settings.largest
        place = np.clip(symbols, -largest, largest) + largest
        return self._bits[self._table, place] + self._beside(symbols)

    def _symbols(self, flat: np.ndarray) -> np.ndarray:
        return self._sign * (flat >> self._settings.shift) - self._base

    def _beside(self, symbols: np.ndarray) -> np.ndarray:
        """Bits that are not coded by a table: the lowest ones, and what is beyond the largest."""
        beyond = np.abs(symbols) - self._settings.largest
        written = beyond >= (0 if self._settings.largest == MAX_SYMBOL else 1)
        groups = np.ceil(np.log2(np.maximum(beyond, 1) + 1) / 7)
        return self._settings.shift + np.where(written, _BEYOND_BITS * groups, 0)
