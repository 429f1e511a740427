"""Whether there is a module of a user's, told without running any of its code."""

from __future__ import annotations

import os
import sys
from typing import Any


def has_module(name: str) -> bool:
    """Whether `import name` finds it, also in the current folder, as `python -m` does.

    Of `package.module` both have to be there.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    places: Any = None  # where to look: of the first name, on Python's path
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        known = sys.modules.get(".".join(parts[:end]))
        if known is not None:
            places = getattr(known, "__path__", ())
            continue
        spec = _spec(".".join(parts[:end]), places) if parts[end - 1].isidentifier() else None
        if spec is None:
            return False
        places = spec.submodule_search_locations or ()
    return True


def _spec(name: str, places: Any) -> Any:
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    found = (find(name, places) for find in finders if find is not None)
    return next((spec for spec in found if spec is not None), None)
