"""Configurations with infinities and NaN in them, which the file's JSON does not have.

Keras' `Masking(mask_value=-inf)` and the limits of quantisers are such numbers. In a file they are
`{"smh float": "-inf"}`; an object of the configuration itself that looks so is wrapped once more.
"""

from __future__ import annotations

import math
from typing import Any

from smh.errors import ArtifactError

_KEY = "smh float"
_NAMES = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def without_infinities(value: Any) -> Any:
    """Returns a JSON value in which each float is finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_KEY: str(value)}
    if isinstance(value, dict):
        inner = {key: without_infinities(v) for key, v in value.items()}
        return {_KEY: inner} if set(value) == {_KEY} else inner
    return [without_infinities(v) for v in value] if isinstance(value, list) else value


def with_infinities(value: Any) -> Any:
    """Returns what `without_infinities` was given; raises `ArtifactError`."""
    if isinstance(value, dict) and set(value) == {_KEY}:
        inner = value[_KEY]
        if isinstance(inner, dict):
            return {key: with_infinities(v) for key, v in inner.items()}
        if inner not in _NAMES:
            raise ArtifactError(f"{inner!r:.80} is no float that is not finite")
        return _NAMES[inner]
    if isinstance(value, dict):
        return {key: with_infinities(v) for key, v in value.items()}
    return [with_infinities(v) for v in value] if isinstance(value, list) else value
