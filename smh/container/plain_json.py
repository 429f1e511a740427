"""JSON for other programs, in which NaN and infinities, which JSON has not, are `null`."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any, indent: int) -> str:
    """Returns the text of `value`, a line for each entry."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
