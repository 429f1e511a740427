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
from smh.shrinking.pricing import Price
from smh.shrinking.tiles import round_in_tiles

_BLOCK = 128  # rows whose errors reach the rows behind together, in one product
_ERROR = 0.8  # of a step, squared: what rounding by bits leaves of a number; the nearest one, 1/12


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
    columns = None if outputs is None else (outputs.factor / step[:, None]).astype(np.float32)
    found = scaled + _answers(inputs.factor, columns, at)
    price = Price(np.rint(found if kept is None else found * kept), multiplier)
    if columns is None:
        cost = np.broadcast_to(weights * np.square(steps), (groups, m)).astype(np.float32)
        found = _by_rows(scaled, inputs.factor, cost, price, kept)
    else:
        found = round_in_tiles(scaled, inputs.factor, columns, price, kept)
    out = np.empty(found.shape, np.int32)
    out[at] = found
    return out


def _answers(rows: np.ndarray, columns: np.ndarray | None, at: tuple) -> np.ndarray:
    """By how much about each number will have moved when its turn comes: `[groups, n, m]`.

    A number answers for the errors `e` before it, by `-sum U_ia e_ij V_jb / (U_ii V_jj)`. These are
    drawn by chance. The histogram that bits are taken from has to know of it: numbers that have
    moved are larger, and fewer are zero. By that of the numbers as they are, or of a pass by such
    bits, zeros seem cheap, and what their errors cost the numbers after them is paid for nowhere:
    LeNet-5's files were a fifth larger for the same error (`benchmarks/README.md`).

    Args:
        rows: `U`, as `Inputs.factor`.
        columns: `V` likewise, of numbers over their steps; `None`: the columns are independent.
        at: the places of the numbers, in the order of both.
    """
    across = 1.0 if columns is None else _sums(columns)[:, None]
    shape = np.broadcast_shapes(*(places.shape for places in at))
    spread = np.empty(shape, np.float32)
    spread[:] = _sums(rows)[:, :, None] * across - 1
    np.sqrt(_ERROR * np.maximum(spread, 0, out=spread), out=spread)
    if spread.any():
        spread *= np.random.default_rng(0).standard_normal(spread.shape, np.float32)[at]
    return spread


def _sums(factor: np.ndarray) -> np.ndarray:
    """`sum (U_ia / U_ii) ** 2` for each `a`: `[groups, n]`."""
    return np.square(factor / np.diagonal(factor, axis1=1, axis2=2)[:, :, None]).sum(1)


def _by_rows(scaled, factor, cost, price: Price, kept) -> np.ndarray:
    n = scaled.shape[1]
    left = scaled.copy()  # what each number has to be now that the ones before are rounded
    found = np.empty_like(scaled)
    for start in range(0, n, _BLOCK):
        stop = min(n, start + _BLOCK)
        errors = np.empty_like(scaled[:, start:stop])
        for i in range(start, stop):
            pivot = factor[:, i, i, None]
            chosen = price.cheapest(left[:, i], cost / np.square(pivot))
            if kept is not None:
                chosen = chosen * kept[:, i]
            found[:, i] = chosen
            error = (left[:, i] - chosen) / pivot
            errors[:, i - start] = error
            left[:, i + 1 : stop] -= factor[:, i, i + 1 : stop, None] * error[:, None]
        if stop < n:
            left[:, stop:] -= factor[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    return found
