"""How far long work is: told by what does it, shown to whoever wants to see it.

Nothing is shown unless asked for. `shown` draws bars on a terminal, as the command line does, and
in a notebook, where it needs no widgets.

Example:
    >>> from smh import progress
    >>> with progress.shown():
    ...     smh.cluster(model, bits=4)
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterable, Iterator
from contextvars import ContextVar
from typing import IO, TypeVar

from smh.progress.listener import Advance, Listener
from smh.progress.notebook import in_notebook, notebook_bars

T = TypeVar("T")

# Of the context, not of the process: work in another thread does not draw on the same terminal.
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def track(items: Collection[T], doing: str) -> Iterable[T]:
    """Returns `items`, and tells when each is done. If nobody listens, that costs nothing.

    Args:
        items: what is worked on, one after the other.
        doing: what is done with them, in a few words.

    Example:
        >>> from smh.progress import track
        >>> [2 * number for number in track([1, 2], "doubling")]
        [2, 4]
    """
    return items if _listener.get() is None else _tracked(items, doing)


def _tracked(items: Collection[T], doing: str) -> Iterator[T]:
    with task(doing, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


@contextlib.contextmanager
def task(doing: str, steps: int | None = None) -> Iterator[Advance]:
    """Tells that something is being done until the block ends.

    Args:
        doing: what, in a few words.
        steps: how many there are, or are as a rule; or `None`.

    Yields:
        A function that says that so many more steps are done.
    """
    listener = _listener.get()
    if listener is None:
        yield _ignore
        return
    with listener(doing, steps) as advance:
        yield advance


@contextlib.contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Sets who hears of the work inside the block; `None`: nobody does."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def shown(file: IO[str] | None = None) -> Iterator[None]:
    """Shows a bar for what is being done inside the block, and how long it will still take.

    On a terminal and in a notebook; elsewhere nothing is shown. The bars go away when the work is
    done.

    Args:
        file: the terminal; default: the notebook this runs in, else stderr.
    """
    if file is None and (display := in_notebook()) is not None:
        with listening(notebook_bars(display)):
            yield
        return
    file = sys.stderr if file is None else file
    if not file.isatty():
        yield
        return
    from smh.progress.terminal import terminal_bars  # rich takes a while to import

    with listening(terminal_bars(file)):
        yield


def _ignore(steps: int) -> None:
    del steps
