"""Bars in a notebook: HTML that is shown anew, so that neither widgets nor scripts are needed."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from smh.progress.listener import Advance, Listener
from smh.progress.words import clock, count, time_left

_PAUSE = 0.2  # seconds between two pictures of the bars, at least: each is a message to the browser
Display = Callable[..., Any]


def in_notebook() -> Display | None:
    """Returns what shows things in the notebook that this runs in; `None` if there is none."""
    found = sys.modules.get("IPython")
    shell = found.get_ipython() if found is not None else None
    if getattr(shell, "kernel", None) is None:  # a terminal has no kernel
        return None
    from IPython.display import display

    return display


def notebook_bars(display: Display) -> Listener:
    """Makes what draws a bar for each thing that is being done, in the cell that does it.

    They share one place in the cell, which is empty when all is done.

    Args:
        display: `IPython.display.display`, or what takes the same.
    """
    place = _Place(display)

    @contextlib.contextmanager
    def listener(doing: str, steps: int | None) -> Iterator[Advance]:
        bar = _Bar(doing, steps)
        place.bars.append(bar)
        place.draw()

        def advance(more: int) -> None:
            bar.done += more
            place.draw()

        try:
            yield advance
        finally:
            place.bars.remove(bar)
            place.draw(now=not place.bars)

    return listener


@dataclass(eq=False)
class _Bar:
    doing: str
    steps: int | None
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def said(self) -> str:
        seconds = time.monotonic() - self.began
        counted = count(self.done, self.steps) if self.done else ""
        said = [counted, clock(seconds), time_left(seconds, self.done, self.steps)]
        return ", ".join(part for part in said if part)

    def page(self) -> str:
        known = self.steps is not None and self.done <= self.steps
        part = f' value="{self.done}" max="{self.steps}"' if known else ""
        return f"<div>{html.escape(self.doing)} <progress{part}></progress> {self.said()}</div>"


class _Place:
    """Where the bars are drawn."""

    def __init__(self, display: Display):
        self.bars: list[_Bar] = []
        self._display, self._handle, self._drawn = display, None, -_PAUSE

    def draw(self, now: bool = False) -> None:
        """Shows the bars that there are, unless that was done just before."""
        if not now and time.monotonic() - self._drawn < _PAUSE:
            return
        self._drawn = time.monotonic()
        shown = {
            "text/html": "".join(bar.page() for bar in self.bars),
            "text/plain": "\n".join(f"{bar.doing}: {bar.said()}" for bar in self.bars),
        }
        if self._handle is None:
            self._handle = self._display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
