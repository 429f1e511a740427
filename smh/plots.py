"""Pictures of results."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from smh.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _ROUNDED, _QUIET = "#1b4f72", "#b9770e", "#555555"


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
    joined: bool = True,
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
        joined: whether lines join the models. Not where their order is noise, as of one seed.

    Raises:
        ArgumentError: no rows.
        ImportError: Matplotlib is not installed.

    Example:
        >>> from smh.plots import accuracy_against_size
        >>> accuracy_against_size(rows, "accuracy_size.png", title="LeNet-5, digits")
    """
    if not rows:
        raise ArgumentError("There are no rows to draw; give at least one measured model.")
    figure = new_figure()
    axes = figure.add_subplot()
    _draw_dense(axes, [row for row in rows if row.fraction is None])
    compressed = [row for row in rows if row.fraction is not None]
    _draw_compressed(
        axes, [r for r in compressed if not _bits(r)], "o-"[: 1 + joined], _INK, "smh, by fraction"
    )
    for bits in sorted({_bits(row) for row in compressed} - {0}, reverse=True):
        rounded = [row for row in compressed if _bits(row) == bits]
        _draw_compressed(axes, rounded, "s:"[: 1 + joined], _ROUNDED, f"smh, {bits}-bit factors")
    if test_examples is not None:
        _draw_errors(axes, rows, test_examples)
    _label_axes(axes, title)
    _widen(axes)
    figure.savefig(path, dpi=150)


def new_figure() -> Figure:
    """Returns a figure of its own: `pyplot` would keep it, and change the caller's backend.

    Raises:
        ImportError: Matplotlib is not installed.
    """
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
