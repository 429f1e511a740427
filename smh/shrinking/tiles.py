"""Rounds a matrix whose rows and columns both go together, tile by tile.

Number `(a, b)` has to be `w_ab - sum U_ia z_ij V_jb` over the numbers `(i, j)` before it, in both
ways, and adds `z_ab = (that - q_ab) / (U_aa V_bb)`. What the tiles above one and those left of it
add to it, as `U' (z V)`, are products. The tiles of a diagonal need nothing of each other and are
rounded at once, and in each of them the numbers of a diagonal.
"""

from __future__ import annotations

import numpy as np

from smh.shrinking.pricing import Price

_TILE = 128  # rows and columns


def round_in_tiles(
    matrices: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    price: Price,
    kept: np.ndarray | None,
) -> np.ndarray:
    """Returns the integers that cost least.

    Args:
        matrices: float32 `[groups, n, m]`, over their steps.
        rows: upper triangular `[groups, n, n]`: `U`.
        columns: upper triangular `[groups, m, m]`: `V`.
        price: of the integers, in the unit of `U` and `V`.
        kept: bool `[groups, n, m]`: where false, the integer is zero.

    Returns:
        float32 `[groups, n, m]`.
    """
    groups, n, m = matrices.shape
    tall, wide = min(_TILE, n), min(_TILE, m)
    high, across = -(-n // tall), -(-m // wide)
    down, side = _on_diagonal(rows, tall), _on_diagonal(columns, wide)
    found, z, whole = np.zeros((3, *matrices.shape), np.float32)  # whole: `z V`
    for wave in range(high + across - 1):
        above = np.arange(max(0, wave - across + 1), min(high, wave + 1))
        left = wave - above
        tiles = [
            (k, slice(i * tall, min(n, (i + 1) * tall)), slice(j * wide, min(m, (j + 1) * wide)))
            for k, (i, j) in enumerate(zip(above, left, strict=True))
        ]
        wanted, passed, keeps = np.zeros((3, groups, len(tiles), tall, wide), np.float32)
        for k, r, c in tiles:
            own = np.s_[:, k, : r.stop - r.start, : c.stop - c.start]
            others = rows[:, : r.start, r].swapaxes(1, 2) @ whole[:, : r.start, c]
            wanted[own] = matrices[:, r, c] - others
            passed[own] = z[:, r, : c.start] @ columns[:, : c.start, c]
            keeps[own] = 1 if kept is None else kept[:, r, c]
        made = _rounded(
            wanted.reshape(-1, tall, wide),
            passed.reshape(-1, tall, wide),
            down[:, above].reshape(-1, tall, tall),
            side[:, left].reshape(-1, wide, wide),
            price,
            None if kept is None else keeps.reshape(-1, tall * wide),
        )
        for whole_matrix, part in zip((found, z, whole), made, strict=True):
            part = part.reshape(wanted.shape)
            for k, r, c in tiles:
                whole_matrix[:, r, c] = part[:, k, : r.stop - r.start, : c.stop - c.start]
    return found


def _on_diagonal(factor: np.ndarray, size: int) -> np.ndarray:
    """The blocks on the diagonal of `[groups, n, n]`, transposed: `[groups, blocks, size, size]`.

    What the last one lacks has one on its diagonal and zero elsewhere.
    """
    starts = range(0, factor.shape[-1], size)
    out = np.empty((len(factor), len(starts), size, size), np.float32)
    out[:] = np.eye(size, dtype=np.float32)
    for k, start in enumerate(starts):
        block = factor[:, start : start + size, start : start + size].swapaxes(1, 2)
        out[:, k, : block.shape[1], : block.shape[2]] = block
    return out


def _rounded(wanted, passed, down, side, price: Price, keeps):
    """Rounds tiles `[tiles, tall, wide]`, each by itself.

    Args:
        wanted: the numbers, made good for the tiles above.
        passed: the sum over the tiles left of `z V`.
        down: `U'` `[tiles, tall, tall]`.
        side: `V'` `[tiles, wide, wide]`.
        price: of the integers.
        keeps: `[tiles, tall * wide]`, or `None`.

    Returns:
        the integers, `z` and `z V` of all columns so far.
    """
    many, tall, wide = wanted.shape
    ups, sides = (np.diagonal(x, axis1=1, axis2=2).copy() for x in (down, side))
    scale = np.exp(np.log(ups).mean(1, keepdims=True))  # inputs may be tiny, and gradients large
    costs, side_costs = 1 / np.square(ups / scale), 1 / np.square(sides * scale)
    integers, z = np.zeros((2, many, tall, wide), np.float32)
    whole = np.zeros((many, wide, tall), np.float32)  # without what was passed
    left = wanted - down @ passed
    left_, integers_, z_, whole_ = (x.reshape(many, -1) for x in (left, integers, z, whole))
    for t in range(tall + wide - 1):  # numbers `(a, b)` with `a + b == t`
        first, last = max(0, t - wide + 1), min(tall - 1, t)
        a, b = slice(first, last + 1), _backwards(t - first, t - last, 1)
        at = slice(t + first * (wide - 1), t + last * (wide - 1) + 1, max(1, wide - 1))
        j, i = slice(t - first), slice(last)  # all others are zero
        before = np.einsum("xaj,xaj->xa", z[:, a, j], side[:, b, j])
        here = left_[:, at] - np.einsum("xai,xai->xa", down[:, a, i], whole[:, b, i])
        here -= ups[:, a] * before
        chosen = price.cheapest(here, costs[:, a] * side_costs[:, b])
        if keeps is not None:
            chosen *= keeps[:, at]
        integers_[:, at] = chosen
        here -= chosen
        here /= ups[:, a]
        before += here  # `z V`
        here /= sides[:, b]
        z_[:, at] = here
        start, stop = (t * tall - i * (tall - 1) for i in (first, last))
        whole_[:, _backwards(start, stop, max(1, tall - 1))] = before
    return integers, z, whole.swapaxes(1, 2) + passed


def _backwards(start: int, last: int, step: int) -> slice:
    """From `start` down to `last`."""
    return slice(start, last - 1 if last else None, -step)
