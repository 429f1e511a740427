"""Draws docs/images/mechanism.png: how weights are cut from one product. See `make figures`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

INK, PAPER = "#1a1a1a", "#ffffff"
# The lightness alone tells the weights apart; so do the hatches.
WEIGHTS = {  # name: (share of the pool, fill, hatch, shape, how wide and high it is drawn)
    "conv1/kernel": (0.13, "#dbe9f4", "", "5 x 5 x 1 x 20", 0.7, 0.45),
    "conv2/kernel": (0.29, "#9cc3e0", "////", "5 x 5 x 20 x 50", 0.9, 0.62),
    "fc1/kernel": (0.41, "#5a93bf", "....", "800 x 500", 1.15, 0.85),
    "logits/kernel": (0.13, "#24557f", "", "500 x 10", 0.42, 0.7),
}
SIDE = 3.0  # of the product, as drawn
ROWS = 15


def box(ax: Axes, x: float, y: float, width: float, height: float, fill: str, hatch="", line=0.9):
    """Draws a rectangle whose lower left corner is (x, y)."""
    where = (x, y), width, height
    ax.add_patch(Rectangle(*where, facecolor=fill, edgecolor=INK, lw=line))
    if hatch:
        ax.add_patch(Rectangle(*where, fill=False, edgecolor="#33557744", lw=0, hatch=hatch))


def say(ax: Axes, x: float, y: float, text: str, size: float = 10, **options):
    """Writes in the middle of (x, y)."""
    style = {"ha": "center", "va": "center", "color": INK, "linespacing": 1.3} | options
    ax.text(x, y, text, fontsize=size, **style)


def arrow(ax: Axes, begin: tuple[float, float], end: tuple[float, float], **options):
    """Draws an arrow."""
    style = {"arrowstyle": "-|>", "color": INK, "lw": 1.3, "mutation_scale": 13} | options
    ax.annotate("", xy=end, xytext=begin, arrowprops=style)


def factors(ax: Axes, x: float) -> None:
    """Draws `L` left of the product and `R` above it, as long as its sides."""
    box(ax, x - 0.75, 0, 0.5, SIDE, "#e9e9e9")
    say(ax, x - 0.5, SIDE / 2, "L", 15, weight="bold")
    say(ax, x - 1.15, SIDE / 2, "n x M", 9)
    box(ax, x, SIDE + 0.25, SIDE, 0.5, "#e9e9e9")
    say(ax, x + SIDE / 2, SIDE + 0.5, "R", 15, weight="bold")
    say(ax, x + SIDE + 0.42, SIDE + 0.5, "M x n", 9)
    say(ax, x + 1.1, SIDE + 1.15, "the factors: what is trained and stored", 10.5)


def product(ax: Axes, x: float) -> None:
    """Draws the product, filled row by row: the weights' slots follow each other."""
    height = SIDE / ROWS
    begin = 0.0
    for share, fill, hatch, *_ in WEIGHTS.values():
        end = begin + share * ROWS
        row = int(begin)
        while row < end - 1e-9:
            left, right = max(begin - row, 0), min(end - row, 1)
            y = SIDE - (row + 1) * height
            width = (right - left) * SIDE
            box(ax, x + left * SIDE, y, width, height, fill, hatch, line=0)
            row += 1
        begin = end
    for row in range(1, ROWS):
        ax.plot([x, x + SIDE], [SIDE - row * height] * 2, color=PAPER, lw=0.7)
    ax.add_patch(Rectangle((x, 0), SIDE, SIDE, fill=False, edgecolor=INK, lw=1.2))
    text = "L @ R, never stored: a slot for each weight, row by row"
    say(ax, x + SIDE / 2, -0.25, text, 9.5)


def layers(ax: Axes, x: float) -> None:
    """Draws the split pieces, their scales, and the weights that the layers see."""
    say(ax, x + 0.1, SIDE + 0.42, "one split,\npieces in a row", 10.5)
    say(ax, x + 2.05, SIDE + 0.42, "reshaped, times\na trained scale", 10.5)
    say(ax, x + 4.35, SIDE + 0.42, "virtual variables:\nwhat the layers see", 10.5)
    for i, (name, (share, fill, hatch, shape, width, height)) in enumerate(WEIGHTS.items()):
        y = SIDE - 0.36 - i * 0.78
        long = 0.25 + 1.6 * share
        box(ax, x - 0.25, y - 0.09, long, 0.18, fill, hatch)
        arrow(ax, (x + 0.75, y), (x + 1.6, y))
        say(ax, x + 2.05, y, f"x $s_{i + 1}$", 12)
        arrow(ax, (x + 2.5, y), (x + 3.05, y))
        scale = 0.8
        box(ax, x + 3.2, y - scale * height / 2, scale * width, scale * height, fill, hatch)
        say(ax, x + 4.25, y + 0.1, name, 10.5, ha="left", weight="bold")
        say(ax, x + 4.25, y - 0.13, shape, 9, ha="left")


def one_call(ax: Axes, y: float) -> None:
    """Draws what happens in one step of training."""
    steps = [
        "the outermost\ncall begins",
        "one product\n$L\\,@\\,R$",
        "one split",
        "each layer reads\nits weight; a loop,\neach time round",
        "the call ends,\nwhat it computed\nis dropped",
        "backward: one\nconcatenation,\ntwo products",
        "the optimizer\nchanges L, R\nand the scales",
    ]
    width, gap = 1.48, 0.3
    say(ax, 0.3, y + 0.85, "one training step", 10.5, ha="left")
    for i, text in enumerate(steps):
        x = 0.3 + i * (width + gap)
        fill = "#d9d9d9" if i in (1, 2, 5) else "#f7f7f7"
        ax.add_patch(
            FancyBboxPatch(
                (x, y - 0.45),
                width,
                0.95,
                boxstyle="round,pad=0.03,rounding_size=0.08",
                facecolor=fill,
                edgecolor=INK,
                lw=0.9,
            )
        )
        say(ax, x + width / 2, y + 0.02, text, 8.5)
        if i:
            arrow(ax, (x - gap + 0.02, y), (x - 0.02, y))


def draw(path: Path) -> None:
    """Draws the picture and writes it to `path`."""
    figure, ax = plt.subplots(figsize=(12.6, 6.6), dpi=110)
    ax.set_xlim(0, 12.6)
    ax.set_ylim(-2.2, 4.4)
    ax.set_aspect("equal")
    ax.axis("off")
    factors(ax, 1.9)
    product(ax, 1.9)
    arrow(ax, (5.1, SIDE / 2), (5.8, SIDE / 2))
    layers(ax, 6.4)
    one_call(ax, -1.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/mechanism.png"))
