"""Bars in a notebook: HTML that is shown anew, so that neither widgets nor scripts are needed."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from smh.progress.listener import Advance, Listener
from smh.progress.words import clock, count, time_left

_PAUSE = 0.2  # seconds between two pictures of a bar, at least: each is a message to the browser
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

    Args:
        display: `IPython.display.display`, or what takes the same.
    """

    @contextlib.contextmanager
    def listener(doing: str, steps: int | None) -> Iterator[Advance]:
        began = time.monotonic()
        done, drawn = 0, began
        handle = display(_bar(doing, 0, steps, 0.0), raw=True, display_id=True)

        def advance(more: int) -> None:
            nonlocal done, drawn
            done += more
            now = time.monotonic()
            if now - drawn >= _PAUSE:
                drawn = now
                handle.update(_bar(doing, done, steps, now - began), raw=True)

        try:
            yield advance
        finally:
            handle.update({"text/html": "", "text/plain": ""}, raw=True)

    return listener


def _bar(doing: str, done: int, steps: int | None, seconds: float) -> dict[str, str]:
    """What a browser shows, and what anything else does."""
    said = [count(done, steps) if done else "", clock(seconds), time_left(seconds, done, steps)]
    text = ", ".join(part for part in said if part)
    part = "" if steps is None or done > steps else f' value="{done}" max="{steps}"'
    page = f"<div>{html.escape(doing)} <progress{part}></progress> {text}</div>"
    return {"text/html": page, "text/plain": f"{doing}: {text}"}
