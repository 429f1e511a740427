"""Draws `results/mnist.csv`: error against bytes of the file, beside the published points.

Run `python examples/plot_mnist_curve.py`; it writes `results/NETWORK.png` and prints the tables of
means and worst seeds. Seeds are dots, a line joins their means; the published points are other
shapes, so that it reads in grey.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK, QUIET = "#1b4f72", "#555555"
TITLES = {"lenet_300_100": "LeNet-300-100", "lenet_5": "LeNet-5 (20-50-500-10)"}
# (name, bytes, test error in percent, marker); K is 1,000 or 1,024: the papers do not say.
PUBLISHED = {
    "lenet_300_100": [
        ("Deep Compression (2016)", 27_000, 1.58, "D"),
        ("best found, as published", 8_560, 1.9, "^"),
    ],
    "lenet_5": [
        ("Deep Compression (2016)", 44_000, 0.74, "D"),
        ("best found, as published", 3_030, 0.69, "^"),
        ("", 1_520, 0.96, "^"),
    ],
}
NOT_A_SETTING = {
    *("seed", "command", "versions", "fraction", "trained", "seconds"),
    *("validation_error", "test_error", "file_bytes", "bytes_with_architecture"),
}


@dataclass(frozen=True)
class Point:
    """The seeds of one setting."""

    settings: dict[str, str]
    seeds: tuple[str, ...]
    bytes: tuple[int, ...]
    whole_bytes: tuple[int, ...]
    errors: tuple[float, ...]
    validation: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def mean_bytes(self) -> float:
        """Mean size of the files."""
        return sum(self.bytes) / len(self.bytes)

    @property
    def mean_error(self) -> float:
        """Mean test error in percent."""
        return sum(self.errors) / len(self.errors)


def points_of(rows: list[dict[str, str]], network: str, method: str) -> list[Point]:
    """The rows of a network and method, seeds together, from the smallest file on."""
    groups: dict[tuple, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        if (row["network"], row["method"]) == (network, method):
            settings = tuple((k, v) for k, v in row.items() if k not in NOT_A_SETTING)
            groups[settings].append(row)

    def column(group, name, kind):
        return tuple(kind(row[name]) for row in group)

    points = [
        Point(
            dict(settings),
            column(group, "seed", str),
            column(group, "file_bytes", int),
            column(group, "bytes_with_architecture", int),
            column(group, "test_error", float),
            column(group, "validation_error", float),
            column(group, "seconds", float),
        )
        for settings, group in groups.items()
    ]
    return sorted(points, key=lambda point: point.mean_bytes)


def chosen(points: list[Point]) -> list[Point]:
    """Of the points with the same pools and bits, the one of lowest validation error."""
    best: dict[tuple, Point] = {}
    for point in points:
        key = tuple(point.settings[name] for name in ("replicas", "conv_replicas", "bits"))
        if key not in best or mean(point.validation) < mean(best[key].validation):
            best[key] = point
    return sorted(best.values(), key=lambda point: point.mean_bytes)


def mean(numbers: tuple) -> float:
    """Of a few numbers."""
    return sum(numbers) / len(numbers)


def replicas(point: Point) -> str:
    """Of the pool, or of the pool of the convolutions and that of the rest."""
    own = point.settings["conv_replicas"]
    return point.settings["replicas"] if own == "0" else f"{own} + {point.settings['replicas']}"


def training(point: Point) -> str:
    """In a few words: epochs, noise, and whether images are moved."""
    words = [f"{point.settings['epochs']} epochs"]
    if float(point.settings["noise"]):
        words.append(f"noise {point.settings['noise']}")
    if float(point.settings["shift"]):
        words.append(f"shift {float(point.settings['shift']):g}")
    return ", ".join(words)


def table(points: list[Point]) -> str:
    """Markdown: one line for each point."""
    lines = [
        "| M | bits | training | seeds | bytes, mean (smallest to largest) | with architecture "
        "| validation error, mean | test error, mean | worst seed | seconds |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for p in points:
        lines.append(
            f"| {replicas(p)} | {p.settings['bits']} | {training(p)} | {len(p.seeds)} "
            f"| {p.mean_bytes:,.0f} ({min(p.bytes):,} to {max(p.bytes):,}) "
            f"| {mean(p.whole_bytes):,.0f} | {mean(p.validation):.2f} % "
            f"| {p.mean_error:.2f} % | {max(p.errors):.2f} % | {mean(p.seconds):.0f} |"
        )
    return "\n".join(lines)


def draw_method(axes: Any, points: list[Point], method: str, color: str, style: str) -> None:
    """Seeds as dots, means as a line."""
    axes.plot(
        [p.mean_bytes for p in points],
        [p.mean_error for p in points],
        style,
        color=color,
        linewidth=1.8,
        label=f"{method}, mean of seeds (dots)",
        zorder=2,
    )
    for p in points:
        axes.plot(p.bytes, p.errors, "o", color=color, markersize=4, alpha=0.8, zorder=3)
        axes.annotate(
            f"M={replicas(p)}, {p.settings['bits']} bits",
            (max(p.bytes), max(p.errors)),
            xytext=(5, 5),
            textcoords="offset points",
            color=color,
            fontsize=8,
        )


def draw(rows: list[dict[str, str]], network: str, path: Path) -> None:
    """Writes the picture of one network."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_method(axes, chosen(points_of(rows, network, "smh")), "smh", INK, "-")
    for dense in points_of(rows, network, "dense"):
        axes.axhline(
            dense.mean_error,
            color=QUIET,
            linestyle="--",
            linewidth=1,
            label=f"dense, {dense.mean_bytes / 1000:,.0f} kB, same training",
            zorder=1,
        )
    for name, size, error, marker in PUBLISHED[network]:
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
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1000:g} kB"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("size of the file (log scale)")
    axes.set_ylabel("test error (%)")
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.margins(x=0.12)
    axes.set_title(f"{TITLES[network]}, MNIST", loc="left", fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", fontsize=8)
    figure.savefig(path, dpi=150)


def main(arguments=None) -> None:
    """Draws and prints all networks that the table has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    results = options.results / "mnist.csv"
    if not results.exists():
        parser.error(f"there is no {results}; run mnist_curve.py first")
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for network in sorted({row["network"] for row in rows}):
        draw(rows, network, options.results / f"{network}.png")
        print(f"{TITLES[network]}\n\n{table(points_of(rows, network, 'smh'))}\n")
        if dense := points_of(rows, network, "dense"):
            print(f"Dense:\n\n{table(dense)}\n")


if __name__ == "__main__":
    main()
