"""How large a model is, weight by weight: `smh.report`."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from smh.errors import ArgumentError
from smh.quantization import grid_of
from smh.virtual_variable import (
    Source,
    VirtualVariable,
    VirtualWeights,
    own_layers,
    own_variables,
    wrapping_of,
)
from smh.weight_spec import itemsize

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line of a report.

    Attributes:
        path: path of the variable.
        shape: its shape.
        dtype: its dtype.
        stored: how it is stored: `dense`, or the pool and the range that it is computed from (of
            which a frozen or cached weight is a copy).
        original: numbers that a dense layer would have here.
        kept: those of them that are not pruned.
        trained: numbers that training changes.
        bytes: bytes that these numbers and the ones stored with them take in memory.
        bits: bits of each stored number that the model computes with; of a rounded factor fewer
            than it has in memory.
        packed: bytes at that width, with the scales of a rounded factor, the codebook of shared
            values, and one bit for each number that may be pruned; not entropy-coded.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    original: int
    kept: int
    trained: int
    bytes: int
    bits: int
    packed: int


@dataclass(frozen=True)
class SizeReport:
    """What `smh.report` returns: rows and totals. `print` shows it as a table.

    Attributes:
        name: name of the model.
        rows: one `Row` per weight, then one per factor of each pool.
    """

    name: str
    rows: tuple[Row, ...]

    @property
    def original_params(self) -> int:
        """Numbers of the dense model."""
        return sum(row.original for row in self.rows)

    @property
    def trained_params(self) -> int:
        """Numbers that training changes; a shared pool counts once."""
        return sum(row.trained for row in self.rows)

    @property
    def original_bytes(self) -> int:
        """Bytes of the dense model's variables."""
        return sum(row.original * itemsize(row.dtype) for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes of all variables that are stored; a shared pool counts once."""
        return sum(row.bytes for row in self.rows)

    @property
    def packed(self) -> int:
        """Bytes of all that is stored at the width that the model computes with."""
        return sum(row.packed for row in self.rows)

    def _dense_totals(self) -> tuple[str, str]:
        return f"{self.original_params:,}", f"{self.original_bytes:,}"

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the rows to `path`, replacing it only once all is written."""
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            for row in self.rows:
                writer.writerow(asdict(row) | {"shape": "x".join(map(str, row.shape))})
        partial.replace(target)

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        from rich.table import Table

        table = Table(title=f"smh report: {self.name}", title_justify="left")
        table.add_column("variable", overflow="fold", ratio=1)
        table.add_column("shape", no_wrap=True)
        table.add_column("stored as", overflow="fold")
        table.add_column("trained", justify="right", no_wrap=True)
        table.add_column("bytes", justify="right", no_wrap=True)
        rounded = self.packed != self.bytes
        if rounded:
            table.add_column("bits", justify="right", no_wrap=True)
            table.add_column("packed", justify="right", no_wrap=True)
        for row in self.rows:
            shape = "x".join(map(str, row.shape)) or "scalar"
            sizes = [f"{row.bytes:,}", *([str(row.bits), f"{row.packed:,}"] if rounded else [])]
            table.add_row(row.path, shape, row.stored, f"{row.trained:,}", *sizes)
        table.add_section()
        totals = [f"{self.trained_params:,}", f"{self.bytes:,}"]
        totals += ["", f"{self.packed:,}"] if rounded else []
        table.add_row("total", "", "", *totals, style="bold")
        table.add_row("as a dense model", "", "", *self._dense_totals())
        table.caption = (
            f"trained: {self.trained_params / max(1, self.original_params):.2%} of dense"
        )
        table.caption_justify = "left"
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(
            file=io.StringIO(), width=_terminal_width(), record=True, force_jupyter=False
        )
        console.print(self)
        return console.export_text().rstrip()


def report(model: keras.Model) -> SizeReport:
    """Lists how each weight of a model is stored, and what that costs.

    Args:
        model: a built model, compressed or not. It is not changed, and nothing is computed.

    Returns:
        A `SizeReport`: `print(report)`, `report.rows`, `report.to_csv(path)`.

    Example:
        >>> print(smh.report(smh.compress(model, fraction=0.1)))
    """
    if not isinstance(model, keras.Layer):
        raise ArgumentError(f"model must be a Keras 3 model or layer, got {type(model).__name__}.")
    seen: set[int] = set()
    rows: list[Row] = []
    pools: dict[int, Source] = {}
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
    for pool in pools.values():
        layers = own_layers(pool) if pool else ()
        rows.extend(_factor_row(factor) for layer in layers for factor in own_variables(layer))
    return SizeReport(model.name, tuple(rows))


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
    return Row(variable.path, shape, dtype, how, numbers, kept, trained, size, bits, packed)


def _factor_row(factor: keras.Variable) -> Row:
    shape, dtype = tuple(factor._shape), factor._dtype
    numbers, grid, wrapping = math.prod(shape), grid_of(factor), wrapping_of(factor)
    if isinstance(factor, VirtualVariable):
        row = replace(_row(factor), original=0)
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
    )


def _bits(dtype: str) -> int:
    return 8 * itemsize(dtype)


def _terminal_width() -> int:
    from rich.console import Console

    return max(80, min(Console().width, 120))
