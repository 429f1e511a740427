"""A pool and its factors to scale, and which part of it each weight takes."""

from __future__ import annotations

import math

from smh.sizes.rows import PoolMap
from smh.tables.markup import Markup, tag

_SIDE = 460.0  # pixels of the longer side of the pool
_LEAST = 3.0  # pixels of a factor that is thinner
_TINTS = 4
_LABELLED = 13.0  # pixels of a band that has room for its number


def pool_section(pool: PoolMap) -> Markup:
    """Returns the picture and the list of the weights, by their numbers in it."""
    handed_out = sum(stop - start for _, segments in pool.slots for start, stop in segments)
    numbers = sum(math.prod(shape) for shape in pool.factors)
    entries = [
        tag(
            "li",
            tag("span", path, class_="name"),
            " ",
            tag("span", _ranges(segments, pool.entries), class_="note"),
        )
        for path, segments in pool.slots
    ]
    shapes = " and ".join("×".join(map(str, shape)) for shape in pool.factors)
    if handed_out <= pool.entries:
        taken = f"take {handed_out:,} of the {pool.entries:,} entries of this pool"
    else:
        taken = f"of {handed_out:,} numbers share the {pool.entries:,} entries of this pool"
    text = (
        f"{len(pool.slots)} weights {taken}. They are computed from the {numbers:,} numbers of its "
        f"factors, {shapes}."
    )
    return tag(
        "section",
        tag("h2", f"Pool {pool.name}"),
        tag("p", text),
        tag(
            "div",
            tag("figure", _picture(pool), tag("figcaption", _caption(pool))),
            tag("ol", *entries, class_="slots"),
            class_="pool",
        ),
    )


def _caption(pool: PoolMap) -> str:
    if pool.columns:
        return (
            "M = L R, row by row, with L at its left and R above, to scale; only L and R are "
            "stored. Blank entries belong to no weight of this model."
        )
    return (
        "Its entries, row by row. Blank ones belong to no weight of this model; where several "
        "weights take the same entries, the last one is drawn."
    )


def _ranges(segments, entries: int) -> str:
    spans = [f"{start:,} to {stop - 1:,}" for start, stop in segments if stop > start]
    if len(spans) > 3:  # several times round a pool
        spans = [spans[0], "…", spans[-1]]
    share = sum(stop - start for start, stop in segments) / max(1, entries)
    percent = f"{share:.1%}" if share >= 0.001 or not share else "below 0.1%"
    return f"{', '.join(spans) or 'nothing'} · {percent}"


def _picture(pool: PoolMap) -> Markup:
    columns = pool.columns or math.ceil(math.sqrt(pool.entries))
    rows = -(-pool.entries // columns)
    unit = _SIDE / max(rows, columns)
    width, height = columns * unit, rows * unit
    left, top, parts = 1.0, 1.0, []
    if pool.columns:
        thick = max(_LEAST, pool.factors[0][1] * unit)
        left, top = thick + 22, thick + 22
        parts += _factor("L", 1.0, top, thick, height, (1 + thick / 2, top - 6))
        parts += _factor("R", left, 1.0, width, thick, (left - 12, 1 + thick / 2 + 4))
    parts.append(tag("rect", x=left, y=top, width=width, height=height, class_="blank"))
    for number, (path, segments) in enumerate(pool.slots):
        for start, stop in segments:
            if stop > start:
                parts.append(_band(number, path, start, stop, columns, unit, left, top))
    frame = tag("rect", x=left, y=top, width=width, height=height, class_="frame")
    return tag(
        "svg",
        *parts,
        frame,
        viewBox=f"0 0 {left + width + 1:.0f} {top + height + 1:.0f}",
        width=f"{left + width + 1:.0f}",
        role="img",
        aria_label=f"the pool {pool.name}, and the part of it that each weight takes",
        class_="map",
    )


def _factor(name: str, x: float, y: float, width: float, height: float, at) -> list[Markup]:
    return [
        tag("rect", x=x, y=y, width=width, height=height, class_="is-dense factor"),
        tag("text", name, x=at[0], y=at[1], text_anchor="middle", class_="name"),
    ]


def _band(number, path, start, stop, columns, unit, left, top) -> Markup:
    """Entries `start` to `stop` of a matrix: whole rows, and a part of the first and the last."""
    (first, begin), (last, end) = divmod(start, columns), divmod(stop, columns)
    if first == last:
        corners = [(begin, first), (end, first), (end, first + 1), (begin, first + 1)]
    else:
        corners = [(begin, first), (columns, first), (columns, last), (end, last)]
        corners += [(end, last + 1), (0, last + 1)] if end else [(0, last)]
        corners += [(0, first + 1), (begin, first + 1)] if begin else []
    points = " ".join(f"{left + x * unit:.1f},{top + y * unit:.1f}" for x, y in corners)
    title = tag("title", f"{number + 1}. {path}: entries {start:,} to {stop - 1:,}")
    shape = tag("polygon", title, points=points, class_=f"slot t{number % _TINTS}")
    if (last - first) * unit < _LABELLED:
        return shape
    y = top + (first + last + (end > 0)) / 2 * unit + 4
    label = tag(
        "text", str(number + 1), x=left + columns * unit / 2, y=y, text_anchor="middle", class_="on"
    )
    return tag("g", shape, label)
