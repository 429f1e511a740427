"""What a report is made of: rows, maps of pools, and their sums. Needs no Keras."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from smh.container.replacing import replacing
from smh.tables import PathCell, Printed, longest_name, new_table, width
from smh.typing import itemsize

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
        kind: `stored` in a word: `dense`, `pool`, `pruned`, `shared` (values), `rounded`, `factor`
            (of a pool, whatever is done to it), `copy` (of what is computed, where a layer is
            frozen or the model deployed), or `computed` in another way.
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
    kind: str = "dense"


@dataclass(frozen=True)
class PoolMap:
    """Which entries of a pool each weight takes.

    Attributes:
        name: of the pool.
        entries: how many numbers its factors compute.
        columns: of these, how many are a row of its product; 0 where it is no product.
        factors: the shapes of the factors.
        slots: for each weight its path and its half-open ranges of entries, in order.
    """

    name: str
    entries: int
    columns: int
    factors: tuple[tuple[int, ...], ...]
    slots: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]


class Sums:
    """The sums over `rows`, of a whole model or of one layer."""

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


@dataclass(frozen=True)
class SizeReport(Sums, Printed):
    """What `smh.report` returns: rows and totals. `print` shows it as a table.

    Attributes:
        name: name of the model.
        rows: one `Row` per weight, then one per factor of each pool.
        pools: one `PoolMap` per pool.
        notes: what could be smaller, and how.
    """

    name: str
    rows: tuple[Row, ...]
    pools: tuple[PoolMap, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """How many numbers it has, in half a sentence."""
        if all(row.kind == "dense" for row in self.rows) or (
            self.trained_params == self.original_params  # rounded
        ):
            return f"{self.original_params:,} numbers"
        return (
            f"training changes {self.trained_params:,} numbers, the dense model has "
            f"{self.original_params:,}"
        )

    def _dense_totals(self) -> tuple[str, str]:
        return f"{self.original_params:,}", f"{self.original_bytes:,}"

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the rows to `path`, replacing it only once all is written."""
        with replacing(path) as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            for row in self.rows:
                writer.writerow(asdict(row) | {"shape": "x".join(map(str, row.shape))})

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        table = new_table(f"smh report: {self.name}")
        titles = ["shape", "trained", "bytes"]
        if self.packed != self.bytes:
            titles += ["bits", "packed"]
        lines = [self._numbers(row, titles) for row in self.rows]
        totals = {"trained": f"{self.trained_params:,}", "bytes": f"{self.bytes:,}"}
        totals["packed"] = f"{self.packed:,}"
        dense = dict(zip(("trained", "bytes"), self._dense_totals(), strict=True))
        whole = [[sums.get(title, "") for title in titles] for sums in (totals, dense)]

        widths = [max(map(len, column)) for column in zip(titles, *lines, *whole, strict=True)]
        table.add_column("variable", overflow="fold")
        table.add_column("shape", no_wrap=True)
        table.add_column("stored as", overflow="fold", max_width=self._stored_width(widths))
        for title in titles[1:]:
            table.add_column(title, justify="right", no_wrap=True)
        for row, (shape, *sizes) in zip(self.rows, lines, strict=True):
            table.add_row(PathCell(row.path), shape, row.stored, *sizes)
        table.add_section()
        table.add_row("total", "", "", *whole[0][1:], style="bold")
        table.add_row("as a dense model", "", "", *whole[1][1:])
        share = f"trained: {self.trained_params / max(1, self.original_params):.2%} of dense"
        table.caption = "\n".join([share, *self.notes])
        table.caption_justify = "left"
        return table

    def _numbers(self, row: Row, titles: list[str]) -> list[str]:
        shape = "x".join(map(str, row.shape)) or "scalar"
        sizes = [f"{row.trained:,}", f"{row.bytes:,}", str(row.bits), f"{row.packed:,}"]
        return [shape, *sizes][: len(titles)]

    def _stored_width(self, others: list[int]) -> int:
        """Columns for how weights are stored, which folds at spaces so that names need not be cut.

        Args:
            others: widths of all columns but this and the paths'; between two are two blanks.
        """
        words = [len(word) for row in self.rows for word in row.stored.split()]
        names = [longest_name(row.path) for row in self.rows]
        room = width() - sum(others) - 2 * (len(others) + 1)
        return max(room - max(names, default=0), *words, 1)
