"""JSON of which each value has exactly one text: the same content is always the same bytes.

Keys are sorted, there are no spaces, text is UTF-8 without needless escapes, a float has the
shortest digits that give it back (Python's `repr`), and NaN and infinities do not exist. `loads`
takes this text only, so what it returns is also what was written: no key twice, no integer beyond
64 bits, no nesting that would exhaust a stack.
"""

from __future__ import annotations

import json
import math
from typing import Any

from smh.errors import ArgumentError, ArtifactError

MAX_DEPTH = 100
_INTEGERS = range(-(1 << 63), 1 << 64)


def dumps(value: Any) -> bytes:
    """Returns the canonical text of `value`; raises `ArgumentError` on what JSON would change."""
    try:
        _check(value, "", MAX_DEPTH)
        return _text(value)
    except ValueError as error:  # that of a lone surrogate too
        raise ArgumentError(f"This cannot be stored as JSON: {error}.") from error


def loads(text: bytes) -> Any:
    """Returns the value of which `text` is the canonical text, or raises `ArtifactError`.

    Cost: memory of up to 40 bytes for each byte of text, where that is full of brackets.
    """
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse,
            parse_int=_integer,
        )
        _check(value, "", MAX_DEPTH)
        canonical = _text(value)
    # RecursionError: the parser descends once for each level of nesting.
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"not valid JSON: {error}") from error
    if canonical != text:
        raise ArtifactError("not canonical JSON (sorted keys, no spaces, shortest floats)")
    return value


def _check(value: object, place: str, depth: int) -> None:
    if depth < 0:
        raise ValueError(f"more than {MAX_DEPTH} levels deep at {place:.200}")
    if isinstance(value, dict):
        for key, inner in value.items():
            if type(key) is not str:
                raise ValueError(f"keys are strings, got {key!r:.80} at {place or '/'}")
            _check(inner, f"{place}/{key}", depth - 1)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check(inner, f"{place}/{i}", depth - 1)
    elif not (
        value is None
        or type(value) in (str, bool)
        or (type(value) is int and value in _INTEGERS)
        or (type(value) is float and math.isfinite(value))
    ):
        raise ValueError(
            f"{value!r:.80} of type {type(value).__name__} at {place or '/'}; use dict, list, str, "
            "bool, None, int of 64 bits or finite float"
        )


def _text(value: object) -> bytes:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _refuse(constant: str):
    raise ValueError(f"{constant} is not a number")


def _integer(digits: str) -> int:
    if len(digits) > 20:  # 2**64 has 20 digits; longer ones take quadratic time
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)
