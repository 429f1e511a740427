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
_JUMP = 1.01  # two prices so close, of which one file fits: sizes jump between them
_BESIDE_JUMP = 1.03  # by so much a price is lowered, again and again, to find one that fits
_POWER = 1.4  # of what may be lost over what was: by so much a price is raised or lowered
_STEPS = 4.0, 16.0  # the least and the most of it, until one keeps the score and one does not
_BRACKET = 2  # tries for that, as a rule
_CLOSE = 1.06  # a bit's price known so nearly is near enough: a hundredth of the file
_BETWEEN = 5  # tries for that at most
_BEYOND = (1.2, 1.45, 1.75)  # times the best price: a score does not fall with every step
_MOST_ROUNDS = 3  # of these, each where the one before found a smaller file


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
    best: Attempt | None = None  # the largest that fits: of a finer one the file may be smaller
    price = start
    with task(f"rounding to {target:,} bytes", _USUAL) as advance:
        for _ in range(_MOST):
            found = attempt(price)
            advance(1)
            if found.bytes <= target:
                coarse = found
                best = found if best is None or best.bytes <= found.bytes else best
                if found.bytes >= _TOLERANCE * target:
                    break
            else:
                fine = found
            if not _FINEST < price < _COARSEST:
                break
            price = _next(fine, coarse, 0.997 * target)
    if best is None:
        raise ArgumentError(f"'{name}' could not be rounded to {target:,} bytes.")
    return best


def _next(fine: Attempt | None, coarse: Attempt | None, target: float) -> float:
    """Between the two by their logarithms; beyond the only one by half a bit for each doubling."""
    if fine is None or coarse is None:
        one = fine or coarse
        assert one is not None
        step = 4.0 * max(1.0, abs(math.log2(one.bytes / target)))
        return one.multiplier * 2 ** (step if fine is not None else -step)
    if coarse.multiplier < _JUMP * fine.multiplier:
        return fine.multiplier / _BESIDE_JUMP
    low, high = math.log(fine.multiplier), math.log(coarse.multiplier)
    part = math.log(fine.bytes / target) / math.log(fine.bytes / coarse.bytes)
    return math.exp(low + (high - low) * min(max(part, 0.05), 0.95))


def to_drop(attempt: Try, baseline: float, drop: float, start: float, name: str) -> Attempt:
    """Returns the smallest attempt found whose score is at most `drop` below the baseline.

    What is lost grows about as a power of the price, and the next price is taken from that. But a
    score does not fall with every step, least of all one of few examples: a little beyond the
    first price that is too high, others are tried, and beyond these where one of them kept it.

    Raises:
        ArgumentError: no rounding keeps the score.
    """
    good: Attempt | None = None
    bad: Attempt | None = None
    prices: list[float] = []
    with task("rounding as far as the score allows", _BRACKET + _BETWEEN + len(_BEYOND)) as advance:

        def keeps(price: float) -> tuple[Attempt, bool]:
            found = attempt(price)
            advance(1)
            prices.append(price)
            return found, found.score is not None and found.score >= baseline - drop

        price = start
        while (good is None or bad is None) and start * 1e-12 < price < start * 1e12:
            found, kept = keeps(price)
            good, bad = (found, bad) if kept else (good, found)
            price *= _step(baseline - _score(found), drop, kept)
        sides = [False, True]
        for _ in range(_BETWEEN if good and bad else 0):
            assert good is not None and bad is not None
            if bad.multiplier < _CLOSE * good.multiplier:
                break
            part = _part(baseline - _score(good), baseline - _score(bad), drop)
            part = 0.5 if sides[-1] == sides[-2] else part  # else one end might stay for ever
            found, kept = keeps(good.multiplier * (bad.multiplier / good.multiplier) ** part)
            good, bad = (found, bad) if kept else (good, found)
            sides.append(kept)
        rounds = _MOST_ROUNDS if good and bad else 0
        for _ in range(rounds):
            assert good is not None
            before = good
            for factor in _BEYOND:
                price = good.multiplier * factor
                if any(max(price, one) < _CLOSE * min(price, one) for one in prices):
                    continue
                found, kept = keeps(price)
                if kept and found.bytes < good.bytes:
                    good = found
            if good is before:
                break
    if good is None:
        raise ArgumentError(
            f"No rounding of '{name}' keeps a score of {baseline - drop:g}: the finest has "
            f"{bad.score if bad else math.nan:g}. Allow a larger drop."
        )
    return good


def _score(attempt: Attempt) -> float:
    return math.nan if attempt.score is None else attempt.score


def _step(lost: float, drop: float, kept: bool) -> float:
    """The factor of the price that is likely to lose the drop, up if the score was kept."""
    least, most = _STEPS
    wanted = (drop / lost) ** _POWER if lost > 0 else math.nan
    if kept:
        return min(max(wanted, least), most) if wanted == wanted else most
    return max(min(wanted, 1 / least), 1 / most) if wanted == wanted else 1 / least


def _part(lost: float, too_much: float, drop: float) -> float:
    """Where between two prices, by their logarithms, the drop is lost."""
    if not 0 < lost < drop < too_much:  # by chance, or not a number
        return 0.5
    return min(max(math.log(drop / lost) / math.log(too_much / lost), 0.2), 0.8)
