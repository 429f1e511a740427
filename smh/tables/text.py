"""Tables as text: how wide they are, and paths that fold behind their slashes."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.table import Table

_NARROWEST, _WIDEST = 80, 120


def new_table(title: str) -> Table:
    """Returns a table with a rule below its heading and before each section, and no other lines."""
    from rich import box
    from rich.table import Table

    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )


def width() -> int:
    """Returns how many columns a printed table may take: those of the terminal, 80 to 120."""
    from rich.console import Console

    return max(_NARROWEST, min(Console().width, _WIDEST))


def as_text(renderable: Any) -> str:
    """Returns what `rich` prints of `renderable`, without colours and spaces at the ends."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        width=width(),
        record=True,
        force_jupyter=False,  # there it would show the table itself, beside what is returned
        markup=False,  # a name may have brackets and colons
        emoji=False,
    )
    console.print(renderable)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip()


class PathCell:
    """Paths in a table. What does not fit goes on in the next line, behind a slash or a space.

    Args:
        path: of a variable, or words with paths among them.
    """

    def __init__(self, path: str):
        self.path = path

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines that fit."""
        from rich.text import Text

        yield Text("\n".join(fold(self.path, options.max_width)))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """From the longest name between slashes to the whole path."""
        from rich.measure import Measurement

        return Measurement(longest_name(self.path), len(self.path)).with_maximum(options.max_width)


def fold(path: str, most: int) -> list[str]:
    """Cuts paths behind slashes and spaces into lines of at most `most` characters.

    A name that is longer is cut where the line ends.

    Example:
        >>> from smh.tables import fold
        >>> fold("encoder/block_1/attention/kernel", 16)
        ['encoder/block_1/', 'attention/kernel']
    """
    lines = [""]
    for piece in _pieces(path):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > most:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > most:
            lines[-1:] = [lines[-1][:most], lines[-1][most:]]
    return [line.rstrip() for line in lines]


def longest_name(path: str) -> int:
    """How wide a column has to be that cuts none of the names in a path."""
    return max(map(len, _pieces(path)))


def _pieces(path: str) -> list[str]:
    return re.findall(r"[^/ ]*[/ ]|[^/ ]+", path) or [""]
