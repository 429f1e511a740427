"""Lines over an axis, as SVG: told apart by dashes and markers, and in colour by colour too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smh.tables.markup import Markup, tag

_WIDTH, _HEIGHT = 420.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 12.0, 12.0, 44.0
_DASHES = (None, "7 4", "2 3", "9 3 2 3", "12 4", "4 2", "1 2", "6 2 1 2 1 2")
_GAPS = 5  # between the marks of an axis, about
KINDS_OF_LINES = len(_DASHES)


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: for the legend; an empty one makes a thin line in the background.
        points: x and y; a y that is not finite is a gap.
    """

    name: str
    points: Sequence[tuple[float, float]]


def chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    x_marks: Mapping[float, str] | None = None,
    most: float = math.inf,
) -> Markup:
    """Returns a figure with axes, ticks, lines and a legend.

    Args:
        title: the heading, and what a screen reader says.
        lines: at least one, with at least one finite point; at most `KINDS_OF_LINES` with names.
        x_label: what the horizontal axis shows, with its unit.
        y_label: what the vertical axis shows, with its unit.
        x_marks: places on the horizontal axis and what stands there, from left to right; default:
            round numbers.
        most: where the vertical axis ends at the latest: nothing is above it, as above 100 %.
    """
    points = [p for line in lines for p in line.points if all(map(math.isfinite, p))]
    if x_marks is None:
        x_marks = {x: f"{x:g}" for x in ticks([x for x, _ in points])}
    y_ticks = ticks([y for _, y in points], most=most)
    across = _scale(list(x_marks), _LEFT, _WIDTH - _RIGHT)
    up = _scale(y_ticks, _HEIGHT - _BOTTOM, _TOP)
    named = [line for line in lines if line.name]
    drawn = [_line(line, across, up, None) for line in lines if not line.name]
    drawn += [_line(line, across, up, number) for number, line in enumerate(named)]
    legend = [
        tag("li", _sample(number), line.name, class_="entry") for number, line in enumerate(named)
    ]
    return tag(
        "figure",
        tag("figcaption", title),
        tag(
            "svg",
            *_axes(x_marks, y_ticks, across, up, x_label, y_label),
            *drawn,
            viewBox=f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}",
            role="img",
            aria_label=f"{title}: {y_label} by {x_label}",
            class_="chart",
        ),
        tag("ul", *legend, class_="legend"),
    )


def ticks(values: Sequence[float], most: float = math.inf) -> list[float]:
    """Round numbers, evenly apart, from at most the smallest to at least the largest value.

    None is above `most`, which is round and no smaller than the largest value.
    """
    low, high = min(values), max(values)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = (low - 0.5, high + 0.5) if high + 0.5 <= most else (high - 1, high)
    rough = (high - low) / _GAPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Ten digits: 3 * 0.1 shall stand there as 0.3.
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _scale(marks: Sequence[float], begin: float, end: float):
    low, high = marks[0], marks[-1]
    span = high - low or 1.0
    return lambda value: begin + (value - low) / span * (end - begin)


def _axes(x_marks, y_ticks, across, up, x_label: str, y_label: str) -> list[Markup]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in y_ticks:
        y = up(value)
        parts.append(tag("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{value:g}", x=_LEFT - 7, y=y + 4, text_anchor="end"))
    for place, text in x_marks.items():
        x = across(place)
        parts.append(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(tag("text", text, x=x, y=bottom + 17, text_anchor="middle"))
    middle = (_TOP + bottom) / 2
    parts += [
        tag("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"),
        tag("text", x_label, x=(_LEFT + right) / 2, y=_HEIGHT - 8, text_anchor="middle"),
        tag(
            "text",
            y_label,
            transform=f"translate(13 {middle:.0f}) rotate(-90)",
            text_anchor="middle",
        ),
    ]
    return parts


def _line(line: Line, across, up, number: int | None) -> Markup:
    places = [
        (across(x), up(y)) if math.isfinite(x) and math.isfinite(y) else None
        for x, y in line.points
    ]
    steps, pen = [], "M"
    for place in places:
        if place is not None:
            steps.append(f"{pen}{place[0]:.1f} {place[1]:.1f}")
        pen = "M" if place is None else "L"
    if number is None:
        return tag("path", d=" ".join(steps), class_="line faint")
    shown = [place for place in places if place is not None]
    every = max(1, len(shown) // 12)  # a marker on each of a hundred points is a thick line
    marks = [_marker(number, x, y) for x, y in shown[::every]]
    path = tag(
        "path", d=" ".join(steps), class_="line", stroke_dasharray=_DASHES[number % len(_DASHES)]
    )
    return tag("g", path, *marks, class_=f"series c{number % KINDS_OF_LINES}")


def _marker(number: int, x: float, y: float) -> Markup:
    shape = number % 4
    if shape == 0:
        return tag("circle", cx=x, cy=y, r=3.2)
    outline = (
        ((-3, -3), (3, -3), (3, 3), (-3, 3)),
        ((0, -4), (4, 3), (-4, 3)),
        ((0, -4.4), (4.4, 0), (0, 4.4), (-4.4, 0)),
    )[shape - 1]
    return tag("polygon", points=" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in outline))


def _sample(number: int) -> Markup:
    stroke = tag(
        "path", d="M0 6L30 6", class_="line", stroke_dasharray=_DASHES[number % len(_DASHES)]
    )
    inside = tag("g", stroke, _marker(number, 15.0, 6.0), class_=f"series c{number}")
    return tag("svg", inside, width=30, height=12, viewBox="0 0 30 12", aria_hidden="true")
