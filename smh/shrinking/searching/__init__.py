"""The pool to train within a budget: of bytes, or of accuracy.

How far one model can be rounded is the other search, `smh.shrinking.search`: over a price, which is
any number. Here it is over whole replicas of a pool, and each try is another model to train; what
then has to fit into its bytes is rounded by `smh.shrink`. `copies` makes what is tried and keeps
the best, `tries` is what was found; the other two are the searches.
"""

from smh.shrinking.searching.by_drop import search_drop
from smh.shrinking.searching.by_size import search_size
from smh.shrinking.searching.tries import SearchResult, Try

__all__ = ["SearchResult", "Try", "search_drop", "search_size"]
