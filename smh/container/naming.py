"""Names that are apart, for writers and readers, which have to agree on them."""

from __future__ import annotations

import itertools
from collections.abc import Container


def apart(name: str, taken: Container[str]) -> str:
    """The first of `name`, `name_1`, `name_2` and so on that is not taken."""
    copies = (f"{name}_{i}" if i else name for i in itertools.count())
    return next(copy for copy in copies if copy not in taken)
