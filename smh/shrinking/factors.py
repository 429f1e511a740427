"""What rounding has to know of a matrix's inputs and outputs: their moments, damped and factored.

`H` is the second moment of the inputs, `G` that of the outputs' gradients. With rows and columns in
an order, the best answer of the later numbers to an error is known from the inverses of `H` and
`G`; their Cholesky factors have all answers. Moments of few examples are not believed as they are:
how far they are damped, and how far outputs are taken together, is what costs least on the half of
the examples that did not choose it.

References: Frantar et al., "GPTQ", ICLR 2023 (2210.17323), for the Cholesky factor; Martens,
Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", ICML 2015, for
`H` and `G`; Ledoit, Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices",
2004, for moments of few examples and their shrinkage, and Stone, "Cross-Validatory Choice", 1974,
for how it is chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Halves = tuple[np.ndarray, np.ndarray]  # the same statistic, of each half of the examples

DAMPINGS = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the mean square of an input
ALONE = (0.35, 0.6, 1.0)  # how far outputs are taken to be independent
_NOTHING = 1e-9  # of the largest inputs: what others count as at least
_BLOCK = 128  # rows of a triangle that are inverted as they are
_SOME = 256  # rows of a matrix whose errors are looked at where they only decide about it
_TOLD_BY_ONE = 512  # rows: of more, one half tells as much of the other as both of each other


@dataclass(frozen=True)
class Inputs:
    """What the inputs of a product are like, ready for rounding.

    Attributes:
        order: `[groups, n]`: the rows in the order in which they are rounded, largest inputs first.
        factor: float32 `[groups, n, n]`: upper triangular `U` with `U' U` the inverse of the damped
            moments, in that order.
        level: `[groups]`: what is left of an input's variance (damped) once those after it made
            good, the mean of all: so much a small error of a number costs, if all are as large.
    """

    order: np.ndarray
    factor: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, moments: np.ndarray, halves: Halves | None, prior: float = 0.0) -> Inputs:
        """Factors `[groups, n, n]`.

        Args:
            moments: of all examples.
            halves: of each half, by which it is chosen how far they are damped; `None`: as far as
                is known.
            prior: as a share of those seen, how many examples every group is taken to have at
                least whose inputs are as large as those of the median group. What no example has
                woken may be what the next one is about.

        Cost: with `halves`, two to ten Cholesky factorings more: up to ten times the time.
        """

        def damped(moments: np.ndarray, damping: float) -> np.ndarray:
            mean = np.diagonal(moments, axis1=1, axis2=2).mean(1)
            least = max(prior * np.median(mean), _NOTHING * mean.max(initial=0)) or 1.0
            unseen = max(least, DAMPINGS[0] * mean.max(initial=0))  # such as tokens that are rare
            added = np.maximum(damping * mean, np.where(mean > 0, least, unseen))
            out = moments.astype(np.float64)
            _diagonal(out)[:] += added[:, None]
            return out

        damping = _least_unseen(halves, DAMPINGS, damped)
        return cls(*_factored(damped(moments, damping)))

    @classmethod
    def alike(cls, groups: int, n: int) -> Inputs:
        """Inputs of which nothing is known."""
        order = np.broadcast_to(np.arange(n), (groups, n))
        factor = np.broadcast_to(np.eye(n, dtype=np.float32), (groups, n, n))
        return cls(order, factor, np.ones(groups))


@dataclass(frozen=True)
class Outputs:
    """How errors of a product's outputs add up, ready for rounding.

    Attributes:
        order: `[groups, m]`: the columns in the order in which they are rounded.
        factor: float32 `[groups, m, m]`: upper triangular `V` with `V' V` the inverse of `G`.
        relief: `[groups]`: by how much less an error costs than if each output were alone, if all
            are as large.
    """

    order: np.ndarray
    factor: np.ndarray
    relief: np.ndarray

    @classmethod
    def of(
        cls, gradients: np.ndarray, weights: np.ndarray, halves: Halves | None
    ) -> Outputs | None:
        """Factors `G`; `None` if its outputs are best taken to be independent.

        Args:
            gradients: `[groups, m, m]`; only how its outputs go together is taken from it, partly.
            weights: broadcasts against `[groups, m]`: the diagonal of `G`.
            halves: the gradients of each half of the examples, by which it is chosen how far.
        """
        groups, m, _ = gradients.shape
        own = np.sqrt(np.broadcast_to(weights, (groups, m)))

        def whole(gradients: np.ndarray) -> np.ndarray:
            size = np.sqrt(np.maximum(np.diagonal(gradients, axis1=1, axis2=2), 1e-300))
            out = gradients / (size[:, :, None] * size[:, None, :])
            out *= own[:, :, None] * own[:, None, :]
            _diagonal(out)[:] = np.square(own)  # of one without gradients too
            return out

        def mixed(together: np.ndarray, alone: float) -> np.ndarray:
            out = (1 - alone) * together
            _diagonal(out)[:] = np.diagonal(together, axis1=1, axis2=2)
            return out

        both = None if halves is None else (whole(halves[0]), whole(halves[1]))
        alone = _least_unseen(both, ALONE, mixed)
        if alone == 1:
            return None
        order, factor, level = _factored(mixed(whole(gradients), alone))
        return cls(order, factor, level / np.square(own).mean(1))


def _least_unseen(
    halves: Halves | None,
    values: Sequence[float],
    trusted: Callable[[np.ndarray, float], np.ndarray],
) -> float:
    """Of rising values the one whose errors cost least on the half that it did not see.

    With `A` what is trusted of one half, rounding leaves the errors `U' z`, where `U' U` is the
    inverse of `A` and the `z_i` are independent, with variances of `1 / U_ii ** 2` on one scale. On
    the other half, of moments `B`, they cost the sum of `(U B U')_ii / U_ii ** 2`.

    They nearly always cost less there than by `A`, which is damped. Steps are not made coarser by
    that: it holds of small errors only, and coarse steps leave large ones. DeepLC in 149 kB lost
    36 % of its range so, and 0.9 % without (`benchmarks/README.md`).

    Args:
        halves: of the examples.
        values: rising.
        trusted: of moments in any order, what is trusted of them at a value; their diagonals keep
            their order.
    """
    if halves is None:
        return values[-1]
    least, best = np.inf, values[-1]
    pairs = [_as_one_has_it(*halves)]
    if halves[0].shape[-1] <= _TOLD_BY_ONE:
        pairs.append(_as_one_has_it(*halves[::-1]))
    for value in values:
        unseen = 0.0
        for one, other in pairs:
            lower = np.linalg.cholesky(trusted(one, value))
            n = lower.shape[-1]
            places = np.unique(np.linspace(0, n - 1, min(n, _SOME)).astype(int))
            rows = _rows_of_inverse(lower, places)
            costs = np.einsum("gij,gij->gi", rows @ other, rows)
            variances = np.diagonal(lower, axis1=1, axis2=2)[:, places].astype(np.float64) ** 2
            unseen += float((costs * variances).sum())
        if unseen >= least:
            break
        least, best = unseen, value
    return best


def _as_one_has_it(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both halves in the reverse of the order of the first, the second in float32."""
    order = _order(one)
    return _reversed(one, order), _reversed(other, order).astype(np.float32)


def _factored(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns order, factor of the inverse, and level of positive definite `[groups, n, n]`.

    With `L` of the matrices in the reverse of that order, `L^-1`, reversed, is the factor, and
    `L_ii ** 2` what is left of each number's variance.
    """
    order = _order(matrices)
    lower = np.linalg.cholesky(_reversed(matrices, order))
    level = np.square(np.diagonal(lower, axis1=1, axis2=2)).mean(1)
    factor = _inverse_of_lower(lower.astype(np.float32))[:, ::-1, ::-1]
    return order, np.ascontiguousarray(factor), level


def _order(matrices: np.ndarray) -> np.ndarray:
    """Of `[groups, n, n]` the rows, those with the largest numbers on the diagonal first."""
    return np.argsort(-np.diagonal(matrices, axis1=1, axis2=2), axis=1, kind="stable")


def _reversed(matrices: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rows and columns of `[groups, n, n]` in the reverse of an order `[groups, n]`."""
    back = order[:, ::-1]
    return matrices[np.arange(len(back))[:, None, None], back[:, :, None], back[:, None, :]]


def _diagonal(matrices: np.ndarray) -> np.ndarray:
    """Of `[groups, n, n]`, to write to: `[groups, n]`."""
    return np.einsum("gii->gi", matrices)


def _inverse_of_lower(lower: np.ndarray) -> np.ndarray:
    """Of lower triangular `[groups, n, n]`, by halves: `np.linalg.inv` takes nine times as long."""
    n = lower.shape[-1]
    if n <= _BLOCK:
        return np.tril(np.linalg.inv(lower))
    half, out = n // 2, np.zeros_like(lower)
    first, last = slice(0, half), slice(half, n)
    out[:, first, first] = _inverse_of_lower(lower[:, first, first])
    out[:, last, last] = _inverse_of_lower(lower[:, last, last])
    out[:, last, first] = -(out[:, last, last] @ lower[:, last, first] @ out[:, first, first])
    return out


def solve_lower(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns `[groups, n, m]`: lower triangular `[groups, n, n]`, inverted, times `right`.

    By blocks: `np.linalg.solve`, which does not know that they are triangular, takes five to nine
    times as long.
    """
    out = np.empty_like(right)
    for start in range(0, lower.shape[-1], _BLOCK):
        own, before = slice(start, start + _BLOCK), slice(0, start)
        left = right[:, own] - lower[:, own, before] @ out[:, before]
        out[:, own] = _inverse_of_lower(lower[:, own, own]) @ left
    return out


def _rows_of_inverse(lower: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Float32 `[groups, len(places), n]`: some rows of the inverse of `[groups, n, n]`."""
    groups, n, _ = lower.shape
    lower = lower.astype(np.float32)
    rows = np.zeros((groups, len(places), n), np.float32)
    rows[:, np.arange(len(places)), places] = 1
    for start in reversed(range(0, n, _BLOCK)):
        own, behind = slice(start, start + _BLOCK), slice(start + _BLOCK, n)
        left = rows[:, :, own] - rows[:, :, behind] @ lower[:, behind, own]
        rows[:, :, own] = left @ _inverse_of_lower(lower[:, own, own])
    return rows
