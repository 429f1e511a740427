"""Tables: as text for a terminal, as HTML for a notebook.

What a user prints is a `Printed`: it makes one table, and both forms are made of that. `text` knows
how wide a printed table may be, `markup` makes elements in which all text is escaped.
"""

from smh.tables.printed import Printed, as_html
from smh.tables.text import PathCell, as_text, fold, longest_name, new_table, width

__all__ = [
    "PathCell",
    "Printed",
    "as_html",
    "as_text",
    "fold",
    "longest_name",
    "new_table",
    "width",
]
