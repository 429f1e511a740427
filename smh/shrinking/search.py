"""Finds the price of a bit: for a file of some size, a score, or a quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from smh.errors import ArgumentError
from smh.progress import task
from smh.shrinking.curve import Curve
from smh.shrinking.report import Attempt

Try = Callable[[float], Attempt]

_MOST = 14  # roundings to hit a size
_USUAL = 4  # of them
LEAST = 0.9905  # of the size asked for that the file has to have at least
_AIM = 0.9955  # of it
_LED = 6  # roundings by what is expected; then the two beside the size have to draw nearer
_OUTWARD = 16.0  # times the price, where all files are too large, or all fit
_NARROW = 1.1  # two prices, of which one file fits: so near the sizes are those of chance
_BY_CURVE = 11  # roundings by what is expected, at most; then sizes jump between the two
_CHANCE = 0.005  # of a size: two prices that hardly differ round differently
_CURVED = 0.2  # of how far off a size is: as nearly as what is expected holds there
_SLOPE = 0.4  # by so much what is expected may change too fast or too slowly
_FLATTEST = -0.8  # of that
_APART = 1.003  # of two prices at least
_FARTHEST = 64  # times the highest price: what is expected is flat where all is zero
_BESIDE_JUMP = 1.03  # by so much a price is lowered, again and again, to find one that fits
_POWER = 1.4  # of what may be lost over what was: by so much a price is raised or lowered
_STEPS = 4.0, 64.0  # the least and the most of it, until one keeps the score and one does not
_TOLD_STEPS = 2.0, 256.0  # likewise, where two tries tell the power
_BLIND = 16.0  # and where a score says nothing of how far it is
_BRACKET = 2  # tries for that, as a rule
_CLOSE = 1.08  # a bit's price known so nearly is near enough: a hundredth of the file
_BETWEEN, _AGAIN = 5, 1  # tries for that at most, and after a better one was found beyond
_SAFE = 0.25  # of that: so far before the price that is likely to lose all of the drop
_LEAST_PART = 0.1  # of what is between two prices
_BEYOND = (1.2, 1.5, 2.2)  # times the best price: a score does not fall with every step
_MOST_ROUNDS = 3  # of these, each where the one before found a smaller file
_AROUND = 5  # tries by which chance is judged: the nearest
_CHANCES = 2.0  # deviations of the logarithm of what is lost
_USUAL_CHANCE = 0.15  # a deviation that counts as if it had been seen once
_LITTLE = 0.1  # of the drop: what loses less, or gains, is taken to lose so much


def price_of_quality(quality: float, numbers: int) -> float:
    """Each number costs about its price: `quality` 100 allows an error of 1e-5, 0 one of 10."""
    return 10 ** (1 - 6 * quality / 100) * 2 * math.log(2) / max(1, numbers)


def to_size(attempt: Try, curve: Curve, target: int, name: str) -> Attempt:
    """Returns the largest file found that fits, within 1 % of the size asked for.

    The curve tells where to begin, and what a price changes from then on: the files that were made
    say how far off it is, those near the size asked for above all. Chance is in all of them, so no
    two bracket the price for sure.

    Raises:
        ArgumentError: no rounding makes so small a file.
    """
    found: list[Attempt] = []
    with task(f"rounding to {target:,} bytes", _USUAL) as advance:
        while len(found) < _MOST:
            price = _next(found, curve, target)
            if any(price == one.multiplier for one in found):
                break  # no price is lower, or higher
            found.append(attempt(price))
            advance(1)
            if LEAST * target <= found[-1].bytes <= target:
                break
    fit = [one for one in found if one.bytes <= target]
    if not fit:
        least = min(one.bytes for one in found)
        raise ArgumentError(
            f"'{name}' could not be rounded to {target:,} bytes: the smallest file found has "
            f"{least:,}."
        )
    return max(fit, key=lambda one: one.bytes)


def _next(found: Sequence[Attempt], curve: Curve, target: int) -> float:
    if len(found) < _LED:
        return _by_curve(found, curve, target)
    between = _bracket(found, target)
    if between is None:
        prices = [one.multiplier for one in found]
        if all(one.bytes <= target for one in found):
            return min(prices) / _OUTWARD
        if all(one.bytes > target for one in found):
            return max(prices) * _OUTWARD
        return _by_curve(found, curve, target)  # by chance what is finer fits
    fine, coarse = between
    apart = coarse.multiplier / fine.multiplier
    if apart > _NARROW or (apart > _APART**2 and len(found) % 2):  # the curve leads nowhere
        return math.sqrt(fine.multiplier * coarse.multiplier)
    if len(found) < _BY_CURVE:
        return _by_curve(found, curve, target)
    price, tried = fine.multiplier, {one.multiplier for one in found}
    while price in tried:
        price /= _BESIDE_JUMP
    return price


def _bracket(found: Sequence[Attempt], target: int) -> tuple[Attempt, Attempt] | None:
    """The coarsest file that is too large and has one that fits beyond, and the next of these."""
    fit = [one for one in found if one.bytes <= target]
    coarsest = max((one.multiplier for one in fit), default=0.0)
    large = [one for one in found if one.bytes > target and one.multiplier < coarsest]
    if not large:
        return None
    fine = max(large, key=lambda one: one.multiplier)
    beyond = [one for one in fit if one.multiplier > fine.multiplier]
    return fine, min(beyond, key=lambda one: one.multiplier)


def _by_curve(found: Sequence[Attempt], curve: Curve, target: int) -> float:
    """Where the curve, moved and tilted by the files that were made, has the size to aim at.

    By weighted ridge regression of how far off the curve was; a single file moves it.
    """
    size = math.log(_AIM * target)
    if not found:
        return curve.price_of(size)
    off = np.log([one.bytes / target for one in found])
    at = np.array([curve(one.multiplier) for one in found])
    weights = 1 / (_CHANCE**2 + np.square(_CURVED * off))
    missing = off + math.log(target) - at
    middle, mean = (weights @ values / weights.sum() for values in (at, missing))
    both = weights @ ((at - middle) * (missing - mean))
    tilt = max(_FLATTEST, both / (weights @ np.square(at - middle) + _SLOPE**-2))
    price = curve.price_of(float(middle + (size - middle - mean) / (1 + tilt)))
    price = min(price, _FARTHEST * max(one.multiplier for one in found))
    return price if price in Curve.ENDS else _untried(price, found)


def _untried(price: float, found: Sequence[Attempt]) -> float:
    """The nearest one to it that is apart from all others, on either side."""
    near = [price * _APART**step for step in range(-len(found), len(found) + 1)]
    near.sort(key=lambda one: abs(math.log(one / price)))
    apart = math.log(_APART) * 0.5
    tried = [one.multiplier for one in found]
    return next(p for p in near if all(abs(math.log(p / one)) >= apart for one in tried))


def to_drop(attempt: Try, baseline: float, drop: float, start: float, name: str) -> Attempt:
    """Returns the smallest attempt found whose score is at most `drop` below the baseline.

    What is lost grows about as a power of the price, and the next price is taken from that. But a
    score does not fall with every step, least of all one of few examples: a little beyond the
    first price that is too high, others are tried, as far as what was seen to be chance gives them
    a hope, and beyond these where one of them kept it.

    Raises:
        ArgumentError: no rounding keeps the score.
    """
    with task("rounding as far as the score allows", _BRACKET + _BETWEEN + len(_BEYOND)) as advance:
        found = _Drop(attempt, baseline, drop, advance)
        price, before = start, None
        while (found.good is None or found.bad is None) and start * 1e-12 < price < start * 1e12:
            now = found.at(price)
            price *= found.step(before, now)
            before = now
        if found.good is None:
            least = found.bad.score if found.bad else math.nan
            raise ArgumentError(
                f"No rounding of '{name}' keeps a score of {baseline - drop:g}: the finest has "
                f"{least:g}. Allow a larger drop."
            )
        found.close_in(_BETWEEN)
        for _ in range(_MOST_ROUNDS if found.bad else 0):
            if not found.beyond():
                break
            found.close_in(_AGAIN)
    return found.good


class _Drop:
    """What was tried for a score.

    Attributes:
        tried: all of it.
        good: the smallest that kept the score.
        bad: the last that did not.
    """

    def __init__(self, attempt: Try, baseline: float, drop: float, advance: Callable[[int], None]):
        self._attempt, self._baseline, self._drop = attempt, baseline, drop
        self._advance = advance
        self.tried: list[Attempt] = []
        self.good: Attempt | None = None
        self.bad: Attempt | None = None

    def at(self, price: float) -> Attempt:
        """Tries a price."""
        found = self._attempt(price)
        self._advance(1)
        self.tried.append(found)
        if not self._keeps(found):
            self.bad = found
        elif self.good is None or found.bytes < self.good.bytes:
            self.good = found
        return found

    def _keeps(self, one: Attempt) -> bool:
        return one.score is not None and one.score >= self._baseline - self._drop

    def _lost(self, one: Attempt) -> float:
        return math.nan if one.score is None else self._baseline - one.score

    def step(self, before: Attempt | None, now: Attempt) -> float:
        """The factor of the price that is likely to lose the drop, up if the score was kept."""
        lost, power, (least, most) = self._lost(now), _POWER, _STEPS
        was = math.nan if before is None else self._lost(before)
        if before is not None and 0 < min(lost, was) and max(lost, was) < math.inf:
            further = math.log(now.multiplier / before.multiplier)
            more = math.log(lost / was)
            if further * more > 0:
                power, (least, most) = min(further / more, _POWER), _TOLD_STEPS
        kept = self._keeps(now)
        share = self._drop / lost if 0 < lost < math.inf else 0.0
        if share == 0:  # nothing tells how far it is
            return _BLIND if kept else 1 / _BLIND
        least, most = (1 / most, 1 / least) if not kept else (least, most)
        return math.exp(min(max(power * math.log(share), math.log(least)), math.log(most)))

    def close_in(self, tries: int) -> None:
        """Finds where the drop is lost, between the best price and the next above that is not."""
        good, sides = self.good, [False, True]
        assert good is not None
        above = [t for t in self.tried if not self._keeps(t) and t.multiplier > good.multiplier]
        if not above:
            return
        bad = min(above, key=lambda one: one.multiplier)
        for _ in range(tries):
            apart = math.log(bad.multiplier / good.multiplier) / math.log(_CLOSE)
            lost = self._part(min(self._lost(good), self._drop), self._lost(bad))
            if apart < 1 or lost is not None and apart * lost < 1:
                break
            least = min(_LEAST_PART, 0.5 / apart)
            part = 0.5 if lost is None else min(max(lost - _SAFE / apart, least), 1 - least)
            part = 0.5 if sides[-1] == sides[-2] else part  # else one end might stay for ever
            found = self.at(good.multiplier * (bad.multiplier / good.multiplier) ** part)
            sides.append(self._keeps(found))
            good, bad = (found, bad) if sides[-1] else (good, found)

    def _part(self, lost: float, too_much: float) -> float | None:
        """Where between two prices, by their logarithms, it is lost; `None`: nothing tells."""
        if not 0 < lost <= self._drop < too_much < math.inf:  # by chance, or not a number
            return None
        return math.log(self._drop / lost) / math.log(too_much / lost)

    def beyond(self) -> bool:
        """Tries prices above the best one; whether one of them is better."""
        assert self.good is not None
        before = self.good
        for factor in _BEYOND:
            price = self.good.multiplier * factor
            tried = [one.multiplier for one in self.tried]
            is_new = all(max(price, one) >= _CLOSE * min(price, one) for one in tried)
            if is_new and self._hopes(price):
                self.at(price)
        return self.good is not before

    def _hopes(self, price: float) -> bool:
        """Whether chance, as the tries around show it, may let this price keep the score."""
        told = [one for one in self.tried if math.isfinite(self._lost(one))]
        told.sort(key=lambda one: abs(math.log(one.multiplier / price)))
        if len(told) < 2 or self._drop == 0:
            return True
        x = np.log([one.multiplier for one in told[:_AROUND]])
        y = np.log([max(self._lost(one), _LITTLE * self._drop) for one in told[:_AROUND]])
        slope, level = np.polyfit(x, y, 1)
        off = np.square(y - slope * x - level).sum() + _USUAL_CHANCE**2
        least = slope * math.log(price) + level - _CHANCES * math.sqrt(off / (len(x) - 1))
        return least <= math.log(self._drop)
