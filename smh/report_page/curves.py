"""What a run directory has besides the model: curves of its training, and scans."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smh.report_page.charts import KINDS_OF_LINES, Line, chart
from smh.report_page.scan_files import ScanFile, severity
from smh.tables.markup import Markup, tag
from smh.training.metrics import Row

_PROMINENT = 6  # of more than `KINDS_OF_LINES` weights


def training_section(rows: Sequence[Row]) -> Markup | None:
    """Returns loss, accuracy and rate by epoch; `None` if there is none of them."""
    wanted = (
        ("loss", "loss (cross-entropy, nats)", 1, {"loss": "training", "val_loss": "validation"}),
        ("accuracy", "accuracy (%)", 100, {"accuracy": "training", "val_accuracy": "validation"}),
        ("learning rate", "rate", 1, {"learning_rate": "learning rate"}),
    )
    charts = []
    marks = _epochs([row["epoch"] for row in rows])
    for title, label, unit, columns in wanted:
        lines = [
            Line(name, [(row["epoch"], unit * row[column]) for row in rows if column in row])
            for column, name in columns.items()
        ]
        lines = [line for line in lines if any(math.isfinite(y) for _, y in line.points)]
        if lines:
            charts.append(chart(title, lines, "epoch", label, marks))
    if not charts:
        return None
    return tag("section", tag("h2", "Training"), tag("div", *charts, class_="charts"))


def scan_section(scan: ScanFile) -> Markup | None:
    """Returns a line per weight and a table of all drops; `None` if nothing was measured."""
    known = [d for row in scan.drops.values() for d in row if d is not None and math.isfinite(d)]
    if not known:
        return None
    worst = max(*known, 1e-12)
    order = sorted(scan.drops, key=lambda path: -severity(scan.drops[path], worst))
    named = set(order if len(order) <= KINDS_OF_LINES else order[:_PROMINENT])
    places, marks, axis = _axis(scan)
    lines = []
    for path, drops in scan.drops.items():
        heights = [0.0, *(math.nan if d is None else d for d in drops)]
        line = Line(path if path in named else "", list(zip(places, heights, strict=True)))
        lines.append(line)
    what = "pruned" if scan.kind == "sparsity" else "stored in few bits"
    text = f"By how much it gets worse if one weight is {what} and the others stay."
    if len(order) > len(named):
        text += f" The {_PROMINENT} weights that lose most have their names; grey: the others."
    label = f"drop of {scan.metric}"
    return tag(
        "section",
        tag("h2", f"Scan of {scan.kind}: {scan.name}"),
        tag("p", text),
        tag("div", chart(label, lines, axis, label, marks), class_="charts"),
        tag("div", _drops(scan, worst), class_="wide"),
    )


def _axis(scan: ScanFile) -> tuple[list[float], dict[float, str] | None, str]:
    """Where the levels stand, from the unchanged model on; what stands there; what the axis is."""
    if scan.kind == "sparsity":
        return [0.0, *(100 * level for level in scan.levels)], None, "sparsity (%)"
    places = [float(number) for number in range(len(scan.levels) + 1)]
    names = ["full", *(_level(scan, level) for level in scan.levels)]
    return places, dict(zip(places, names, strict=True)), "bits per number"


def _drops(scan: ScanFile, worst: float) -> Markup:
    unit = " %" if scan.kind == "sparsity" else " bits"
    heads = [tag("th", _level(scan, level) + unit, scope="col") for level in scan.levels]
    rows = [
        tag("tr", tag("th", path, scope="row"), *(_drop(d, worst) for d in drops))
        for path, drops in scan.drops.items()
    ]
    head = tag("thead", tag("tr", tag("th", "weight", scope="col"), *heads))
    return tag("table", head, tag("tbody", *rows), class_="drops")


def _drop(drop: float | None, worst: float) -> Markup:
    if drop is None:
        return tag("td", "")
    if not math.isfinite(drop):
        return tag("td", "not finite", class_="number h4")
    # By the root: it is the small drops that decide how far to go.
    shade = round(4 * math.sqrt(max(0.0, drop) / worst))
    return tag("td", f"{drop:.3f}".replace("-0.000", "0.000"), class_=f"number h{shade}")


def _level(scan: ScanFile, level: float) -> str:
    return f"{100 * level if scan.kind == 'sparsity' else level:g}"


def _epochs(epochs: Sequence[float]) -> dict[float, str]:
    """At most 11 of the epochs, the first and the last among them."""
    every = max(1, math.ceil((len(epochs) - 1) / 10))
    shown = [*epochs[: len(epochs) - every : every], *epochs[-1:]]
    return {epoch: f"{epoch:g}" for epoch in shown}
