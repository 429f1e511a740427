"""What a number may be: each rule once, for the functions and for the command line. No Keras."""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smh.errors import ArgumentError


@dataclass(frozen=True)
class Limit:
    """Which numbers an argument may be.

    Attributes:
        kind: `float` or `int`.
        expected: which, in words.
        allows: whether it may be this one.
    """

    kind: type
    expected: str
    allows: Callable[[Any], bool]

    def fits(self, value: Any) -> bool:
        """Whether it is a number of this kind, and one that is allowed."""
        number = numbers.Real if self.kind is float else numbers.Integral
        return isinstance(value, number) and not isinstance(value, bool) and self.allows(value)

    def checked(self, value: Any, name: str) -> Any:
        """Returns `value` as its kind of number; raises `ArgumentError`, which calls it `name`."""
        with contextlib.suppress(OverflowError):  # a whole number that no float can hold
            if self.fits(value):
                return self.kind(value)
        raise ArgumentError(f"{name} must be {self.expected}, got {value!r:.100}.")

    def read(self, text: str, name: str) -> Any:
        """Returns the number that a text is; raises `ArgumentError`."""
        try:
            value = self.kind(text)
        except ValueError:
            raise ArgumentError(f"{name} must be {self.expected}, got {text!r:.100}.") from None
        return self.checked(value, name)


def checked_seed(seed: Any) -> int | None:
    """Returns a seed as it is given to NumPy; `None`: chance. Raises `ArgumentError`."""
    if seed is None:
        return None
    if not WHOLE.fits(seed):
        raise ArgumentError(f"seed must be a whole number, at least 0, or None, got {seed!r:.100}.")
    return int(seed)


MOST_CODEBOOK_BITS = 12  # a codebook of a file has at most 4096 values
FLOAT_BITS = 32  # stands for factors that are not rounded

FRACTION = Limit(float, "a number above 0 and at most 1", lambda value: 0 < value <= 1)
SPARSITY = Limit(
    float, "a number from 0 (nothing is pruned) to below 1", lambda value: 0 <= value < 1
)
SCANNED_SPARSITY = Limit(float, "a number above 0 and below 1", lambda value: 0 < value < 1)
GRID_BITS = Limit(int, "a whole number from 2 to 8", lambda value: 2 <= value <= 8)
FACTOR_BITS = Limit(int, "a whole number from 2 to 8, or None for float factors", GRID_BITS.allows)
FILE_BITS = Limit(int, "2 to 8, 16 or None", lambda value: 2 <= value <= 8 or value == 16)
SEARCHED_BITS = Limit(
    int,
    f"a whole number from 2 to 8, or {FLOAT_BITS} for float factors",
    lambda value: 2 <= value <= 8 or value == FLOAT_BITS,
)
CODEBOOK_BITS = Limit(
    int,
    f"a whole number from 1 to {MOST_CODEBOOK_BITS}",
    lambda value: 1 <= value <= MOST_CODEBOOK_BITS,
)
BLOCKS = Limit(int, "a whole number, at least 1, or 'auto'", lambda value: value >= 1)
AT_LEAST_0 = Limit(float, "a number, at least 0", lambda value: 0 <= value < math.inf)
DROP = AT_LEAST_0
QUALITY = Limit(float, "a number from 0 to 100", lambda value: 0 <= value <= 100)
SHARE = Limit(float, "from 0 to 1", lambda value: 0 <= value <= 1)
BELOW_1 = Limit(float, "at least 0 and below 1", lambda value: 0 <= value < 1)
ABOVE_ZERO = Limit(float, "a number above 0", lambda value: 0 < value < math.inf)
BYTES = Limit(int, "a whole number of bytes above 0, for example 200_000", lambda value: value >= 1)
COUNT = Limit(int, "a whole number, at least 1", lambda value: value >= 1)
WHOLE = Limit(int, "a whole number, at least 0", lambda value: value >= 0)
SEED = Limit(int, "a whole number of 32 bits", lambda value: 0 <= value < 2**32)
