"""Draws `results/mnist.csv`: error against bytes of the file, beside the published points.

Run `python examples/plot_mnist_curve.py`; it writes `results/NETWORK.png` (of Fashion-MNIST
`results/fashion_mnist_NETWORK.png`) and prints the tables of means and worst seeds. Seeds are dots,
a line joins their means; the published points are other shapes, so that it reads in grey.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from mnist_points import METHODS, Point, chosen, points_of, table
from mnist_tables import rows_of

# (name, colour, line, on which side of its points labels stand)
LINES = {
    "smh": ("smh", "#1b4f72", "-", "left"),
    "shared": ("smh.prune + smh.cluster", "#a04000", ":", "right"),
}
QUIET = "#555555"
TITLES = {
    "lenet_300_100": "LeNet-300-100",
    "lenet_5": "LeNet-5 (20-50-500-10)",
    "resnet_8": "ResNet-8",
    "resnet_20": "ResNet-20",
}
DATA = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
# (name, bytes, test error in percent, marker); K is 1,000 or 1,024: the papers do not say.
PUBLISHED = {
    ("lenet_300_100", "mnist"): [
        ("Deep Compression (2016)", 27_000, 1.58, "D"),
        ("best found, as published", 8_560, 1.9, "^"),
    ],
    ("lenet_5", "mnist"): [
        ("Deep Compression (2016)", 44_000, 0.74, "D"),
        ("best found, as published", 3_030, 0.69, "^"),
        ("", 1_520, 0.96, "^"),
    ],
}


def draw_method(axes: Any, points: list[Point], method: str) -> None:
    """Seeds as dots, means as a line."""
    if not points:
        return
    name, color, style, side = LINES[method]
    alike = len({p.bits for p in points}) == 1
    if alike:
        name = f"{name}, {points[0].bits}"
    axes.plot(
        [p.mean_bytes for p in points],
        [p.mean_error for p in points],
        style,
        marker="_",
        color=color,
        linewidth=1.8,
        label=f"{name}: mean of seeds (dots)",
        zorder=2,
    )
    before = float("inf")
    for p in points:
        axes.plot(p.bytes, p.errors, "o", color=color, markersize=4, alpha=0.8, zorder=3)
        # Below and to the left of a falling curve is room, and above and to the right of it.
        left = side == "left" and p.mean_error < before
        before = p.mean_error
        axes.annotate(
            p.size.partition(" (")[0] if alike else p.label,
            (min(p.bytes), min(p.errors)) if left else (max(p.bytes), max(p.errors)),
            xytext=(-5, -10) if left else (5, 5),
            textcoords="offset points",
            horizontalalignment="right" if left else "left",
            color=color,
            fontsize=7.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )


def draw_published(axes: Any, network: str, data: str) -> None:
    """The points of others."""
    for name, size, error, marker in PUBLISHED.get((network, data), []):
        axes.plot(
            size,
            error,
            marker,
            color="white",
            markeredgecolor="black",
            markersize=9,
            linestyle="none",
            label=name or None,
            zorder=3,
        )


def draw(rows: list[dict[str, str]], network: str, data: str, path: Path) -> None:
    """Writes the picture of one network."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for method in LINES:
        draw_method(axes, chosen(points_of(rows, network, data, method)), method)
    for dense in points_of(rows, network, data, "dense"):
        label = f"dense, {dense.mean_bytes / 1000:,.0f} kB, same training"
        axes.axhline(
            dense.mean_error, color=QUIET, linestyle="--", linewidth=1, label=label, zorder=1
        )
    draw_published(axes, network, data)
    finish(axes, f"{TITLES[network]}, {DATA[data]}")
    figure.savefig(path, dpi=150)


def finish(axes: Any, title: str) -> None:
    """Axes, title and legend."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1000:g} kB"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("size of the file (log scale)")
    axes.set_ylabel("test error (%)")
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.margins(x=0.22)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best", fontsize=8)


def main(arguments=None) -> None:
    """Draws and prints all networks that the table has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    rows = rows_of(options.results / "mnist.csv")
    if not rows:
        parser.error(f"there is no {options.results / 'mnist.csv'}; run mnist_curve.py first")
    for data, network in sorted({(row["data"], row["network"]) for row in rows}, reverse=True):
        name = network if data == "mnist" else f"{data}_{network}"
        draw(rows, network, data, options.results / f"{name}.png")
        points = [p for method in METHODS for p in points_of(rows, network, data, method)]
        print(f"{TITLES[network]}, {DATA[data]}\n\n{table(points)}\n")


if __name__ == "__main__":
    main()
