"""What a scan measured: as a table, a CSV file, a picture, and as a suggestion."""

from __future__ import annotations

import csv
import itertools
import math
import numbers
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smh.container.replacing import replacing
from smh.errors import ArgumentError
from smh.sensitivity.picture import draw_scan
from smh.sensitivity.suggestion import Curve, free, free_most, make_curve, predict
from smh.sensitivity.words import Shown
from smh.tables import PathCell, Printed, width

if TYPE_CHECKING:
    from rich.table import Table

_CENTROID_BITS = 32
_PLACES = 10_000  # a suggested sparsity has four decimal places


@dataclass(frozen=True)
class ScanRow:
    """One evaluation.

    Attributes:
        path: the weight that was changed; all others were as they are.
        level: its sparsity, or its bits.
        numel: how many numbers it has.
        bits: bits of each of them in the unchanged model.
        metrics: what was measured.
    """

    path: str
    level: float
    numel: int
    bits: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class ScanResult(Printed):
    """What `smh.sensitivity_scan` and `smh.bits_scan` return. `print` shows it as a table.

    Numbers are as they were measured: an accuracy is a share, 0.97. The table and the picture show
    shares in percent.

    Attributes:
        model: name of the model.
        kind: `"sparsity"` or `"bits"`: what `level` means.
        metric: which of the measured numbers decides.
        higher_is_better: in which direction.
        baseline: what was measured of the unchanged model.
        rows: one `ScanRow` per evaluation, weight by weight, from the mildest level on.
        planned: how many there are in a scan that is not stopped.
    """

    model: str
    kind: str
    metric: str
    higher_is_better: bool
    baseline: dict[str, float]
    rows: tuple[ScanRow, ...]
    planned: int

    @property
    def is_complete(self) -> bool:
        """Whether the scan went through to its end."""
        return len(self.rows) == self.planned

    @property
    def paths(self) -> tuple[str, ...]:
        """The weights, in the order of the model's layers."""
        return tuple(dict.fromkeys(row.path for row in self.rows))

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels, from the mildest on: rising sparsities, falling bits."""
        return tuple(sorted({row.level for row in self.rows}, reverse=self.kind == "bits"))

    @property
    def shown(self) -> Shown:
        """How people read the metric."""
        measured = [self.baseline[self.metric], *(row.metrics[self.metric] for row in self.rows)]
        return Shown.of(self.metric, measured, self.higher_is_better)

    def drop(self, row: ScanRow) -> float:
        """By how much the metric is worse than that of the unchanged model."""
        now, before = row.metrics[self.metric], self.baseline[self.metric]
        return before - now if self.higher_is_better else now - before

    def suggest(
        self, budget: float | None = None, *, max_drop: float | None = None
    ) -> list[tuple[str, float]]:
        """Turns the scan into a sparsity, or a number of bits, for each weight.

        Give exactly one of the two. It is assumed that the drops of the weights add up, and that
        they grow linearly between two levels. Levels that did better than a milder one are taken
        for noise and averaged with it. Real drops are mostly larger than their sum: evaluate the
        result, and train on.

        Args:
            budget: of a sparsity scan: the sparsity of all scanned weights together, below 1, or
                how many of their numbers to keep, a whole number. Of a bits scan: the bits of a
                number on average, the codebooks of 32-bit centroids included. Reached with the
                least predicted drop.
            max_drop: how much worse the metric may become, in its own unit: 0.01 of an accuracy is
                a point. As much as possible is saved within it.

        Returns:
            Pairs of a path and a sparsity in four decimal places, between measured levels and
            never beyond the last, or of a path and measured bits. A weight that is to stay as it
            is (or was not reached by a stopped scan) is left out.

        Raises:
            ArgumentError: a value that cannot work, or a budget that the measured levels cannot
                reach: the message says how far they go.

        Example:
            >>> for path, sparsity in result.suggest(budget=0.6):
            ...     print(path, sparsity)
            sequential/dense/kernel 0.5
            sequential/dense_1/kernel 0.9

        Reference: lower convex hulls and a greedy choice by slope: Y. Shoham, A. Gersho,
        "Efficient bit allocation for an arbitrary set of quantizers", IEEE Trans. ASSP 36, 1988.
        """
        if (budget is None) == (max_drop is None):
            raise ArgumentError(
                "Give exactly one of budget and max_drop, for example suggest(budget=0.9), got "
                f"budget={budget}, max_drop={max_drop}."
            )
        curves = [self._curve(path) for path in self.paths]
        bits = self.kind == "bits"
        if max_drop is not None:
            if not _is_number(max_drop) or max_drop < 0:
                raise ArgumentError(f"max_drop must be a number, at least 0, got {max_drop!r}.")
            freed = free_most(curves, float(max_drop), measured_only=bits)
        else:
            freed = free(curves, self._to_free(budget, curves), measured_only=bits)
        rounding = math.floor if budget is None else math.ceil
        pairs = zip(self.paths, freed, strict=True)
        levels = [(path, self._level(path, amount, rounding)) for path, amount in pairs]
        return [(path, level) for path, level in levels if level is not None]

    def predicted_drop(self, suggestion: Sequence[tuple[str, float]]) -> float:
        """The sum of the drops that a suggestion, or what you made of it, would cost one by one.

        Raises:
            ArgumentError: a path that was not scanned.
        """
        unknown = [path for path, _ in suggestion if path not in self.paths]
        if unknown:
            raise ArgumentError(f"Not scanned: {', '.join(map(repr, unknown))}.")
        levels = dict(suggestion)
        curves = [self._curve(path) for path in self.paths]
        freed = [self._freed(p, levels[p]) if p in levels else 0.0 for p in self.paths]
        return predict(curves, freed)

    def reached(self, suggestion: Sequence[tuple[str, float]]) -> float:
        """What a suggestion comes to, as `budget` counts: the sparsity, or the bits of a number.

        Raises:
            ArgumentError: a path that was not scanned.
        """
        self.predicted_drop(suggestion)  # knows all paths
        freed = sum(self._freed(path, level) for path, level in suggestion)
        rows = [self._row(path) for path in self.paths]
        numel = sum(row.numel for row in rows)
        if self.kind == "sparsity":
            return freed / numel
        return (sum(row.bits * row.numel for row in rows) - freed) / numel

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes a line for the unchanged model and one per row, replacing `path` at the end."""
        names = list(self.baseline)
        total = sum(self._row(path).numel for path in self.paths)
        with replacing(path) as partial, open(partial, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["weight", "numel", self.kind, *names, "drop"])
            start = "" if self.kind == "bits" else 0.0
            writer.writerow(["(unchanged)", total, start, *self.baseline.values(), 0.0])
            for row in self.rows:
                measured = [row.metrics.get(name, "") for name in names]
                writer.writerow([row.path, row.numel, row.level, *measured, self.drop(row)])

    def to_png(self, path: str | os.PathLike, title: str | None = None) -> None:
        """Draws one curve per weight; see `smh.sensitivity.picture`.

        Raises:
            ArgumentError: the scan was stopped before anything was measured, or Matplotlib writes
                no file of this ending.
            ImportError: Matplotlib is not installed.
        """
        draw_scan(
            self.paths,
            self.levels,
            [[self._value(path, level) for level in self.levels] for path in self.paths],
            self.baseline[self.metric],
            path,
            kind=self.kind,
            metric=self.metric,
            higher_is_better=self.higher_is_better,
            title=self.model if title is None else title,
        )

    def __rich__(self) -> Table:
        """The table that `rich` prints: a line per weight, a column per level."""
        from rich.table import Table

        metric = self.shown
        cells = [metric.cell(row.metrics[self.metric]) for row in self.rows]
        sizes = [_compact(self._row(path).numel) for path in self.paths]
        taken = min(40, max(map(len, self.paths), default=0)) + max(map(len, ["size", *sizes]))
        each = max(map(len, cells), default=0) + 1
        shown = _spread(self.levels, most=max(3, (width() - taken - 3) // max(each, 5)))
        table = Table(
            title=f"smh {self.kind} scan of {self.model}: {self.metric} "
            f"{metric.score(self.baseline[self.metric])} unchanged",
            title_justify="left",
            box=None,
            padding=(0, 1, 0, 0),
            min_width=min(width(), 79),  # title and caption take no more than the table does
        )
        table.add_column("weight", overflow="fold", ratio=1)
        table.add_column("size", justify="right", no_wrap=True)
        for level in shown:
            unit = "bit" if self.kind == "bits" else ""
            table.add_column(f"{level:g}{unit}", justify="right", no_wrap=True)
        for path, size in zip(self.paths, sizes, strict=True):
            table.add_row(
                PathCell(path), size, *(self._cell(metric, path, level) for level in shown)
            )
        notes = [f"{metric.label} with one weight changed"]
        if len(shown) < len(self.levels):
            notes.append(f"{len(shown)} of {len(self.levels)} levels, all are in .rows")
        if not self.is_complete:
            notes.append(f"stopped after {len(self.rows)} of {self.planned} evaluations")
        table.caption, table.caption_justify = "; ".join(notes), "left"
        return table

    def _row(self, path: str) -> ScanRow:
        return next(row for row in self.rows if row.path == path)

    def _cell(self, metric: Shown, path: str, level: float) -> str:
        value = self._value(path, level)
        return "" if value is None else metric.cell(value)

    def _value(self, path: str, level: float) -> float | None:
        for row in self.rows:
            if row.path == path and row.level == level:
                return row.metrics[self.metric]
        return None

    def _curve(self, path: str) -> Curve:
        rows = [row for row in self.rows if row.path == path]
        drops = [self.drop(row) for row in rows]
        return make_curve([self._freed(path, row.level) for row in rows], drops)

    def _freed(self, path: str, level: float) -> float:
        """Numbers that are zero, or bits that are saved, at a level."""
        row = self._row(path)
        if self.kind == "sparsity":
            return level * row.numel
        return (row.bits - level) * row.numel - _CENTROID_BITS * 2.0**level

    def _level(self, path: str, freed: float, rounding: Callable) -> float | None:
        """The level at which that much is freed; `None`: nothing is."""
        if freed <= 0:
            return None
        if self.kind == "bits":
            return next(at for at in self.levels if math.isclose(self._freed(path, at), freed))
        highest = max(row.level for row in self.rows if row.path == path)
        share = round(freed / self._row(path).numel * _PLACES, 6)
        return min(rounding(share) / _PLACES, highest) or None

    def _to_free(self, budget, curves: Sequence[Curve]) -> float:
        numel = sum(self._row(path).numel for path in self.paths)
        most = sum(float(curve.freed[-1]) for curve in curves)
        if self.kind == "bits":
            stored = sum(self._row(path).numel * self._row(path).bits for path in self.paths)
            if not _is_number(budget) or budget <= 0:
                raise ArgumentError(f"budget must be bits per number, above 0, got {budget!r}.")
            target, least = stored - budget * numel, (stored - most) / max(1, numel)
            reach = f"{math.ceil(least * 100) / 100:g} bits on average"
        else:
            if not _is_number(budget) or budget < 0 or (budget > 1 and budget != int(budget)):
                raise ArgumentError(
                    "budget must be a sparsity below 1 or a whole number of numbers to keep, got "
                    f"{budget!r}."
                )
            kept = budget if budget >= 1 else (1 - budget) * numel
            target = numel - kept
            share = math.floor(most / max(1, numel) * _PLACES) / _PLACES
            reach = f"a sparsity of {share:g} ({math.ceil(numel - most):,} numbers kept)"
        if target > most * (1 + 1e-9):
            raise ArgumentError(
                f"budget={budget:g} is out of reach: with every weight at its last measured level, "
                f"as far as the metric stayed finite, it is {reach}. Scan further, or ask for less."
            )
        return max(0.0, target)


def _is_number(value) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _compact(count: int) -> str:
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return str(count)


def _spread(levels: Sequence[float], most: int) -> list[float]:
    """At most `most` of the levels, evenly, the first and the last among them."""
    if len(levels) <= most:
        return list(levels)
    places = [round(i * (len(levels) - 1) / (most - 1)) for i in range(most)]
    return [levels[i] for i, _ in itertools.groupby(places)]
