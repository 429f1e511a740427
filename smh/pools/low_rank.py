"""The best rank-M factors of a matrix that is only ever seen in blocks of rows.

Subspace iteration: a basis of the row space is multiplied by `A' A`, one pass over the matrix each
time, until the energy outside of its span stops to fall. Nothing of the matrix's size is allocated.
Entries at the end of the last row may be unknown: each pass fills them with what the fit of the
pass before says, so that they end up counting for nothing. Needs NumPy only.

References: N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness" (2011),
section 4.5, for the iteration; R. Mazumder, T. Hastie, R. Tibshirani, "Spectral regularization
algorithms for learning large incomplete matrices" (2010) for the unknown entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

# More passes than slow spectra need: that of noise takes about 10 for the tolerance below.
_MOST_PASSES = 30
_LEAST_GAIN = 1e-4  # of the whole energy, in one pass
_RIDGE = 1e-9  # on squared lengths of at most 1
_EVEN = 1e-3  # of the largest squared length: such columns are orthonormal after one turn
_LOST = 1e-10  # of the largest squared length: float32 cannot tell such a direction from zero


class RowBlocks(Protocol):
    """A matrix in blocks of rows.

    Attributes:
        rows, cols: its sides.
        known: how many entries of the last row are known; the others are read as 0.
    """

    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def cols(self) -> int: ...  # noqa: D102
    @property
    def known(self) -> int: ...  # noqa: D102

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields all rows from the first to the last, float32, `[b, cols]`."""


def best_basis(matrix: RowBlocks, rank: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the orthonormal rows whose span holds most of the matrix's energy.

    Args:
        matrix: `A`, `[n, c]`.
        rank: how many rows; at most `min(n, c)`.
        rng: draws where the iteration starts, which hardly shows in the result.

    Returns:
        `Q`, float32, `[rank, c]`. `A Q' Q` is within about 0.1 % of the energy of `A` of the best
        fit of this rank. Where `A` has a lower rank, the rows that it does not need are arbitrary.

    Cost: some ten passes of `2.5 n c rank` multiply-adds; memory for `2.5 c rank` numbers of
    float32, and `1.6 rank^2` of float64.
    """
    width = min(rank + rank // 4 + 8, matrix.rows, matrix.cols)
    basis = _orthonormal(rng.standard_normal((matrix.cols, width), dtype=np.float32), rng)
    tail = np.zeros(matrix.cols - matrix.known, np.float32)
    before = np.inf
    for _ in range(_MOST_PASSES):
        gram, image, last_row, energy = _pass(matrix, basis, tail)
        values, vectors = np.linalg.eigh(gram)
        best = (basis @ vectors[:, -rank:].astype(np.float32)).T  # [rank, c]
        outside = energy - float(values[-rank:].sum())
        if before - outside <= _LEAST_GAIN * energy:
            break
        before = outside
        tail = coefficients(best, last_row[: matrix.known]) @ best[:, matrix.known :]
        basis = _orthonormal(image, rng)
    return np.ascontiguousarray(best[::-1])


def coefficients(basis: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Returns the combination of the basis that is closest to a row of which the begin is known.

    Args:
        basis: orthonormal rows, `[rank, c]`.
        begin: the first entries of a row, `[k]`, `k <= c`.

    Returns:
        float32, `[rank]`; where many are as close, the least of them.
    """
    known = basis[:, : begin.size].astype(np.float64)  # [rank, k]
    # What little is added decides where the row leaves the answer open.
    gram = known @ known.T + _RIDGE * np.eye(len(basis))
    return np.linalg.solve(gram, known @ begin).astype(np.float32)


def _pass(matrix: RowBlocks, basis: np.ndarray, tail: np.ndarray):
    """Returns `(A X)' (A X)`, `A' A X`, the last row, and the energy of `A`."""
    gram = np.zeros((basis.shape[1],) * 2)
    image = np.zeros_like(basis)
    row, energy, block = 0, 0.0, np.zeros((1, 0), np.float32)
    for block in matrix.blocks():
        row += len(block)
        if row == matrix.rows and tail.size:
            block[-1, matrix.known :] = tail
        seen = block @ basis  # [b, width]
        gram += (seen.T @ seen).astype(np.float64)
        image += block.T @ seen
        energy += float(np.vdot(block, block))
    return gram, image, block[-1].copy(), energy


def _orthonormal(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an orthonormal basis of the same columns' span; chance replaces what is lost.

    By the columns' Gram matrix, which is small, so that only it is needed in float64; twice where
    once is not exact, for columns of very different lengths, or where chance came in.
    """
    for _ in range(2):
        values, vectors = np.linalg.eigh(_gram(block))
        lost = ~(values > _LOST * values[-1])
        turned = vectors / np.sqrt(np.where(lost, 1.0, values))
        block = block @ turned.astype(np.float32)
        chance = rng.standard_normal((len(block), int(lost.sum())), dtype=np.float32)
        block[:, lost] = chance / np.float32(np.sqrt(len(block)))
        if values[0] > _EVEN * values[-1]:
            break
    return block


def _gram(block: np.ndarray) -> np.ndarray:
    gram = np.zeros((block.shape[1],) * 2)
    for begin in range(0, len(block), 256):
        rows = block[begin : begin + 256].astype(np.float64)
        gram += rows.T @ rows
    return gram
