"""Which way makes a file so many times smaller, by what was measured.

At each size the best of the networks in `results/` has two to four bits of its file for each number
that it has left. With fewer bits rounding costs more than taking channels out and training what is
left; with more, numbers went that would have been worth their bits. So a file that has enough bits
for every number is made by rounding alone, and for a smaller one numbers have to go first.

Source: `results/README.md`: ResNet-20 on CIFAR-10 made the rule (but for the bits with which
rounding alone is best: for these, ResNet-8 too); ResNet-8 on Fashion-MNIST and LeNet-5 on MNIST
keep it.
"""

from __future__ import annotations

from dataclasses import dataclass

TIMES = (10, 50, 300)
_ALONE = 1.5  # bits for each number, from which on rounding alone is best
_BITS = 3.0  # for each number that is left, else
_LEAST = 1000  # bytes: of a smaller file the description of the network is most


@dataclass(frozen=True)
class Way:
    """How to make a file so many times smaller.

    Attributes:
        times: what the bytes of all variables are divided by.
        bytes: of the file.
        keep: the share of the numbers that stay when channels are pruned; 1: none are.
        numbers: that are left of the model's.
    """

    times: int
    bytes: int
    keep: float
    numbers: int

    @property
    def how(self) -> str:
        """The calls, in words."""
        if self.keep == 1:
            return "shrink"
        return f"prune {100 * (1 - self.keep):.3g} % of numbers, fit, slim, shrink"


def ways(size: int, numbers: int) -> tuple[Way, ...]:
    """What is recommended for files `TIMES` smaller than a model of `size` bytes."""
    return tuple(_way(times, size // times, numbers) for times in TIMES if size // times >= _LEAST)


def _way(times: int, size: int, numbers: int) -> Way:
    bits = 8 * size / numbers
    keep = 1.0 if bits >= _ALONE else bits / _BITS
    return Way(times, size, keep, round(keep * numbers))
