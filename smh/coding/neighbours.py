"""Which elements of a rounded tensor tell something about another: found by least squares.

The taps of a convolution's kernel resemble their neighbours, and so do the weights of inputs that
lie beside each other (bins of a spectrogram, frames of a window). A linear prediction from up to
four of them is a few bytes in the file.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from smh.coding.wavefront import MAX_NEIGHBOURS, UNIT, Neighbour

_BITS_EACH = 32  # what a neighbour has to save, and
_SHARE_EACH = 0.003  # bits of each element
_SAMPLE = 1 << 19  # elements that are looked at
_PEAKS = 3  # of the autocorrelation along each axis


def find_neighbours(integers: np.ndarray) -> tuple[Neighbour, ...]:
    """Returns up to four neighbours that predict best, or none where they would not pay.

    Args:
        integers: of a shape without axes of length 1, rank 2 or more; the last axis is the matrix'
            columns, all others together its rows.

    Reference: linear prediction with greedy choice (orthogonal matching pursuit): Pati, Rezaiifar,
    Krishnaprasad (1993).
    """
    matrix = integers.reshape(-1, integers.shape[-1])
    matrix = matrix[: max(1, _SAMPLE // matrix.shape[1])].astype(np.float64)
    lags = [lag for lag in _candidates(integers.shape, matrix) if _inside(lag, matrix.shape)]
    if not lags or not matrix.any():
        return ()
    shifted = np.stack([_shifted(matrix, lag).ravel() for lag in lags])
    return _greedy(lags, shifted @ shifted.T, shifted @ matrix.ravel(), matrix)


def _candidates(shape: tuple[int, ...], matrix: np.ndarray) -> list[tuple[int, int]]:
    """Steps along the axes, two of them at once, and the peaks of the autocorrelation."""
    strides = [math.prod(shape[axis + 1 : -1]) for axis in range(len(shape) - 1)]
    rows = {*strides, *(2 * stride for stride in strides)}
    for one, two in itertools.combinations(strides, 2):
        rows |= {one + two, abs(one - two)}
    rows |= _peaks(matrix)
    lags = {(row, 0) for row in rows if row} | {(0, 1), (0, 2), (1, 1)}
    return sorted(lags | {(0, column) for column in _peaks(matrix.T)})


def _peaks(matrix: np.ndarray) -> set[int]:
    """The distances along the first axis at which numbers are most alike."""
    length = matrix.shape[0]
    spectrum = np.fft.rfft(matrix - matrix.mean(axis=0), n=2 * length, axis=0)
    alike = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1))[1:length]
    return {int(place) + 1 for place in np.argsort(-np.abs(alike), kind="stable")[:_PEAKS]}


def _inside(lag: tuple[int, int], shape: tuple[int, ...]) -> bool:
    return lag[0] < shape[0] and lag[1] < shape[1]


def _shifted(matrix: np.ndarray, lag: tuple[int, int]) -> np.ndarray:
    out = np.zeros_like(matrix)
    height, width = matrix.shape
    out[lag[0] :, lag[1] :] = matrix[: height - lag[0], : width - lag[1]]
    return out


def _greedy(lags, products: np.ndarray, with_target: np.ndarray, matrix: np.ndarray):
    chosen: list[int] = []
    weights = np.zeros(0)
    error = float((matrix**2).sum())
    enough = max(_BITS_EACH, _SHARE_EACH * matrix.size)
    while len(chosen) < min(MAX_NEIGHBOURS, len(lags)):
        tries = []
        for one in range(len(lags)):
            if one not in chosen:
                these = [*chosen, one]
                tries.append((*_solved(these, products, with_target, matrix), these))
        least, found, these = min(tries, key=lambda one: one[0])
        if matrix.size / 2 * math.log2(error / max(least, 1e-9 * error)) < enough:
            break
        error, weights, chosen = least, found, these
    rounded = np.clip(np.rint(UNIT * weights), -128, 127).astype(int)
    return tuple(
        Neighbour(lags[one][0], lags[one][1], int(weight))
        for one, weight in zip(chosen, rounded, strict=True)
        if weight
    )


def _solved(these, products, with_target, matrix):
    """The squared error that is left, and the weights."""
    square = products[np.ix_(these, these)] + 1e-6 * matrix.size * np.eye(len(these))
    weights = np.linalg.solve(square, with_target[these])
    return float((matrix**2).sum() - weights @ with_target[these]), weights
