"""Finds the price of a bit: for a file of some size, a score, or a quality."""

from __future__ import annotations

import math
from collections.abc import Callable

from smh.errors import ArgumentError
from smh.progress import task
from smh.shrinking.report import Attempt

Try = Callable[[float], Attempt]

_FINEST, _COARSEST = 1e-30, 1e30
_MOST = 14  # roundings to hit a size; each halves what is left of the interval at least
_USUAL = 5  # of them
_TOLERANCE = 0.992  # of the size asked for that the file has to have at least
_HALVINGS = 5  # of a factor of four in the price, which is a bit of each number
_BRACKET = 3  # tries, as a rule, until one keeps the score and one does not
_BEYOND = (1.2, 1.45, 1.75)  # times the best price: a score does not fall with every step


def price_of_quality(quality: float, numbers: int) -> float:
    """Each number costs about its price: `quality` 100 allows an error of 1e-5, 0 one of 10."""
    return 10 ** (1 - 6 * quality / 100) * 2 * math.log(2) / max(1, numbers)


def to_size(attempt: Try, target: int, start: float, name: str) -> Attempt:
    """Returns the finest attempt whose file fits, within 1 % of the size asked for.

    Raises:
        ArgumentError: no rounding makes so small a file.
    """
    fine: Attempt | None = None  # too large
    coarse: Attempt | None = None  # fits
    price = start
    with task(f"rounding to {target:,} bytes", _USUAL) as advance:
        for _ in range(_MOST):
            found = attempt(price)
            advance(1)
            if found.bytes <= target:
                coarse = found
                if found.bytes >= _TOLERANCE * target:
                    break
            else:
                fine = found
            if not _FINEST < price < _COARSEST:
                break
            price = _next(fine, coarse, 0.997 * target)
    if coarse is None:
        raise ArgumentError(f"'{name}' could not be rounded to {target:,} bytes.")
    return coarse


def _next(fine: Attempt | None, coarse: Attempt | None, target: float) -> float:
    """Between the two by their logarithms; beyond the only one by half a bit for each doubling."""
    if fine is None or coarse is None:
        one = fine or coarse
        assert one is not None
        step = 4.0 * max(1.0, abs(math.log2(one.bytes / target)))
        return one.multiplier * 2 ** (step if fine is not None else -step)
    low, high = math.log(fine.multiplier), math.log(coarse.multiplier)
    part = math.log(fine.bytes / target) / math.log(fine.bytes / coarse.bytes)
    return math.exp(low + (high - low) * min(max(part, 0.05), 0.95))


def to_drop(attempt: Try, least: float, start: float, name: str) -> Attempt:
    """Returns the smallest attempt found whose score is at least so much.

    A score does not fall with every step, least of all one of few examples: a little beyond the
    first price that is too high, others are tried.

    Raises:
        ArgumentError: no rounding keeps the score.
    """
    good: Attempt | None = None
    bad: Attempt | None = None
    price = start
    with task(
        "rounding as far as the score allows", _BRACKET + _HALVINGS + len(_BEYOND)
    ) as advance:
        while good is None or bad is None:
            found = attempt(price)
            advance(1)
            if found.score is not None and found.score >= least:
                good = found
                price *= 4
            else:
                bad = found
                price /= 4
            if not start * 1e-12 < price < start * 1e12:
                break
        for _ in range(_HALVINGS if good and bad else 0):
            assert good is not None and bad is not None
            found = attempt(math.sqrt(good.multiplier * bad.multiplier))
            advance(1)
            if found.score is not None and found.score >= least:
                good = found
            else:
                bad = found
        for factor in _BEYOND if good and bad else ():
            assert good is not None
            found = attempt(good.multiplier * factor)
            advance(1)
            if found.score is not None and found.score >= least and found.bytes < good.bytes:
                good = found
    if good is None:
        raise ArgumentError(
            f"No rounding of '{name}' keeps a score of {least:g}: the finest has "
            f"{bad.score if bad else math.nan:g}. Allow a larger drop."
        )
    return good
