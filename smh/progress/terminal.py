"""Bars on a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from smh.progress.listener import Advance, Listener
from smh.progress.words import count, time_left


def terminal_bars(file: IO[str]) -> Listener:
    """Makes what draws a bar for each thing that is being done, one below the other."""
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(file=file),
        transient=True,
        redirect_stdout=False,  # it may be another file
    )

    @contextlib.contextmanager
    def listener(doing: str, steps: int | None) -> Iterator[Advance]:
        number = bars.add_task(doing, total=steps, count="", left="")
        done, began = 0, time.monotonic()

        def advance(more: int) -> None:
            nonlocal done
            done += more
            # Not by rich's own guess: it looks at the last 30 seconds, and a step may take longer.
            left = time_left(time.monotonic() - began, done, steps)
            bars.update(number, completed=done, count=count(done, steps), left=left)

        bars.start()
        try:
            yield advance
        finally:
            bars.remove_task(number)
            if not bars.tasks:
                bars.stop()

    return listener
