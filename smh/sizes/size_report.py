"""How large a model is, weight by weight: `smh.report`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import keras

from smh.doors.built import check_is_built
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.integers import grid_of
from smh.parametrizations.masked import Masked
from smh.parametrizations.rounded import FakeQuantized
from smh.parametrizations.stepped import Stepped
from smh.pools.products import MatrixProduct
from smh.sizes.frozen_copies import notes_on_copies
from smh.sizes.rows import PoolMap, Row, SizeReport
from smh.typing import itemsize
from smh.variable_pool import VariablePool
from smh.virtual_variable import (
    Source,
    VirtualVariable,
    VirtualWeights,
    own_layers,
    own_variables,
    wrapping_of,
)

_KINDS = (
    (Masked, "pruned"),
    (Clustered, "shared"),
    (FakeQuantized, "rounded"),
    (Stepped, "rounded"),
)


def report(model: keras.Model) -> SizeReport:
    """Lists how each weight of a model is stored, and what that costs.

    Args:
        model: a built model, compressed or not. It is not changed, and nothing is computed.

    Returns:
        A `SizeReport`: `print(report)`, `report.rows`, `report.to_csv(path)`; as a page for a
        browser by `smh.report_page.write_page(path, report)`.

    Raises:
        ArgumentError: `model` is no Keras 3 model or layer.
        UnbuiltModelError: it has no weights yet.

    Example:
        >>> print(smh.report(smh.compress(model, fraction=0.1)))
    """
    check_is_built(model)
    seen: set[int] = set()
    rows: list[Row] = []
    pools: dict[int, Source] = {}
    slots: dict[int, list] = {}
    for layer in own_layers(model):
        if isinstance(layer, (Source, VirtualWeights)):
            continue
        for variable in own_variables(layer):
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            rows.append(_row(variable))
            if isinstance(variable, VirtualVariable):
                source = variable.parametrization.source
                pools.setdefault(id(source), source)
                slots.setdefault(id(source), []).append(variable)
    for pool in pools.values():
        layers = own_layers(pool) if pool else ()
        rows.extend(_factor_row(factor) for layer in layers for factor in own_variables(layer))
    maps = [_map(p, slots[key]) for key, p in pools.items() if isinstance(p, VariablePool)]
    notes = [
        note for key, pool in pools.items() if pool for note in notes_on_copies(pool, slots[key])
    ]
    return SizeReport(model.name, tuple(rows), tuple(maps), tuple(notes))


def _map(pool: VariablePool, users: Sequence[VirtualVariable]) -> PoolMap:
    product = getattr(pool, "product", None)  # a combined pool has none of its own
    columns = product.shape.cols if isinstance(product, MatrixProduct) else 0
    slots = tuple((user.path, user.parametrization.slot.segments) for user in users)
    return PoolMap(pool.name, pool.pool_size, columns, tuple(pool.factor_shapes()), slots)


def _kind(variable: VirtualVariable) -> str:
    if variable._snapshot is not None or variable._cached is not None:
        return "copy"
    parametrization = variable.parametrization
    if parametrization.source is not None:
        return "pool"
    return next((name for cls, name in _KINDS if isinstance(parametrization, cls)), "computed")


def _row(variable: keras.Variable) -> Row:
    shape, dtype = tuple(variable._shape), variable._dtype
    numbers = math.prod(shape)
    if not isinstance(variable, VirtualVariable):
        trained = numbers if variable.trainable else 0
        size = numbers * itemsize(dtype)
        bits = _bits(dtype)
        return Row(
            variable.path, shape, dtype, "dense", numbers, numbers, trained, size, bits, size
        )
    parts = variable.parametrization.parts
    copies = [v for v in (variable._snapshot, variable._cached) if v is not None]
    stored = [*parts, *copies]
    how = variable.parametrization.describe()
    if variable._snapshot is not None:
        how = f"frozen copy of {how}"
    elif variable._cached is not None:
        how = f"cached copy of {how}"
    size = sum(math.prod(v.shape) * itemsize(v._dtype) for v in stored)
    trained = sum(math.prod(part.shape) for part in parts if part.trainable)
    kept, bits, packed = numbers, _bits(dtype), size
    tally = variable.parametrization.tally()
    if tally is not None:
        kept, bits, packed = tally.kept, tally.bits, tally.packed
        trained = tally.trained if trained else 0
    kind = _kind(variable)
    return Row(variable.path, shape, dtype, how, numbers, kept, trained, size, bits, packed, kind)


def _factor_row(factor: keras.Variable) -> Row:
    shape, dtype = tuple(factor._shape), factor._dtype
    numbers, grid, wrapping = math.prod(shape), grid_of(factor), wrapping_of(factor)
    if isinstance(factor, VirtualVariable):
        row = replace(_row(factor), original=0, kind="factor")
        if grid is None or wrapping is None:
            return row
        packed = -(-row.kept * grid.bits // 8) + -(-numbers // 8) + 4 * grid.scale_count(shape)
        how = f"{row.stored}; {wrapping.describe()}"
        return replace(row, stored=how, bits=grid.bits, packed=packed)
    return Row(
        factor.path,
        shape,
        dtype,
        "factor" if wrapping is None else wrapping.describe(),
        0,
        numbers,
        numbers if factor.trainable else 0,
        numbers * itemsize(dtype),
        _bits(dtype) if grid is None else grid.bits,
        numbers * itemsize(dtype) if grid is None else grid.bytes(shape),
        "factor",
    )


def _bits(dtype: str) -> int:
    return 8 * itemsize(dtype)
