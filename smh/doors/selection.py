"""Which variables a call is about. One rule for patterns, in Python and on the command line.

    A path, or the end of paths after a `/`, means those variables alone (`fc1/kernel`); any other
    pattern is a regular expression that matches (`re.match`) from the begin of a path or of a bare
    name (`.*fc`, `kernel`).

So what a table prints can be given back as it is, whole or without the model's name, and does not
mean other variables whose paths begin with it. A regular expression is never tried in the middle
of a path: `conv` does not reach `block/conv/kernel`, `.*conv` does.

Reference: the regular expressions are those of the published `VariableFactory`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from smh.errors import ArgumentError
from smh.typing import Selector

Matcher = Callable[[str, str, Any], bool]


def make_matcher(
    selector: Selector, argument: str, paths: Collection[str] | None = None
) -> Matcher:
    """Compiles what users pass as `apply_to=` or `exclude=`.

    Args:
        selector: a pattern, a function of the variable, or a list of these.
        argument: name of the argument, for messages.
        paths: the paths that there are; None while they are not known, as variables are made. Then
            a path means what begins with it, too.

    Returns:
        A function of path, bare name and variable.

    Raises:
        ArgumentError: if a regular expression is malformed, or the type is none of these.
    """
    if isinstance(selector, (list, tuple)):
        matchers = [make_matcher(item, argument, paths) for item in selector]
        return lambda path, name, variable: any(m(path, name, variable) for m in matchers)
    if callable(selector):
        return lambda path, name, variable: bool(selector(variable))
    if not isinstance(selector, str):
        raise ArgumentError(
            f"{argument} must be a path or regular expression, a function of the variable or a "
            f"list of these, got {type(selector).__name__}."
        )
    named = _named(selector, paths or ())
    if named:
        return lambda path, name, variable: path in named
    pattern = _compiled(selector, argument)
    return lambda path, name, variable: bool(
        pattern.match(path) or pattern.match(name) or (paths is None and _ends(path, selector))
    )


def _named(text: str, paths: Collection[str]) -> set[str]:
    """The paths that `text` names: itself, else those that end in it."""
    return {text} & set(paths) or {path for path in paths if _ends(path, text)}


def _ends(path: str, text: str) -> bool:
    # A bare name is a regular expression: `kernel` means `kernel_1` as well, as published.
    return "/" in text and path.endswith(f"/{text}")


def _compiled(selector: str, argument: str) -> re.Pattern:
    try:
        return re.compile(selector)
    except re.error as error:
        raise ArgumentError(
            f"{argument}={selector!r} is not a regular expression: {error}."
        ) from None
