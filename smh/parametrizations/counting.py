"""What a weight that is pruned, shared or rounded takes: of a model, and of a file. NumPy only."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from smh import coding
from smh.coding.axes import along, scale_count
from smh.typing import Shape, Tally

SCALE_BITS = 32  # of a scale in memory


class Counted(NamedTuple):
    """What a report says of one weight.

    Attributes:
        tally: how much there is of it.
        words: how it is stored.
    """

    tally: Tally
    words: str


class Steps(NamedTuple):
    """Steps that a file can hold.

    Attributes:
        step: above 0.
        exponents: one for each channel, or `None`: one step.
        axis: the axis of the channels, or `None`.
    """

    step: float
    exponents: np.ndarray | None = None
    axis: int | None = None

    def spread(self, rank: int) -> np.ndarray:
        """The steps as float32, in a shape that broadcasts against the weight's."""
        steps = coding.steps(self.step, self.exponents)
        if self.axis is None:
            return steps
        return steps.reshape(along(self.axis, rank))


def pruned(mask: np.ndarray, itemsize: int) -> Counted:
    """Counts what is not pruned; one bit more for each place.

    Args:
        mask: bool, of the weight's shape.
        itemsize: bytes of a number.
    """
    kept = int(np.count_nonzero(mask))
    packed = kept * itemsize + -(-mask.size // 8)
    words = f"pruned, {1 - kept / max(1, mask.size):.1%} zero"
    return Counted(Tally(kept=kept, trained=kept, bits=8 * itemsize, packed=packed), words)


def shared(index: np.ndarray, values: int, zeros: bool) -> Counted:
    """Counts what is not pruned, and bits of an index.

    Args:
        index: of the weight's shape.
        values: how many there are in the codebook.
        zeros: whether index 0 is no value but what was pruned.
    """
    nonzero = int(np.count_nonzero(index)) if zeros else index.size
    bits = max(1, (values - 1).bit_length())
    places = -(-index.size // 8) if zeros else 0
    packed = -(-nonzero * bits // 8) + places + 4 * values
    share = f", {1 - nonzero / max(1, index.size):.1%} zero" if zeros else ""
    return Counted(Tally(nonzero, values, bits, packed), f"{values} shared values{share}")


def rounded(shape: Shape, bits: int, per: str) -> Counted:
    """Counts integers at their width, and float32 scales."""
    numbers = math.prod(shape)
    packed = -(-numbers * bits // 8) + scale_count(shape, per) * SCALE_BITS // 8
    return Counted(Tally(numbers, numbers, bits, packed), f"{bits} bits, scale per {per}")


def stepped(integers: np.ndarray, exponents: int, mask: np.ndarray | None) -> Counted:
    """Counts the bits that the largest whole number takes, and the steps.

    Args:
        integers: of the weight's shape.
        exponents: how many there are.
        mask: what is not pruned, or `None`.
    """
    bits = 1 + int(np.abs(integers).max(initial=0)).bit_length()
    kept = integers.size if mask is None else int(np.count_nonzero(mask))
    packed = -(-integers.size * bits // 8) + 4 + exponents
    zeros = 1 - np.count_nonzero(integers) / max(1, integers.size)
    words = f"{np.unique(integers).size} steps, {zeros:.1%} zero"
    return Counted(Tally(kept, kept, bits, packed), words)
