"""Draws the runs on CIFAR-10: error against bytes of the file, beside the published points.

Run `python examples/plot_cifar10_curve.py`; it writes `results/cifar10_resnet_20.png` from
`results/cifar10.csv` (`mnist_curve.py`: pools) and `results/cifar10_slim.csv` (`slim_curve.py`:
shrunk, with all or a part of the multiply-adds). One seed each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mnist_tables import rows_of
from plot_mnist_curve import QUIET, finish

NETWORK = "resnet_20"
# By the eighths of the multiply-adds that are left: (name, colour, line, marker).
SIDES = {
    8: ("smh.shrink, not trained again", "#a04000", ":", "s"),
    4: ("half of the multiply-adds, then smh.shrink", "#1b4f72", "-", "o"),
    2: ("a quarter of the multiply-adds, then smh.shrink", "#117a65", "-.", "v"),
    1: ("an eighth of the multiply-adds, then smh.shrink", "#b7950b", "-", "d"),
}
POOLS = ("smh.compress, factors of 32 bits, 15 epochs", "#76448a", "--", "x")
SHRUNK_POOLS = ("the same, then smh.shrink", "#76448a", "-", "P")
# (name, bytes, test error in percent, marker), as their authors give them.
PUBLISHED = [
    ("MLPerf Tiny ResNet-8, int8", 96_000, 13.5, "D"),
    ("ternary ResNet-20", 68_000, 8.9, "^"),
    ("LilNetX, ResNet-20 of four times the width", 66_000, 8.5, "p"),
    ("searched network, int8", 11_400, 13.5, "*"),
]

HIGHEST = 30  # percent of errors that are shown; the table has all

Point = tuple[int, float]  # bytes, and test error in percent


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


def pools_of(rows: list[dict[str, str]]) -> list[Point]:
    """Pools of one block each."""
    return sorted(
        (int(row["file_bytes"]), float(row["test_error"]))
        for row in rows
        if row["method"] == "smh" and row["blocks"] == "1" and row["network"] == NETWORK
    )


def shrunk_pools_of(rows: list[dict[str, str]]) -> list[Point]:
    """Pools whose factors were rounded after training."""
    return sorted(
        (int(row["bytes"]), float(row["test_error"]))
        for row in rows
        if row["way"].startswith("pool") and row["way"].endswith("shrunk")
    )


def draw(pools: list[dict[str, str]], slim: list[dict[str, str]], path: Path) -> None:
    """Writes the picture."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = [(SIDES[side], points) for side, points in sides_of(slim).items()]
    lines += [(POOLS, pools_of(pools)), (SHRUNK_POOLS, shrunk_pools_of(slim))]
    for (name, color, style, marker), points in lines:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, style, marker=marker, color=color, markersize=5, label=name, zorder=3)
    dense = min(
        (row for row in slim if row["way"] == "dense"), key=lambda row: float(row["test_error"])
    )
    label = f"dense, {int(dense['bytes']) / 1000:,.0f} kB"
    axes.axhline(float(dense["test_error"]), color=QUIET, ls="--", lw=1, label=label, zorder=1)
    for name, size, error, marker in PUBLISHED:
        axes.plot(
            size, error, marker, color="white", markeredgecolor="black", markersize=8,
            linestyle="none", label=f"published: {name}", zorder=2,
        )  # fmt: skip
    finish(axes, "ResNet-20, CIFAR-10, one seed")
    axes.set_ylim(5, HIGHEST)
    axes.get_legend().remove()
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=7.5)
    figure.savefig(path, dpi=150)


def main(arguments=None) -> None:
    """Draws it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    tables = [options.results / name for name in ("cifar10.csv", "cifar10_slim.csv")]
    pools, slim = map(rows_of, tables)
    if not pools or not slim:
        parser.error(f"{tables[0]} or {tables[1]} is missing or empty")
    draw(pools, slim, options.results / f"cifar10_{NETWORK}.png")


if __name__ == "__main__":
    main()
