"""Rounds a matrix number by number: each error is made good by the numbers still to come.

What is minimised is `sum_j weight_j * e_j' H e_j + multiplier * bits`, over the integers `q` of
column `j`, where `e_j = w_j - step_j * q_j` and `H` is the second moment of the inputs. With the
rows in an order, the best answer of the later rows to an error `e` in row `i` is known from the
inverse of `H`; its Cholesky factor has them all. Each number picks, of the two nearest integers,
the next one towards zero and zero, what costs least in error and in bits.

References: Hassibi, Stork, "Second Order Derivatives for Network Pruning: Optimal Brain Surgeon",
NIPS 1992; Frantar, Singh, Alistarh, "Optimal Brain Compression", NeurIPS 2022 (2208.11580); Frantar
et al., "GPTQ", ICLR 2023 (2210.17323), for the Cholesky factor; Conzelmann, Bamler, "Reducing
Storage of Pretrained Neural Networks by Rate-Constrained Quantization and Entropy Coding", 2025
(2505.18758), for the rate in this order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DAMPING = 0.01  # of the mean square of an input; less fits the examples and not the next ones
_BLOCK = 64  # rows whose errors reach the rows behind together, in one product


@dataclass(frozen=True)
class Inputs:
    """What the inputs of a product are like, ready for rounding.

    Attributes:
        order: `[groups, n]`: the rows in the order in which they are rounded, largest inputs first.
        factor: float32 `[groups, n, n]`: upper triangular `U` with `U' U` the inverse of the damped
            moments, in that order.
        level: `[groups]`: the geometric mean of the moments' conditional variances,
            `det(H) ** (1 / n)`: what a small error of one number costs once the others made good.
    """

    order: np.ndarray
    factor: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, moments: np.ndarray) -> Inputs:
        """Factors `[groups, n, n]`. Inputs that are always zero count as much as the damping."""
        n = moments.shape[-1]
        diagonal = np.diagonal(moments, axis1=1, axis2=2)
        mean = diagonal.mean(1)
        mean = np.where(mean > 0, mean, mean.max(initial=0) or 1.0)
        order = np.argsort(-diagonal, axis=1, kind="stable")
        if n == 1:
            damped = diagonal + DAMPING * mean[:, None]
            return cls(order, (damped[..., None] ** -0.5).astype(np.float32), damped[:, 0])
        factor = np.empty(moments.shape, np.float32)
        level = np.empty(len(moments))
        for g, own in enumerate(order):
            damped = moments[g][np.ix_(own, own)] + np.eye(n) * DAMPING * mean[g]
            # Of the reversed matrix: L' of it, reversed back, is the inverse's factor.
            lower = np.linalg.cholesky(damped[::-1, ::-1])
            upper = np.linalg.inv(lower)[::-1, ::-1]  # U with U' U the inverse of `damped`
            factor[g] = upper
            level[g] = np.exp(-2 * np.log(np.diagonal(upper)).mean())
        return cls(order, factor, level)


class Price:
    """Bits of an integer, by how often each occurs; half a count for those that do not.

    Args:
        integers: any shape: what the histogram is of.
    """

    def __init__(self, integers: np.ndarray):
        self.reach = int(np.abs(integers).max(initial=0)) + 2
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
    passes: int = 2,
) -> np.ndarray:
    """Returns the integers that cost least.

    Args:
        matrices: `[groups, n, m]`.
        inputs: of the same groups and `n`.
        steps: broadcasts against `[groups, m]`, above 0.
        weights: broadcasts against `[groups, m]`: what an error in each output costs.
        multiplier: what a bit costs.
        keep: bool `[groups, n, m]`: where false, the integer is zero.
        passes: how often it is rounded, each time by the bits of the time before.

    Returns:
        int32 `[groups, n, m]`.

    Cost: `passes * groups * n * n * m` multiply-adds.
    """
    groups, n, m = matrices.shape
    rows = np.arange(groups)[:, None], inputs.order
    scaled = (matrices / np.broadcast_to(steps, (groups, m))[:, None]).astype(np.float32)[rows]
    cost = np.broadcast_to(weights * np.square(steps), (groups, m)).astype(np.float32)
    kept = None if keep is None else keep[rows]
    found = np.rint(scaled if kept is None else scaled * kept)
    for _ in range(passes):
        found = _pass(scaled, inputs.factor, cost, np.float32(multiplier), Price(found), kept)
    out = np.empty(found.shape, np.int32)
    out[rows] = found
    return out


def _pass(scaled, factor, cost, multiplier, price: Price, kept) -> np.ndarray:
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


def _cheapest(wanted, cost, multiplier, price: Price) -> np.ndarray:
    """Of the integers near each number, and zero, the one of least error and bits."""
    nearest = np.clip(np.rint(wanted), -price.reach, price.reach)
    best, least = nearest, cost * np.square(wanted - nearest) + multiplier * price(nearest)
    lower = np.clip(np.trunc(wanted), -price.reach, price.reach)  # towards zero
    for other in (lower, lower - np.sign(lower), np.zeros_like(nearest)):
        total = cost * np.square(wanted - other) + multiplier * price(other)
        better = total < least
        best, least = np.where(better, other, best), np.where(better, total, least)
    return best
