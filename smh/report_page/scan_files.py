"""Scans as `ScanResult.to_csv` writes them, read for drawing."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smh.errors import ArtifactError
from smh.sensitivity.words import Shown

_KINDS = ("sparsity", "bits")


@dataclass(frozen=True)
class ScanFile:
    """What is in a file of a scan.

    Attributes:
        name: of the file.
        kind: `"sparsity"` or `"bits"`.
        shown: what was measured, or `the metric` where that cannot be told, and how it is shown.
        levels: the levels, from the mildest on.
        drops: for each weight, at each level by how much the metric got worse; `None` where it
            was not measured.
    """

    name: str
    kind: str
    shown: Shown
    levels: tuple[float, ...]
    drops: dict[str, tuple[float | None, ...]]


def read_scan(path: str | os.PathLike) -> ScanFile | None:
    """Reads a file of a scan; returns `None` if it is a table of something else.

    Raises:
        ArtifactError: it begins like a scan, and holds something else.
        OSError: from the file system.
    """
    name = os.path.basename(path)
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(file)
        heading = next(lines, [])
        if heading[:2] != ["weight", "numel"] or not set(heading[2:3]) & set(_KINDS):
            return None
        table = [line for line in lines if line]
    rows = [line for line in table if line[0] != "(unchanged)"]
    kind, place = heading[2], len(heading) - 1
    try:
        shown = _shown(heading, table)
        measured = {(row[0], float(row[2])): float(row[place]) for row in rows}
    except (ValueError, IndexError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error
    levels = sorted({level for _, level in measured}, reverse=kind == "bits")
    paths = dict.fromkeys(path for path, _ in measured)
    drops = {path: tuple(measured.get((path, level)) for level in levels) for path in paths}
    return ScanFile(name, kind, shown, tuple(levels), drops)


def _shown(heading: Sequence[str], table: Sequence[Sequence[str]]) -> Shown:
    """The column of which `drop` is the change, and in which direction it is better."""
    unchanged = next((line for line in table if line[0] == "(unchanged)"), ())
    drops = [float(line[-1]) for line in table]
    for place in range(3, len(unchanged) - 1):
        values = [float(line[place] or "nan") for line in table]
        changes = [value - float(unchanged[place]) for value in values]
        if _agree(map(abs, changes), map(abs, drops)):
            found = Shown.of(heading[place], values)
            either = _agree(changes, drops) == _agree([-change for change in changes], drops)
            higher = found.higher_is_better if either else not _agree(changes, drops)
            return dataclasses.replace(found, higher_is_better=higher)
    return Shown.of("the metric", [])


def _agree(some: Iterable[float], others: Iterable[float]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(a == b or not (math.isfinite(a) or math.isfinite(b)) for a, b in pairs)


def severity(drops: tuple[float | None, ...], worst: float) -> float:
    """How much a weight loses over all levels; what is not finite counts as twice the worst."""
    known = (drop for drop in drops if drop is not None)
    return sum(drop if math.isfinite(drop) else 2 * worst for drop in known)
