"""Draws what was slimmed and shrunk: error against bytes of the file, beside other ways.

Run `python examples/plot_slim_curve.py`; it writes `results/cifar10_resnet_20.png` and
`results/fashion_mnist_resnet_8_slim.png` from `cifar10_slim.csv` and `fashion_mnist_slim.csv`
(`slim_curve.py`: shrunk, with all or a part of the multiply-adds) and from the tables of
`mnist_curve.py` (pools, pruned networks). One seed each.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mnist_tables import rows_of
from plot_mnist_curve import QUIET, finish

# By the eighths of the multiply-adds that are left: (name, colour, line, marker).
SIDES = {
    8: ("smh.shrink, not trained again", "#a04000", ":", "s"),
    4: (
        "half of the multiply-adds (by fisher, or magnitude), then smh.shrink",
        "#1b4f72",
        "-",
        "o",
    ),
    2: ("a quarter of the multiply-adds, then smh.shrink", "#117a65", "-.", "v"),
    1: ("an eighth of the multiply-adds, then smh.shrink", "#b7950b", "-", "d"),
}
POOLS = "#76448a", "--", "x"
SHRUNK_POOLS = ("the same, then smh.shrink", "#76448a", "-", "P")
SHARED = ("smh.prune, then smh.cluster with 4 bits", "#7b7d7d", "--", "+")

Point = tuple[int, float]  # bytes, and test error in percent


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        path: of the picture, in the folder of the tables.
        title: above it.
        slim, others: the tables of `slim_curve.py` and of `mnist_curve.py`.
        network, data: which rows of `others`.
        pools: what its pools are called.
        errors: the lowest and the highest in percent that are shown; the table has all.
        published: (name, bytes, test error in percent, marker), as their authors give them.
    """

    path: str
    title: str
    slim: str
    others: str
    network: str
    data: str
    pools: str
    errors: tuple[float, float]
    published: list[tuple[str, int, float, str]] = field(default_factory=list)


PICTURES = [
    Picture(
        "cifar10_resnet_20.png",
        "ResNet-20, CIFAR-10, one seed",
        "cifar10_slim.csv",
        "cifar10.csv",
        "resnet_20",
        "cifar10",
        "smh.compress, factors of 32 bits, 15 epochs",
        (5, 30),
        [
            ("MLPerf Tiny ResNet-8, int8", 96_000, 13.5, "D"),
            ("ternary ResNet-20", 68_000, 8.9, "^"),
            ("LilNetX, ResNet-20 of four times the width", 66_000, 8.5, "p"),
            ("searched network, int8", 11_400, 13.5, "*"),
        ],
    ),
    Picture(
        "fashion_mnist_resnet_8_slim.png",
        "ResNet-8, Fashion-MNIST, one seed",
        "fashion_mnist_slim.csv",
        "mnist.csv",
        "resnet_8",
        "fashion_mnist",
        "smh.compress, factors of 4 bits, 10 epochs",
        (6, 16),
    ),
]


def sides_of(rows: list[dict[str, str]]) -> dict[int, list[Point]]:
    """What was shrunk, by the eighths of the multiply-adds left.

    Where two were made with as many, those are kept that no smaller one beats on the validation
    images.
    """
    whole = max(int(row["multiply_adds"]) for row in rows)
    found: dict[int, list[Point]] = {}
    for side in SIDES:
        best = float("inf")
        for row in sorted(rows, key=lambda row: int(row["bytes"])):
            is_its = (
                not row["way"].startswith("pool")
                and round(8 * int(row["multiply_adds"]) / whole) == side
            )
            if is_its and row["way"].endswith("shrunk") and float(row["validation_error"]) < best:
                best = float(row["validation_error"])
                found.setdefault(side, []).append((int(row["bytes"]), float(row["test_error"])))
    return found


def others_of(rows: list[dict[str, str]], picture: Picture, method: str) -> list[Point]:
    """Those of a table of `mnist_curve.py` with the first seed; pools of one block each."""
    return sorted(
        (int(row["file_bytes"]), float(row["test_error"]))
        for row in rows
        if (row["method"], row["network"]) == (method, picture.network)
        and (row["data"], row["seed"]) == (picture.data, "0")
        and row.get("blocks", "1") == "1"
    )


def shrunk_pools_of(rows: list[dict[str, str]]) -> list[Point]:
    """Pools whose factors were rounded after training."""
    return sorted(
        (int(row["bytes"]), float(row["test_error"]))
        for row in rows
        if row["way"].startswith("pool") and row["way"].endswith("shrunk")
    )


def draw(
    picture: Picture, others: list[dict[str, str]], slim: list[dict[str, str]], path: Path
) -> None:
    """Writes the picture."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = [(SIDES[side], points) for side, points in sides_of(slim).items()]
    lines += [
        ((picture.pools, *POOLS), others_of(others, picture, "smh")),
        (SHRUNK_POOLS, shrunk_pools_of(slim)),
        (SHARED, others_of(others, picture, "shared")),
    ]
    for (name, color, style, marker), points in lines:
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, style, marker=marker, color=color, markersize=5, label=name, zorder=3)
    dense = min(
        (row for row in slim if row["way"] == "dense"), key=lambda row: float(row["test_error"])
    )
    label = f"dense, {int(dense['bytes']) / 1000:,.0f} kB"
    axes.axhline(float(dense["test_error"]), color=QUIET, ls="--", lw=1, label=label, zorder=1)
    for name, size, error, marker in picture.published:
        axes.plot(
            size, error, marker, color="white", markeredgecolor="black", markersize=8,
            linestyle="none", label=f"published: {name}", zorder=2,
        )  # fmt: skip
    finish(axes, picture.title)
    axes.set_ylim(*picture.errors)
    axes.get_legend().remove()
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=7.5)
    figure.savefig(path, dpi=150)


def main(arguments=None) -> None:
    """Draws them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    for picture in PICTURES:
        tables = [options.results / name for name in (picture.others, picture.slim)]
        others, slim = map(rows_of, tables)
        if not others or not slim:
            parser.error(f"{tables[0]} or {tables[1]} is missing or empty")
        draw(picture, others, slim, options.results / picture.path)


if __name__ == "__main__":
    main()
