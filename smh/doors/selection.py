"""Which variables a call is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from smh.errors import ArgumentError
from smh.typing import Selector

Matcher = Callable[[str, str, Any], bool]


def make_matcher(selector: Selector, argument: str) -> Matcher:
    """Compiles what users pass as `apply_to=` or `exclude=`.

    Args:
        selector: a regular expression, a function of the variable, or a list of these.
        argument: name of the argument, for messages.

    Returns:
        A function of path, bare name and variable. A regular expression matches at the begin
        (`re.match`) of the full path `block1/conv/kernel` or of the bare name `kernel`.

    Raises:
        ArgumentError: if a regular expression is malformed, or the type is none of these.
    """
    if isinstance(selector, (list, tuple)):
        matchers = [make_matcher(item, argument) for item in selector]
        return lambda path, name, variable: any(m(path, name, variable) for m in matchers)
    if callable(selector):
        return lambda path, name, variable: bool(selector(variable))
    if not isinstance(selector, str):
        raise ArgumentError(
            f"{argument} must be a regular expression, a function of the variable or a list of "
            f"these, got {type(selector).__name__}."
        )
    try:
        pattern = re.compile(selector)
    except re.error as error:
        raise ArgumentError(
            f"{argument}={selector!r} is not a regular expression: {error}."
        ) from None
    return lambda path, name, variable: bool(pattern.match(path) or pattern.match(name))
