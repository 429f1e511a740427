"""Counts and times, as bars and logs say them."""

from __future__ import annotations


def count(done: int, steps: int | None) -> str:
    """`3/10`; or `3` where nobody knows of how many, or there were more than usual."""
    return f"{done:,}" if steps is None or done > steps else f"{done:,}/{steps:,}"


def time_left(seconds: float, done: float, steps: float | None) -> str:
    """How long the rest will take if it goes on as until now, as `1:05 left`.

    Args:
        seconds: since the begin.
        done: how much is done.
        steps: of how much, or `None`.

    Returns:
        Nothing where that cannot be told.
    """
    if not done or steps is None or done >= steps:
        return ""
    return f"{clock(seconds / done * (steps - done))} left"


def clock(seconds: float) -> str:
    """Seconds as `0:05`, `12:34` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
