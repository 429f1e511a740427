"""What a run directory has besides the model: curves of its training, and scans."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smh.report_page.charts import KINDS_OF_LINES, Line, chart
from smh.report_page.scan_files import ScanFile, severity
from smh.sensitivity.words import Shown
from smh.tables.markup import Markup, tag
from smh.training.metrics import Row

_RATE = "learning_rate"
_LOSSES: dict[tuple[str, ...], str] = {
    ("accuracy",): "loss (cross-entropy, nats)",
    ("mae",): "loss (mean square error)",
}
_PROMINENT = 6  # of more than `KINDS_OF_LINES` weights


def training_section(rows: Sequence[Row]) -> Markup | None:
    """Returns a chart of each metric by epoch, then of the rate; `None` if there is none."""
    marks, names = _epochs([row["epoch"] for row in rows]), _metrics(rows)
    # Of several outputs it is a sum of such, and of these two alone `smh train` has one each.
    loss = _LOSSES.get(tuple(names[1:-1]), "loss")
    charts = [_by_epoch(rows, name, loss, marks) for name in names]
    shown = [one for one in charts if one is not None]
    if not shown:
        return None
    return tag("section", tag("h2", "Training"), tag("div", *shown, class_="charts"))


def _metrics(rows: Sequence[Row]) -> list[str]:
    """What was measured, once for training and validation: the loss first, the rate last."""
    columns = (name.removeprefix("val_") for row in rows for name in row)
    others = dict.fromkeys(name for name in columns if name not in ("epoch", "loss", _RATE))
    return ["loss", *others, _RATE]


def _by_epoch(rows: Sequence[Row], name: str, loss: str, marks: dict[float, str]) -> Markup | None:
    columns = {name: "rate" if name == _RATE else "training", f"val_{name}": "validation"}
    shown = Shown.of(name, [row[column] for row in rows for column in columns if column in row])
    lines = [
        Line(part, [(row["epoch"], shown.unit * row[column]) for row in rows if column in row])
        for column, part in columns.items()
    ]
    lines = [line for line in lines if any(math.isfinite(y) for _, y in line.points)]
    if not lines:
        return None
    label = loss if name == "loss" else "rate" if name == _RATE else shown.label
    most = 100.0 if shown.is_share else math.inf
    return chart(name.replace("_", " "), lines, "epoch", label, marks, most)


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
        heights = [0.0, *(math.nan if d is None else scan.shown.unit * d for d in drops)]
        line = Line(path if path in named else "", list(zip(places, heights, strict=True)))
        lines.append(line)
    what = "pruned" if scan.kind == "sparsity" else "stored in few bits"
    unit = ", in points," if scan.shown.is_share else ""
    text = f"By how much it gets worse{unit} if one weight is {what} and the others stay."
    if len(order) > len(named):
        text += f" The {_PROMINENT} weights that lose most have their names; grey: the others."
    label = scan.shown.lost
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
    heads = [tag("th", _heading(scan, level), scope="col") for level in scan.levels]
    rows = [
        tag("tr", tag("th", path, scope="row"), *(_drop(scan.shown, d, worst) for d in drops))
        for path, drops in scan.drops.items()
    ]
    head = tag("thead", tag("tr", tag("th", "weight", scope="col"), *heads))
    return tag("table", head, tag("tbody", *rows), class_="drops")


def _drop(shown: Shown, drop: float | None, worst: float) -> Markup:
    if drop is None:
        return tag("td", "")
    if not math.isfinite(drop):
        return tag("td", "not finite", class_="number h4")
    # By the root: it is the small drops that decide how far to go.
    shade = round(4 * math.sqrt(max(0.0, drop) / worst))
    return tag("td", shown.points(drop), class_=f"number h{shade}")


def _heading(scan: ScanFile, level: float) -> str:
    unit = " %" if scan.kind == "sparsity" else " bit" if level == 1 else " bits"
    return _level(scan, level) + unit


def _level(scan: ScanFile, level: float) -> str:
    return f"{100 * level if scan.kind == 'sparsity' else level:g}"


def _epochs(epochs: Sequence[float]) -> dict[float, str]:
    """At most 11 of the epochs, the first and the last among them."""
    every = max(1, math.ceil((len(epochs) - 1) / 10))
    shown = [*epochs[: len(epochs) - every : every], *epochs[-1:]]
    return {epoch: f"{epoch:g}" for epoch in shown}
