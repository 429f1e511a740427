"""The pools that `smh.compress` makes for the weights it selected, and how their factors start."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

from smh.doors.compressible import Selected, numbers_in
from smh.errors import ArgumentError
from smh.errors.limits import BLOCKS
from smh.parametrizations.pool_slice import PoolSlice
from smh.pools.factor_initializers import factor_seeds
from smh.pools.fit import PoolFit, fit_pool
from smh.pools.fit_blocks import fit_blocks
from smh.pools.grouping import Group, automatic_blocks, group_weights, least_fraction
from smh.pools.shape import too_small
from smh.variable_pool import ProductVariablePool


def make_pools(
    selected: Sequence[Selected],
    budget: int,
    fraction: float | None,
    target_params: int | None,
    blocks: int | Literal["auto"],
    seed: int | None,
    taken: Collection[str],
) -> list[tuple[ProductVariablePool, list[Selected]]]:
    """Makes pools whose factors have at most `budget` numbers, each with the weights it is for.

    Their names are not among `taken`: then every factor has a path of its own.

    Raises:
        ArgumentError: the budget is too small for one replica of each pool, or `blocks` is none.
    """
    shapes = [item.spec.shape for item in selected]
    if blocks == "auto":
        blocks = automatic_blocks(shapes, budget)
    groups = group_weights(shapes, budget, BLOCKS.checked(blocks, "blocks"))
    if any(group.shape.replicas < 1 for group in groups):
        raise _too_small(groups, selected, budget, fraction, target_params)
    seeds = [seed] if len(groups) == 1 else factor_seeds(seed, len(groups))
    usual = ProductVariablePool.__name__
    numbered = (f"{usual}_{i}" if i else usual for i in itertools.count())
    free = (name for name in numbered if name not in taken)
    return [
        (ProductVariablePool.from_shape(g.shape, seed=s, name=n), [selected[i] for i in g.members])
        for g, s, n in zip(groups, seeds, free, strict=False)
    ]


def _too_small(groups: Sequence[Group], selected, budget, fraction, target_params) -> ArgumentError:
    numbers = numbers_in(selected)
    if fraction is not None:
        return too_small(fraction, least_fraction(groups, numbers), len(groups))
    needed = target_params - budget + math.ceil(least_fraction(groups, numbers) * numbers)
    return ArgumentError(
        f"target_params={target_params:,} is too small: what stays dense and one replica of "
        f"{'the pool' if len(groups) == 1 else f'each of the {len(groups)} pools'} need "
        f"{needed:,}."
    )


def fit_of(pool: Any, selected: Sequence[Selected], seed: int | None) -> PoolFit:
    """Factors of the pool that fit the weights as they are now."""
    variables, shape = [item.variable for item in selected], pool.product.shape
    if shape.blocks > 1:
        return fit_blocks(variables[0], variables[0].path, shape, seed)
    return fit_pool(variables, [v.path for v in variables], shape, seed)


def start_at(fit: PoolFit, pool: Any, slices: Sequence[PoolSlice]) -> None:
    """Gives the factors, and the scales of the slices, what was fitted."""
    for factor, value in zip(pool.core_variables, (fit.left, fit.right), strict=True):
        factor.assign(value)
    for pool_slice, scale in zip(slices, fit.scales, strict=True):
        for part in pool_slice.parts:  # one: the scale
            part.assign(scale)
    pool.energy_kept = fit.energy
    logging.getLogger("smh").info(
        "The fit keeps %.1f %% of the energy of %d weights, from %.1f to %.1f %% of each.",
        100 * fit.energy,
        len(slices),
        100 * min(fit.energies),
        100 * max(fit.energies),
    )
