"""Names for the types that cross module boundaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Tensor = Any  # a tensor of the Keras backend in use
Shape = tuple[int, ...]
Selector = str | Callable[[Any], bool] | Sequence["str | Callable[[Any], bool]"]


class Tally(NamedTuple):
    """What there is to say of a weight's size, for reports.

    Attributes:
        kept: how many of its numbers are not pruned.
        trained: how many numbers training can change.
        bits: bits of each kept number.
        packed: bytes at that width, with what else it takes to read them; not entropy-coded.
    """

    kept: int
    trained: int
    bits: int
    packed: int


def itemsize(dtype: str) -> int:
    """Bytes of one number; NumPy alone knows no bfloat16."""
    import numpy as np

    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
