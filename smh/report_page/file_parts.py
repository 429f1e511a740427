"""The bytes of a `.smh` file: a strip of its parts in order, and a table."""

from __future__ import annotations

from smh.artifact.inspection import Inspection
from smh.tables.markup import Markup, tag

_TINTS = 4
_HEADINGS = ("part", "holds", "coding", "numbers", "first byte", "bytes", "bits per number")


def file_section(found: Inspection, name: str) -> Markup:
    """Returns the strip and the table."""
    total = found.bytes
    head = [
        tag("th", text, scope="col", data_sort="number" if column > 2 else "text")
        for column, text in enumerate(_HEADINGS)
    ]
    rows = []
    for part in found.parts:
        each = 8 * part.bytes / part.numbers if part.numbers else None
        values = (part.numbers or None, part.offset, part.bytes, each)
        cells = [_cell(label, v) for label, v in zip(_HEADINGS[3:], values, strict=True)]
        rows.append(
            tag(
                "tr",
                tag("th", part.name, scope="row", data_value=part.name),
                tag("td", part.holds, data_value=part.holds, class_="weights"),
                tag("td", part.coding, data_value=part.coding, data_label="coding"),
                *cells,
            )
        )
    return tag(
        "section",
        tag("h2", f"{name}, byte by byte"),
        tag("p", f"{total:,} bytes in {len(rows)} parts, in this order:"),
        _strip(found, total),
        tag(
            "table",
            tag("thead", tag("tr", *head)),
            tag("tbody", *rows),
            class_="sortable cards",
            id="file",
        ),
    )


def _cell(label: str, value: float | None) -> Markup:
    if value is None:
        return tag("td", class_="number empty", data_value=-1)
    text = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
    return tag("td", text, class_="number", data_value=value, data_label=label)


def _strip(found: Inspection, total: int) -> Markup:
    parts, at = [], 0.0
    for number, part in enumerate(found.parts):
        width = 100 * part.bytes / total
        title = tag("title", f"{part.name}: {part.bytes:,} bytes from {part.offset:,} on")
        tint = f"slot t{number % _TINTS}"
        parts.append(
            tag("rect", title, x=f"{at:.3f}%", width=f"{width:.3f}%", height=26, class_=tint)
        )
        if width > 12:
            x = f"{at + width / 2:.2f}%"
            parts.append(
                tag("text", f"{width:.0f} %", x=x, y=17, text_anchor="middle", class_="on")
            )
        at += width
    return tag("svg", *parts, width="100%", height=26, role="img", aria_label="parts of the file")
