"""Pictures of results."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from smh.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _ROUNDED, _QUIET = "#1b4f72", "#b9770e", "#555555"

# Of curves: told apart by marker and line style too, in grey; colours of Okabe and Ito.
_COLORS = ("#0072b2", "#d55e00", "#000000", "#009e73", "#aa4499", "#a6761d", "#332288", "#666666")
_MARKERS, _LINES = "os^DvPX*", ("-", "--", "-.", ":")
_MOST_LABELLED = 8  # curves that can each have a label
_MOST_PROMINENT = 6  # of more than that, the most sensitive ones


class Measured(Protocol):
    """What is drawn of one trained model.

    Attributes:
        fraction: the fraction that it was compressed to; `None` for the dense model.
        bytes: size of its file.
        accuracy: share of test examples that it gets right, in [0, 1].

    One whose factors are rounded also has `bits`, a whole number.
    """

    @property
    def fraction(self) -> float | None: ...  # noqa: D102  (described above)
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def accuracy(self) -> float: ...  # noqa: D102


def accuracy_against_size(
    rows: Sequence[Measured],
    path: str | os.PathLike,
    title: str = "",
    test_examples: int | None = None,
) -> None:
    """Draws test accuracy against bytes on disk, one point per model, and writes a PNG.

    The dense model is a star with a dashed line at its accuracy, the compressed ones are joined
    dots that bear their fraction, those with rounded factors joined squares, one line for each
    number of bits. Shapes and line styles tell them apart, so it reads in grey. The accuracy axis
    spans 5 points at least, so that noise does not look like a result.

    Args:
        rows: the measured models, in any order; at most one of them dense.
        path: file to write; the ending decides the format.
        title: one line above the picture.
        test_examples: how many examples `accuracy` was measured on; draws bars of one standard
            error.

    Raises:
        ArgumentError: no rows.
        ImportError: Matplotlib is not installed.

    Example:
        >>> from smh.plots import accuracy_against_size
        >>> accuracy_against_size(rows, "accuracy_size.png", title="LeNet-5, digits")
    """
    if not rows:
        raise ArgumentError("There are no rows to draw; give at least one measured model.")
    figure = _figure()
    axes = figure.add_subplot()
    _draw_dense(axes, [row for row in rows if row.fraction is None])
    compressed = [row for row in rows if row.fraction is not None]
    _draw_compressed(axes, [r for r in compressed if not _bits(r)], "o-", _INK, "smh, by fraction")
    for bits in sorted({_bits(row) for row in compressed} - {0}, reverse=True):
        rounded = [row for row in compressed if _bits(row) == bits]
        _draw_compressed(axes, rounded, "s:", _ROUNDED, f"smh, {bits}-bit factors")
    if test_examples is not None:
        _draw_errors(axes, rows, test_examples)
    _label_axes(axes, title)
    _widen(axes)
    figure.savefig(path, dpi=150)


def sensitivity_curves(
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
        path: file to write; the ending decides the format.
        kind: `"sparsity"` or `"bits"`.
        metric: its name, for the axis.
        higher_is_better: in which direction the metric is better.
        title: one line above the picture.

    Raises:
        ArgumentError: nothing was measured.
        ImportError: Matplotlib is not installed.

    Example:
        >>> from smh.plots import sensitivity_curves
        >>> values = [[0.9, 0.8], [0.9, 0.5]]
        >>> sensitivity_curves(["conv", "dense"], [0.5, 0.9], values, 0.9, "sensitivity.png")
    """
    table = np.array([[np.nan if v is None else v for v in row] for row in values], float)
    if not table.size:
        raise ArgumentError("There is nothing to draw: no weight was measured at any level.")
    drops = baseline - table if higher_is_better else table - baseline  # [weights, levels]
    failed = np.array([[v is not None for v in row] for row in values]) & ~np.isfinite(table)
    worst = max(np.max(drops, initial=0.0, where=np.isfinite(drops)), 1e-12)
    severity = np.where(failed, 2 * worst, np.where(np.isfinite(drops), drops, 0.0)).sum(axis=1)
    is_many = len(names) > _MOST_LABELLED
    order = np.argsort(-severity, kind="stable").tolist()
    labelled = sorted(order[: _MOST_PROMINENT if is_many else None])
    figure = _figure()
    figure.set_size_inches(8, 4.2 + (0.6 + 0.16 * len(names) if is_many else 0))
    if is_many:
        axes, below = figure.subplots(2, height_ratios=[3.6, 1 + 0.16 * len(names)])
        _draw_map(below, names, drops, failed, worst, f"drop of {metric}")
        _label_levels(below, range(len(levels)), levels, kind)
    else:
        axes = figure.subplots()
    places = [0.0, *(range(1, len(levels) + 1) if kind == "bits" else levels)]
    finite = np.where(np.isfinite(table), table, np.nan)
    curves = np.column_stack([np.full(len(names), baseline), finite])
    _draw_curves(axes, places, curves, names, labelled)
    axes.axhline(baseline, color=_QUIET, linestyle="--", linewidth=1, zorder=1)
    axes.set_ylabel(f"{metric} ({'higher' if higher_is_better else 'lower'} is better)")
    axes.set_title(title, loc="left", fontsize=11)
    _label_levels(axes, places, ["full" if kind == "bits" else 0, *levels], kind)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


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
            _shortened(names[order]),
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


def _draw_map(axes: Any, names, drops: np.ndarray, failed: np.ndarray, worst: float, label) -> None:
    from matplotlib.colors import PowerNorm

    axes.set_facecolor("#eeeeee")  # what was not measured
    shown = np.ma.masked_invalid(np.where(failed, worst, drops))
    # By the root: it is the small drops that decide how far to go.
    norm = PowerNorm(0.5, vmin=0, vmax=worst, clip=True)
    image = axes.imshow(shown, cmap="YlOrBr", norm=norm, aspect="auto", interpolation="nearest")
    for row, column in np.argwhere(failed):
        axes.text(column, row, "not finite", ha="center", va="center", fontsize=6, color="white")
    axes.set_yticks(range(len(names)), [_shortened(name) for name in names], fontsize=7)
    axes.tick_params(length=0)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=0.8)
    axes.figure.colorbar(image, ax=axes, label=label, pad=0.02, aspect=30)


def _label_levels(axes: Any, places, levels, kind: str) -> None:
    if kind == "bits":
        axes.set_xlabel("bits per number")
        axes.set_xticks(list(places), [str(level) for level in levels])
        return
    axes.set_xlabel("sparsity (%)")
    every = -(-len(levels) // 12)
    shown = list(zip(places, levels, strict=True))[::every]
    axes.set_xticks([p for p, _ in shown], [f"{100 * level:g}" for _, level in shown])


def _shortened(name: str, most: int = 36) -> str:
    """The name, without its middle if it is long."""
    return name if len(name) <= most else f"{name[: most // 3]}…{name[-(most - most // 3 - 1) :]}"


def _figure() -> Figure:
    """A figure of its own: `pyplot` would keep it, and change the caller's backend."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "smh.plots needs Matplotlib, which is not installed. Install it with "
            "`pip install matplotlib` or `pip install structured-multihashing[plots]`."
        ) from error
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_dense(axes: Any, rows: Sequence[Measured]) -> None:
    for row in rows:
        percent = 100 * row.accuracy
        axes.axhline(percent, color=_QUIET, linestyle="--", linewidth=1, zorder=1)
        axes.plot(row.bytes, percent, "*", color=_QUIET, markersize=15, label="dense", zorder=3)
        _note(axes, row, "dense", _QUIET)


def _bits(row: Measured) -> int:
    return getattr(row, "bits", None) or 0


def _draw_compressed(
    axes: Any, rows: Sequence[Measured], style: str, color: str, label: str
) -> None:
    if not rows:
        return
    rows = sorted(rows, key=lambda row: row.bytes)
    axes.plot(
        [row.bytes for row in rows],
        [100 * row.accuracy for row in rows],
        style,
        color=color,
        markersize=7,
        linewidth=1.8,
        label=label,
        zorder=2,
    )
    for row in rows:
        _note(axes, row, f"{row.fraction:g}", color, above=bool(_bits(row)))


def _draw_errors(axes: Any, rows: Sequence[Measured], examples: int) -> None:
    """Bars of the standard error of a share that was counted on `examples` draws."""
    axes.errorbar(
        [row.bytes for row in rows],
        [100 * row.accuracy for row in rows],
        yerr=[100 * math.sqrt(row.accuracy * (1 - row.accuracy) / examples) for row in rows],
        fmt="none",
        ecolor=_QUIET,
        elinewidth=1,
        capsize=3,
        zorder=1,
        label=f"standard error, {examples:,} examples",
    )


def _note(axes: Any, row: Measured, text: str, color: str, above: bool = False) -> None:
    axes.annotate(
        text,
        (row.bytes, 100 * row.accuracy),
        xytext=(-8, 8) if above else (8, -8),
        textcoords="offset points",
        ha="right" if above else "left",
        va="bottom" if above else "top",
        color=color,
        fontsize=10,
        zorder=4,
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )


def _label_axes(axes: Any, title: str) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter("B"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.13)
    axes.set_xlabel("size of the weights file (bytes on disk, log scale)")
    axes.set_ylabel("test accuracy (%)")
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")


def _widen(axes: Any) -> None:
    """Extends the accuracy axis downwards, with room for the legend, but not above 100 %."""
    low, high = axes.get_ylim()
    high = min(100.0, high + 0.5)
    axes.set_ylim(min(low - 0.35 * (high - low), high - 5), high)
