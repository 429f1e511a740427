"""HTML and SVG elements, in which all text is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

# Elements that have no end tag.
_EMPTY = {"meta", "wbr"}


class Markup(str):
    """Text that is HTML already: made by `tag` and `join` only, so that no name gets in raw."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Returns an element.

    Args:
        name: of the element.
        children: elements, and text, which is escaped.
        attributes: their values are escaped; one that is `None` is left out. `class_` means
            `class`, other underscores mean hyphens.

    Example:
        >>> from smh.tables.markup import tag
        >>> tag("td", "<b>", class_="name")
        '<td class="name">&lt;b&gt;</td>'
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    opened = "".join(
        f' {key}="{html.escape(_short(value))}"' for key, value in pairs if value is not None
    )
    if name in _EMPTY:
        return Markup(f"<{name}{opened}>")
    return Markup(f"<{name}{opened}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """Returns elements and text, which is escaped, as one."""
    parts = (c if isinstance(c, Markup) else html.escape(c, quote=False) for c in children)
    return Markup("".join(parts))


def _short(value: str | float) -> str:
    """A coordinate to a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
