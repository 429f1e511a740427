"""What shrinking did: a table of the weights, and the tries on the way there."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from smh.container.replacing import replacing
from smh.errors import ArgumentError
from smh.plots import new_figure
from smh.sensitivity.picture import picture_format
from smh.tables import PathCell, Printed, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from smh.shrinking.flow import Rounded


@dataclass(frozen=True)
class Row:
    """One weight.

    Attributes:
        path: its path.
        numbers: how many it has.
        bits: bits of each in the file.
        bytes: bytes of all in the file, exactly.
        zeros: share of them that are zero.
        share: share of the error that rounding this weight adds to the model's outputs.
        rule: `inputs` where what its layer takes in was looked at; `numbers` where only the
            weight's own numbers count: no data, or a layer of no known kind.
    """

    path: str
    numbers: int
    bits: float
    bytes: int
    zeros: float
    share: float
    rule: str


@dataclass(frozen=True)
class Attempt:
    """One rounding of the whole model.

    Attributes:
        multiplier: the price of a bit.
        bytes: of the file, within some bytes; where one may be chosen by them, exactly. Where a
            score decided, estimated, and all moved by as much as the chosen one's are off.
        error: what it adds to the outputs, as the statistics have it: of probabilities twice the
            divergence, of others the squared change over their variance.
        score: what `evaluate` returned, or `None`.
    """

    multiplier: float
    bytes: int
    error: float
    score: float | None = None


@dataclass(frozen=True)
class ShrinkReport(Printed):
    """What became of a model. `print` shows it as a table.

    Attributes:
        name: the model's.
        rows: one `Row` for each weight that was rounded.
        bytes: of the file that `smh.save` writes of it.
        before: of the one it wrote before.
        attempts: all roundings on the way, the finest first.
        chosen: the one that the model has now.
        baseline: the score before, or `None`.
    """

    name: str
    rows: tuple[Row, ...]
    bytes: int
    before: int
    attempts: tuple[Attempt, ...]
    chosen: Attempt
    baseline: float | None = None

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the rows as a CSV file."""
        with replacing(path) as partial, open(partial, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in fields(Row)])
            writer.writerows(astuple(row) for row in self.rows)

    def to_png(self, path: str | os.PathLike) -> None:
        """Draws the error (or the score) of all attempts against bytes, the chosen one marked.

        Raises:
            ArgumentError: nothing was tried, or Matplotlib writes no file of this ending.
            ImportError: Matplotlib is not installed.
        """
        draw(self, path)

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        table = new_table(f"{self.name}: {self.before:,} bytes as .smh, now {self.bytes:,}")
        table.add_column("weight", ratio=1)
        for title in ("numbers", "bits each", "bytes", "zeros", "of the error"):
            table.add_column(title, justify="right")
        for row in self.rows:
            mark = "" if row.rule == "inputs" else " *"
            table.add_row(
                PathCell(row.path + mark),
                f"{row.numbers:,}",
                f"{row.bits:.2f}",
                f"{row.bytes:,}",
                f"{row.zeros:.0%}",
                f"{row.share:.1%}",
            )
        table.add_section()
        table.add_row(
            "all else", "", "", f"{self.bytes - sum(r.bytes for r in self.rows):,}", "", ""
        )
        if any(row.rule != "inputs" for row in self.rows):
            table.caption = "* by its numbers alone, whatever its layer takes in"
            table.caption_justify = "left"
        return table


def draw(report: ShrinkReport, path: str | os.PathLike) -> None:
    """See `ShrinkReport.to_png`."""
    by_score = all(one.score is not None for one in (*report.attempts, report.chosen))
    points = sorted(report.attempts, key=lambda one: one.bytes)
    values = [_height(one, by_score) for one in points]
    if not points:
        raise ArgumentError("There is nothing to draw: no rounding was tried.")
    figure = new_figure()
    format = picture_format(figure, path)
    axes = figure.subplots()
    axes.plot([one.bytes / 1000 for one in points], values, "o-", color="#0072b2", label="tried")
    chosen = _height(report.chosen, by_score)
    axes.plot([report.chosen.bytes / 1000], [chosen], "*", ms=16, color="#d55e00", label="chosen")
    axes.set_xlabel("file, kB")
    if by_score and report.baseline is not None:
        axes.axhline(report.baseline, ls="--", color="#555555", label="before")
    elif min(values) > 0:
        axes.set_yscale("log")
    axes.set_ylabel("score" if by_score else "error added to the outputs")
    axes.set_title(report.name)
    axes.legend()
    with replacing(path) as partial:
        figure.savefig(partial, format=format)


def _height(one: Attempt, by_score: bool) -> float:
    return one.score if by_score and one.score is not None else one.error


def rows_of(paths: Sequence[str], rounded: Sequence[Rounded], rules: Sequence[str]) -> list[Row]:
    """Makes the rows of what was rounded."""
    total = sum(one.error for one in rounded) or 1.0
    return [
        Row(
            path,
            one.integers.size,
            8 * one.bytes / one.integers.size,
            one.bytes,
            float((one.integers == 0).mean()),
            one.error / total,
            rule,
        )
        for path, one, rule in zip(paths, rounded, rules, strict=True)
    ]
