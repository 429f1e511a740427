"""The metrics of each epoch: as CSV, and as a picture."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

from smh.container.replacing import replacing
from smh.errors import ArtifactError

Row = dict[str, float]


def write_metrics(rows: Sequence[Mapping[str, float]], path: str | os.PathLike) -> None:
    """Writes a line per epoch, replacing `path` only once all is written.

    All digits are written, so that `read_metrics` returns the same numbers.
    """
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: str | os.PathLike) -> list[Row]:
    """Reads what `write_metrics` wrote.

    Raises:
        ArtifactError: the file holds something else.
        OSError: from the file system.
    """
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    try:
        rows: list[Row] = [{name: float(value) for name, value in line.items()} for line in lines]
        return [row | {"epoch": int(row["epoch"])} for row in rows]
    except (TypeError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} is not a table of metrics by epoch: {error}") from error


def draw_curves(rows: Sequence[Mapping[str, float]], path: str | os.PathLike, title: str) -> None:
    """Draws loss and accuracy (or the error of numbers) by epoch, and writes a PNG.

    Of training and of validation. Of several outputs it is the accuracy of the first.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    from smh.plots import new_figure

    figure = new_figure()
    axes = figure.subplots(1, 2)
    names = [name for row in rows for name in row if not name.startswith("val_")]
    accuracy = next((name for name in names if "accuracy" in name), None)
    second = accuracy or next((name for name in names if "mae" in name), "accuracy")
    _draw(axes[0], rows, "loss", 1, "loss")
    _draw(axes[1], rows, second, 100 if accuracy else 1, f"{second} (%)" if accuracy else second)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.savefig(path, dpi=150)


def _draw(axis: Any, rows: Sequence[Mapping[str, float]], name: str, unit: int, label: str) -> None:
    styles = ((name, "training", "-", "#1b4f72"), (f"val_{name}", "validation", "--", "#b9770e"))
    for column, part, style, color in styles:
        points = [(row["epoch"], unit * row[column]) for row in rows if column in row]
        if points:
            axis.plot(*zip(*points, strict=True), f"o{style}", color=color, label=part, ms=3)
    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
