"""The smallest or best compressed model within a budget: of bytes, or of accuracy.

`copies` makes what is tried, `tries` is what was found; the other two are the searches.
"""

from smh.shrinking.searching.by_drop import search_drop
from smh.shrinking.searching.by_size import search_size
from smh.shrinking.searching.tries import SearchResult, Try

__all__ = ["SearchResult", "Try", "search_drop", "search_size"]
