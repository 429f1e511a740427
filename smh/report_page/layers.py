"""The table of layers, with a bar for each: how its numbers are stored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from smh.sizes.rows import Row, Sums
from smh.tables.markup import Markup, join, tag

# What a bar shows, from what costs most on: class, and words for the legend.
_SEGMENTS = {
    "dense": "dense: stored one by one",
    "copy": "a dense copy: frozen, or deployed",
    "rounded": "few bits each",
    "shared": "shared values: an index each",
    "computed": "computed by a parametrization of your own",
    "pool": "computed from a pool: nothing stored but the factors",
    "zero": "pruned: zero",
}
_LEAST = 0.6  # percent of the column: the thinnest bar that shows


@dataclass(frozen=True)
class Layer(Sums):
    """The weights of one layer, or the factors of one pool."""

    name: str
    rows: tuple[Row, ...]

    def segments(self) -> dict[str, int]:
        """How many of its numbers are stored in which way."""
        counts = dict.fromkeys(_SEGMENTS, 0)
        for row in self.rows:
            kind = "dense" if row.kind in ("factor", "pruned") else row.kind
            numbers = row.original or row.trained
            counts[kind] += min(row.kept, numbers)
            counts["zero"] += max(0, numbers - row.kept)
        return {kind: count for kind, count in counts.items() if count}


def layers_of(rows: Sequence[Row]) -> list[Layer]:
    """Groups rows by the layer that their path names, in order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.path.rpartition("/")[0] or row.path, []).append(row)
    return [Layer(name, tuple(group)) for name, group in groups.items()]


def layers_section(rows: Sequence[Row]) -> Markup:
    """Returns legend and table."""
    layers = layers_of(rows)
    longest = max((sum(layer.segments().values()) for layer in layers), default=1)
    used = {kind for layer in layers for kind in layer.segments()}
    is_packed = any(row.packed != row.bytes for row in rows)
    headings = ["layer", "weights", "dense numbers", "trained", "bytes in memory"]
    headings += ["bytes packed"] if is_packed else []
    body = [_row(layer, longest, headings) for layer in layers]
    total = _numbers(Layer("total", tuple(rows)), headings)
    keys = {"layer": "text", "weights": None}
    head = [tag("th", h, scope="col", data_sort=keys.get(h, "number")) for h in headings]
    bar = tag("th", "how its numbers are stored", scope="col")
    pools = sum(_is_pool(layer) for layer in layers)
    count = f"{len(layers) - pools} layers" + (f", {pools} pool{'s'[: pools - 1]}" if pools else "")
    return tag(
        "section",
        tag("h2", count),
        _legend(used),
        tag(
            "table",
            tag("thead", tag("tr", *head, bar)),
            tag("tbody", *body),
            tag("tfoot", tag("tr", tag("th", "total", scope="row", colspan="2"), *total)),
            class_="sortable cards",
            id="layers",
        ),
    )


def patterns() -> Markup:
    """Returns what the bars are filled with, once for the page."""
    return tag(
        "svg",
        tag(
            "defs",
            _pattern("fill-pool", tag("path", d="M-2 2L2 -2M0 8L8 0M6 10L10 6"), 8),
            _pattern("fill-shared", tag("circle", cx=3, cy=3, r=1.4), 6),
            _pattern("fill-rounded", tag("path", d="M0 2L6 2M0 5L6 5"), 6),
            _pattern("fill-computed", tag("path", d="M2 0L2 6M0 2L6 2"), 6),
        ),
        class_="patterns",
        width=0,
        height=0,
        aria_hidden="true",
    )


def _pattern(name: str, figure: Markup, size: int) -> Markup:
    back = tag("rect", width=size, height=size, class_="back")
    return tag(
        "pattern", back, figure, id=name, width=size, height=size, patternUnits="userSpaceOnUse"
    )


def _row(layer: Layer, longest: int, headings: Sequence[str]) -> Markup:
    return tag(
        "tr",
        tag("th", _breakable(layer.name), scope="row", data_value=layer.name),
        tag("td", *_weights(layer), class_="weights"),
        *_numbers(layer, headings),
        tag("td", _bar(layer, longest), class_="bar"),
        class_="factors" if _is_pool(layer) else None,
    )


def _is_pool(layer: Layer) -> bool:
    return layer.rows[0].kind == "factor"


def _numbers(layer: Layer, headings: Sequence[str]) -> list[Markup]:
    values = layer.original_params, layer.trained_params, layer.bytes, layer.packed
    return [_number(heading, value) for heading, value in zip(headings[2:], values, strict=False)]


def _number(label: str, value: int) -> Markup:
    return tag("td", f"{value:,}", class_="number", data_value=value, data_label=label)


def _weights(layer: Layer) -> list[Markup]:
    """A line for each weight; those of one shape and kind that follow each other share one."""

    def alike(row: Row):
        return row.shape, row.stored, row.dtype, row.bits, row.trained > 0

    lines = []
    for (shape, stored, dtype, bits, is_trained), group in itertools.groupby(layer.rows, alike):
        rows = list(group)
        names = ", ".join(row.path.rpartition("/")[2] for row in rows)
        how = [stored if stored != "dense" else "", dtype if dtype != "float32" else ""]
        rounded = rows[0].packed < rows[0].bytes and rows[0].kind in ("rounded", "factor")
        how += [f"{bits} bits" if rounded and f"{bits} bits" not in stored else ""]
        how += ["" if is_trained else "fixed"]
        note = "; ".join(part for part in how if part)
        size = "×".join(map(str, shape)) or "1"
        lines.append(
            tag(
                "div",
                tag("span", names, class_="name"),
                f" {size}",
                *([" ", tag("span", note, class_="note")] if note else []),
            )
        )
    return lines


def _bar(layer: Layer, longest: int) -> Markup:
    parts, at, segments = [], 0.0, layer.segments()
    total = max(1, sum(segments.values()))
    # By the root: beside a layer of a million numbers one of a thousand shows what it is made of.
    length = 99 * math.sqrt(total / longest)
    for kind, count in segments.items():
        width = max(length * count / total, _LEAST)
        parts.append(
            tag("rect", x=f"{at:.2f}%", width=f"{width:.2f}%", height=14, class_=f"is-{kind}")
        )
        at += width
    words = ", ".join(f"{count:,} {_words(kind)}" for kind, count in segments.items())
    title = tag("title", words or "no numbers")
    return tag("svg", title, *parts, height=14, width="100%", role="img")


def _words(kind: str) -> str:
    return _SEGMENTS[kind].partition(":")[0]


def _legend(used: set[str]) -> Markup:
    entries = []
    for kind, text in _SEGMENTS.items():
        if kind in used:
            box = tag("rect", width=22, height=12, class_=f"is-{kind}")
            swatch = tag("svg", box, width=22, height=12, aria_hidden="true")
            entries.append(tag("li", swatch, text, class_="entry"))
    entries.append(tag("li", "length of a bar: square root of the layer's numbers", class_="note"))
    return tag("ul", *entries, class_="legend")


def _breakable(path: str) -> Markup:
    """A path that a narrow column breaks behind its slashes."""
    pieces = path.split("/")
    marked = [[piece + "/", tag("wbr")] for piece in pieces[:-1]]
    return join([*itertools.chain.from_iterable(marked), pieces[-1]])
