"""Rounds a matrix number by number: each error is made good by the numbers still to come.

What is minimised is `trace(G E' H E) + multiplier * bits` over the integers `Q`, where
`E = W - Q * steps`, `H` is the second moment of the inputs and `G` that of the outputs' gradients
(diagonal, where only its size is known); `smh.shrinking.factors` has the factors of their inverses.
Each number picks, of the two nearest integers, the next one towards zero and zero, what costs least
in error and in bits. With a diagonal `G` the columns are independent; else the numbers of a
diagonal of the matrix are, and are rounded at once.

References: Hassibi, Stork, "Second Order Derivatives for Network Pruning: Optimal Brain Surgeon",
NIPS 1992; Frantar, Singh, Alistarh, "Optimal Brain Compression", NeurIPS 2022 (2208.11580); Frantar
et al., "GPTQ", ICLR 2023 (2210.17323); Conzelmann, Bamler, "Reducing Storage of Pretrained Neural
Networks by Rate-Constrained Quantization and Entropy Coding", 2025 (2505.18758), for the rate in
this order; Tseng, Sun, De Sa, "Model-Preserving Adaptive Rounding", 2025 (2505.22988), for both
factors in this order.
"""

from __future__ import annotations

import numpy as np

from smh.shrinking.factors import Inputs, Outputs

_BLOCK = 128  # rows whose errors reach the rows behind together, in one product
_PASSES = 2  # how often it is rounded, the second time by the bits of the first


class Price:
    """Bits of an integer, by how often each occurs; half a count for those that do not.

    Args:
        integers: any shape: what the histogram is of.
    """

    def __init__(self, integers: np.ndarray):
        self.reach = 2 * int(np.abs(integers).max(initial=0)) + 8
        places = integers.astype(np.int64).ravel() + self.reach
        counts = np.bincount(places, minlength=2 * self.reach + 1) + 0.5
        self._bits = (np.log2(counts.sum()) - np.log2(counts)).astype(np.float32)

    def __call__(self, integers: np.ndarray) -> np.ndarray:
        """The bits of each."""
        return self._bits[integers.astype(np.int32) + self.reach]


def round_in_order(
    matrices: np.ndarray,
    inputs: Inputs,
    steps: np.ndarray,
    weights: np.ndarray,
    multiplier: float,
    keep: np.ndarray | None = None,
    outputs: Outputs | None = None,
) -> np.ndarray:
    """Returns the integers that cost least.

    Args:
        matrices: `[groups, n, m]`.
        inputs: of the same groups and `n`.
        steps: broadcasts against `[groups, m]`, above 0.
        weights: broadcasts against `[groups, m]`: what an error in each output costs.
        multiplier: what a bit costs.
        keep: bool `[groups, n, m]`: where false, the integer is zero.
        outputs: in the place of `weights`, where errors of outputs are not independent.

    Returns:
        int32 `[groups, n, m]`.

    Cost: `2 * groups * n * m * (n + m)` multiply-adds; without `outputs`, `2 * groups * n * n * m`.
    """
    groups, n, m = matrices.shape
    order = np.broadcast_to(np.arange(m), (groups, m)) if outputs is None else outputs.order
    at = np.arange(groups)[:, None, None], inputs.order[:, :, None], order[:, None, :]
    step = np.take_along_axis(np.broadcast_to(steps, (groups, m)), order, axis=1)
    scaled = (matrices[at] / step[:, None]).astype(np.float32)
    kept = None if keep is None else keep[at]
    found = np.rint(scaled if kept is None else scaled * kept)
    for _ in range(_PASSES):
        price = Price(found)
        if outputs is None:
            cost = np.broadcast_to(weights * np.square(steps), (groups, m)).astype(np.float32)
            found = _by_rows(scaled, inputs.factor, cost, np.float32(multiplier), price, kept)
        else:
            factor = (outputs.factor / step[:, None]).astype(np.float32)
            found = _by_diagonals(
                scaled, inputs.factor, factor, np.float32(multiplier), price, kept
            )
    out = np.empty(found.shape, np.int32)
    out[at] = found
    return out


def _by_rows(scaled, factor, cost, multiplier, price: Price, kept) -> np.ndarray:
    n = scaled.shape[1]
    left = scaled.copy()  # what each number has to be now that the ones before are rounded
    found = np.empty_like(scaled)
    for start in range(0, n, _BLOCK):
        stop = min(n, start + _BLOCK)
        errors = np.empty_like(scaled[:, start:stop])
        for i in range(start, stop):
            pivot = factor[:, i, i, None]
            chosen = _cheapest(left[:, i], cost / np.square(pivot), multiplier, price)
            if kept is not None:
                chosen = chosen * kept[:, i]
            found[:, i] = chosen
            error = (left[:, i] - chosen) / pivot
            errors[:, i - start] = error
            left[:, i + 1 : stop] -= factor[:, i, i + 1 : stop, None] * error[:, None]
        if stop < n:
            left[:, stop:] -= factor[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    return found


def _by_diagonals(scaled, rows, columns, multiplier, price: Price, kept) -> np.ndarray:
    """As `_by_rows`, with the factors of both sides: `U` of the rows and `V` of the columns.

    Number `(a, b)` has to be `w_ab - sum U_ia z_ij V_jb` over the numbers `(i, j)` before it, and
    adds `z_ab = (that - q_ab) / (U_aa V_bb)`. What the rows of a block before it add to it, as
    `U' (z V)`, is one product; inside a block, `a + b` counts the diagonals.
    """
    groups, n, m = scaled.shape
    left, found = scaled.copy(), np.empty_like(scaled)
    down = np.diagonal(rows, axis1=1, axis2=2)
    across = np.diagonal(columns, axis1=1, axis2=2)
    for start in range(0, n, _BLOCK):
        stop = min(n, start + _BLOCK)
        block = np.ascontiguousarray(left[:, start:stop])
        factor = np.ascontiguousarray(rows[:, start:stop, start:stop].swapaxes(1, 2))
        passed = np.zeros_like(block)  # sum over the columns before of z_aj V_jb
        whole = np.zeros_like(block)  # with the own column
        integers = np.empty_like(block)
        keeps = None if kept is None else kept[:, start:stop].reshape(groups, -1)
        block_, passed_, whole_, integers_ = (
            matrix.reshape(groups, -1) for matrix in (block, passed, whole, integers)
        )
        for t in range(stop - start + m - 1):
            first, last = max(0, t - m + 1), min(stop - start - 1, t) + 1  # rows `a`
            leftmost = t - last + 1
            b = slice(t - first, leftmost - 1 if leftmost else None, -1)
            begin, end = (t + a * (m - 1) for a in (first, last - 1))  # in a flat matrix
            at = slice(begin, end + 1, max(1, m - 1))
            before, here = passed_[:, at], down[:, start + first : start + last]
            wanted = block_[:, at] - here * before
            pivot = here * across[:, b]
            chosen = _cheapest(wanted, 1 / np.square(pivot), multiplier, price)
            if keeps is not None:
                chosen = chosen * keeps[:, at]
            integers_[:, at] = chosen
            z = (wanted - chosen) / pivot
            y = before + z * across[:, b]
            whole_[:, at] = y
            passed[:, first:last, leftmost:] += z[..., None] * columns[:, b, leftmost:]
            block[:, first:, b] -= factor[:, first:, first:last] * y[:, None]
        found[:, start:stop] = integers
        if stop < n:
            left[:, stop:] -= rows[:, start:stop, stop:].swapaxes(1, 2) @ whole
    return found


def _cheapest(wanted, cost, multiplier, price: Price) -> np.ndarray:
    """Of the integers near each number, and zero, the one of least error and bits."""
    near = np.clip(wanted, -price.reach, price.reach)
    candidates = np.zeros((4, *wanted.shape), np.float32)  # the first of equal ones is taken
    np.rint(near, out=candidates[0])
    lower = np.trunc(near, out=candidates[1])  # towards zero
    np.subtract(lower, np.sign(lower), out=candidates[2])
    total = cost * np.square(wanted - candidates) + multiplier * price(candidates)
    best = total.argmin(0)
    best *= wanted.size
    best += np.arange(wanted.size).reshape(wanted.shape)
    return candidates.ravel()[best]
