"""The picture of a scan: one curve per weight, and a map of the drops where there are many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from smh.container.replacing import replacing
from smh.errors import ArgumentError
from smh.plots import new_figure
from smh.sensitivity.words import Shown

_QUIET = "#555555"
# Of curves: told apart by marker and line style too, in grey; colours of Okabe and Ito.
_COLORS = ("#0072b2", "#d55e00", "#000000", "#009e73", "#aa4499", "#a6761d", "#332288", "#666666")
_MARKERS, _LINES = "os^DvPX*", ("-", "--", "-.", ":")
_MOST_LABELLED = 8  # curves that can each have a label
_MOST_PROMINENT = 6  # of more than that, the most sensitive ones


def draw_scan(
    names: Sequence[str],
    levels: Sequence[float],
    values: Sequence[Sequence[float | None]],
    baseline: float,
    path: str | os.PathLike,
    *,
    kind: str = "sparsity",
    metric: str = "metric",
    higher_is_better: bool = True,
    title: str = "",
) -> None:
    """Draws a metric against the sparsity (or the bits) of each weight, and writes a PNG.

    One curve per weight, damage growing to the right. Up to 8 curves each bear their name. Of more,
    the 6 that lose most do, and all are rows of a map of the drops below, which reads with 50
    weights and in grey.

    Args:
        names: of the weights.
        levels: sparsities in [0, 1] rising, or bits falling.
        values: for each weight the metric at each level, `None` where it was not measured.
        baseline: the metric of the unchanged model.
        path: file to write; the ending decides the format, PNG if there is none.
        kind: `"sparsity"` or `"bits"`.
        metric: its name, for the axis; a share, as accuracy, is drawn in percent.
        higher_is_better: in which direction the metric is better.
        title: one line above the picture.

    Raises:
        ArgumentError: nothing was measured, or Matplotlib writes no file of this ending.
        ImportError: Matplotlib is not installed.

    Example:
        >>> from smh.sensitivity.picture import draw_scan
        >>> values = [[0.9, 0.8], [0.9, 0.5]]
        >>> draw_scan(["conv", "dense"], [0.5, 0.9], values, 0.9, "sensitivity.png")
    """
    measured = [v for row in values for v in row if v is not None]
    shown = Shown.of(metric, [baseline, *measured], higher_is_better)
    unit = shown.unit
    table = np.array([[np.nan if v is None else unit * v for v in row] for row in values], float)
    if not table.size:
        raise ArgumentError("There is nothing to draw: no weight was measured at any level.")
    figure = new_figure()
    format = picture_format(figure, path)
    names, baseline = _shortened(names), unit * baseline
    drops = baseline - table if higher_is_better else table - baseline  # [weights, levels]
    failed = np.array([[v is not None for v in row] for row in values]) & ~np.isfinite(table)
    worst = max(np.max(drops, initial=0.0, where=np.isfinite(drops)), 1e-12)
    severity = np.where(failed, 2 * worst, np.where(np.isfinite(drops), drops, 0.0)).sum(axis=1)
    is_many = len(names) > _MOST_LABELLED
    order = np.argsort(-severity, kind="stable").tolist()
    labelled = sorted(order[: _MOST_PROMINENT if is_many else None])
    figure.set_size_inches(8, 4.2 + (0.6 + 0.16 * len(names) if is_many else 0))
    if is_many:
        # Figures of their own: each uses the full width, whatever stands beside the other's axes.
        parts: Any = figure.subfigures(2, height_ratios=[3.6, 1 + 0.16 * len(names)])
        upper, lower = parts
        axes, below = upper.subplots(), lower.subplots()
        _draw_map(lower, below, names, drops, failed, worst, shown.lost)
        _label_levels(below, range(len(levels)), levels, kind)
    else:
        axes = figure.subplots()
    places = [0.0, *(range(1, len(levels) + 1) if kind == "bits" else levels)]
    finite = np.where(np.isfinite(table), table, np.nan)
    curves = np.column_stack([np.full(len(names), baseline), finite])
    _draw_curves(axes, places, curves, names, labelled)
    axes.axhline(baseline, color=_QUIET, linestyle="--", linewidth=1, zorder=1)
    better = f"{'higher' if higher_is_better else 'lower'} is better"
    axes.set_ylabel(f"{metric} ({'%, ' if shown.is_share else ''}{better})")
    axes.set_title(title, loc="left", fontsize=11)
    _label_levels(axes, places, ["full" if kind == "bits" else 0, *levels], kind)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as partial:
        figure.savefig(partial, format=format, dpi=150)


def picture_format(figure: Any, path: str | os.PathLike) -> str:
    """Returns what the ending of a file says, PNG if it has none.

    Raises:
        ArgumentError: Matplotlib writes no such file.
    """
    known = figure.canvas.get_supported_filetypes()
    format = os.path.splitext(os.fsdecode(path))[1].lstrip(".").lower() or "png"
    if format not in known:
        raise ArgumentError(
            f"The ending of a picture is one of {', '.join(f'.{one}' for one in sorted(known))}; "
            f"got '{os.fsdecode(path)}'."
        )
    return format


def _draw_curves(axes: Any, places, curves: np.ndarray, names, labelled) -> None:
    for i, curve in enumerate(curves):
        if i not in labelled:
            axes.plot(places, curve, color="#b5b5b5", linewidth=0.9, zorder=2)
    for order, i in enumerate(labelled):
        color = _COLORS[order % len(_COLORS)]
        axes.plot(
            places,
            curves[i],
            color=color,
            marker=_MARKERS[order % len(_MARKERS)],
            linestyle=_LINES[order % len(_LINES)],
            markersize=4.5,
            linewidth=1.5,
            label=names[i],
            zorder=3,
        )
    axes.margins(x=0.02)
    ends = [int(np.flatnonzero(np.isfinite(curves[i]))[-1]) for i in labelled]
    _label_ends(
        axes,
        [(places[end], curves[i][end]) for i, end in zip(labelled, ends, strict=True)],
        [names[i] for i in labelled],
    )


def _label_ends(axes: Any, ends: list[tuple[float, float]], names: list[str]) -> None:
    """Names at the right of the axes, at the height of the curves' ends but apart."""
    low, high = axes.get_ylim()
    wanted = np.array([(y - low) / (high - low) for _, y in ends])
    for order, height in zip(np.argsort(wanted), _apart(np.sort(wanted), 0.065), strict=True):
        axes.annotate(
            names[order],
            ends[order],
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=_COLORS[order % len(_COLORS)],
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": _COLORS[order % len(_COLORS)],
                "linewidth": 0.6,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """Rising heights in [0, 1], moved as little as keeps them `gap` apart and inside."""
    steps = gap * np.arange(len(heights))
    moved = np.maximum.accumulate(heights - steps)  # up only
    top = 1 - steps[-1]
    return (
        np.clip((moved + np.minimum.accumulate((heights - steps)[::-1])[::-1]) / 2, 0, top) + steps
    )


def _draw_map(figure: Any, axes: Any, names, drops, failed, worst: float, label: str) -> None:
    from matplotlib.colors import PowerNorm

    axes.patch.set(facecolor="#f4f4f4", edgecolor="#aaaaaa", hatch="////")  # not measured
    shown = np.ma.masked_invalid(np.where(failed, worst, np.maximum(drops, 0)))
    # By the root: it is the small drops that decide how far to go.
    norm = PowerNorm(0.5, vmin=0, vmax=worst)
    image = axes.imshow(shown, cmap="YlOrBr", norm=norm, aspect="auto", interpolation="nearest")
    for row, column in np.argwhere(failed):
        axes.text(column, row, "not finite", ha="center", va="center", fontsize=6, color="white")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.tick_params(length=0)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=0.8)
    figure.colorbar(image, ax=axes, label=label, pad=0.02, aspect=30)


def _label_levels(axes: Any, places, levels, kind: str) -> None:
    if kind == "bits":
        axes.set_xlabel("bits per number")
        axes.set_xticks(list(places), [str(level) for level in levels])
        return
    axes.set_xlabel("sparsity (%)")
    gap = (places[-1] - places[0]) / 28
    shown: dict[float, str] = {}
    for place, level in zip(places, levels, strict=True):
        if not shown or place - max(shown) >= gap:
            shown[place] = f"{100 * level:g}"
    axes.set_xticks(list(shown), list(shown.values()))


def _shortened(names: Sequence[str]) -> list[str]:
    """The names without the folders that all share, and the long ones without their middle."""
    shared = len(os.path.commonprefix([name.rpartition("/")[0] + "/" for name in names]))
    begin = names[0].rfind("/", 0, shared) + 1 if len(names) > 1 else 0
    return [without_middle(name[begin:]) for name in names]


def without_middle(name: str, most: int = 40) -> str:
    """Returns at most so many characters of a name: its begin and, twice as much, its end."""
    return name if len(name) <= most else f"{name[: most // 3]}…{name[-(most - most // 3 - 1) :]}"
