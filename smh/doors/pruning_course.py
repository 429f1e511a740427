"""How far a pruning schedule is at a step: numbers only."""

from __future__ import annotations

import numbers
from dataclasses import dataclass

from smh.doors.pruning import check_choice
from smh.errors import ArgumentError
from smh.errors.limits import ABOVE_ZERO

_SHAPES = ("polynomial", "constant", "rounds")


@dataclass(frozen=True)
class Course:
    """From nothing to the final sparsity, over the steps of a training.

    Attributes:
        shape: "polynomial", "constant" or "rounds".
        begin: the first step of it.
        end: the last, or None where it depends on how long the training is.
        every: steps between two prunings of "polynomial".
        power: exponent of "polynomial".
        rounds: prunings of "rounds".
    """

    shape: str
    begin: int
    end: int | None
    every: int
    power: float
    rounds: int

    def __post_init__(self):
        check_choice("shape", self.shape, _SHAPES)
        for name, least in (("begin", 0), ("end", self.begin), ("every", 1), ("rounds", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, numbers.Integral) or value < least):
                raise ArgumentError(
                    f"{name} must be a whole number of at least {least}, got {value!r}."
                )
        ABOVE_ZERO.checked(self.power, "power")

    @property
    def needs_length(self) -> bool:
        """Whether it ends only where the length of the training says so."""
        return self.end is None and self.shape != "constant"

    def last(self, steps: int) -> int:
        """The step of the last pruning, in a training of so many steps."""
        if self.needs_length:
            return max(self.begin, steps * 3 // 4)
        return self.begin if self.end is None else self.end

    def share_at(self, step: int, last: int) -> float:
        """How much of the way is reached at `step`, from 0 to 1, where `last` is the last step."""
        if step < self.begin:
            return 0.0
        if self.shape == "constant" or step >= last:
            return 1.0
        if self.shape == "rounds":
            way = (step - self.begin) / (last - self.begin)
            return min(1.0, (int(way * (self.rounds - 1)) + 1) / self.rounds)
        way = (step - self.begin) // self.every * self.every / (last - self.begin)
        return 1 - (1 - way) ** self.power

    def sparsity(self, level: float, share: float) -> float:
        """The sparsity at a share of the way; "rounds" takes equal shares of what is left."""
        return 1 - (1 - level) ** share if self.shape == "rounds" else level * share
