"""How far long work is: told by what does it, shown to whoever wants to see it.

Nothing is shown unless asked for. `shown` draws bars on a terminal; the command line does so.

Example:
    >>> from smh import progress
    >>> with progress.shown():
    ...     smh.cluster(model, bits=4)
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import IO, TypeVar

T = TypeVar("T")
Advance = Callable[[int], None]  # says that so many more steps are done
# Gets what is done and in how many steps (`None`: that is not known).
Listener = Callable[[str, int | None], AbstractContextManager[Advance]]

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
        steps: how many there are, or `None`.

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
    """Shows a bar for what is being done inside the block, on a terminal; elsewhere nothing.

    The bars go away when the work is done.

    Args:
        file: the terminal; default: stderr.
    """
    file = sys.stderr if file is None else file
    if not file.isatty():
        yield
        return
    with listening(_bars(file)):
        yield


def _bars(file: IO[str]) -> Listener:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        console=Console(file=file),
        transient=True,
        redirect_stdout=False,  # it may be another file
    )

    @contextlib.contextmanager
    def listener(doing: str, steps: int | None) -> Iterator[Advance]:
        number = bars.add_task(doing, total=steps, count="")
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            bars.update(number, completed=done, count=_count(done, steps))

        bars.start()
        try:
            yield advance
        finally:
            bars.remove_task(number)
            if not bars.tasks:
                bars.stop()

    return listener


def _count(done: int, steps: int | None) -> str:
    return f"{done:,}" if steps is None else f"{done:,}/{steps:,}"


def _ignore(steps: int) -> None:
    del steps
