"""Results that are shown as a table: by `print`, and by a notebook."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smh.tables.markup import Markup, tag
from smh.tables.text import PathCell, as_text

if TYPE_CHECKING:
    from rich.table import Column, Row, Table


class Printed(abc.ABC):
    """A result that `print` shows as a table, and a notebook as one of HTML."""

    @abc.abstractmethod
    def __rich__(self) -> Table:
        """The table that `rich` prints."""

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return as_html(self.__rich__())


def as_html(table: Table) -> Markup:
    """Returns a table as HTML that needs nothing from elsewhere: each cell whole, text escaped."""
    head = tag("tr", *(_cell("th", column, column.header) for column in table.columns))
    cells = zip(*(column.cells for column in table.columns), strict=True)
    lines = [_line(table.columns, row, own) for row, own in zip(table.rows, cells, strict=True)]
    ends = [i + 1 for i, row in enumerate(table.rows) if row.end_section]
    sections = [lines[a:b] for a, b in zip([0, *ends], [*ends, len(lines)], strict=True) if a < b]
    shown = tag(
        "table",
        tag("caption", _text(table.title), style="text-align: left; font-weight: bold"),
        tag("thead", head),
        *(_section(lines, ruled=i > 0) for i, lines in enumerate(sections)),
    )
    notes = _text(table.caption, between="\n").splitlines()
    return tag("div", shown, *(tag("div", note) for note in notes))


def _section(lines: Sequence[Markup], ruled: bool) -> Markup:
    return tag("tbody", *lines, style="border-top: 1px solid" if ruled else None)


def _line(columns: Sequence[Column], row: Row, cells: Sequence[Any]) -> Markup:
    pairs = zip(columns, cells, strict=True)
    style = "font-weight: bold" if row.style == "bold" else None
    return tag("tr", *(_cell("td", column, cell) for column, cell in pairs), style=style)


def _cell(name: str, column: Column, content: Any) -> Markup:
    space = "nowrap" if column.no_wrap else "normal"
    style = f"text-align: {column.justify}; white-space: {space}"
    return tag(name, _text(content), style=style)


def _text(content: Any, between: str = " ") -> str:
    """What a cell, a title or a caption says; its lines are only those of a terminal."""
    said = content.path if isinstance(content, PathCell) else str(content or "")
    return between.join(said.split("\n"))
