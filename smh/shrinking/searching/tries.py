"""What a search tried, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from smh.sensitivity.words import Shown
from smh.tables import Printed, new_table

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Try:
    """One compressed model.

    Attributes:
        fraction: numbers of its factors over numbers of the selected weights.
        bits: bits of each number of the factors; 32: float.
        bytes: of the file that `smh.save` wrote of it.
        energy_kept: share of the dense weights' energy that its weights had before any training,
            rounded to `bits`.
        score: what `evaluate` returned, or `None` where nothing was evaluated.
        fits: whether it is within the budget.
    """

    fraction: float
    bits: int
    bytes: int
    energy_kept: float
    score: float | None
    fits: bool

    def __str__(self) -> str:
        """One line, for `show=print`."""
        bits = "float" if self.bits == 32 else f"{self.bits} bits"
        score = "" if self.score is None else f", score {self.score:.4f}"
        return (
            f"fraction {self.fraction:.4f}, {bits}: {self.bytes:,} bytes, "
            f"{self.energy_kept:.1%} of the energy{score}, {'fits' if self.fits else 'no'}"
        )


@dataclass(frozen=True, eq=False)
class SearchResult(Printed):
    """What a search returns; `print` shows its tries as a table.

    Attributes:
        model: the compressed model that was chosen. The dense one is as it was.
        best: the try that it comes from.
        tries: all of them, in their order.
        baseline: what `evaluate` returned for the dense model, or `None`.
        metric: what `evaluate` is called; the table shows an accuracy in percent.
    """

    model: keras.Model
    best: Try
    tries: tuple[Try, ...]
    baseline: float | None = None
    metric: str = "score"

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        table = new_table("smh search")
        shown = None if self.baseline is None else self._shown(self.baseline)
        for title in columns(shown):
            table.add_column(title, justify="right", no_wrap=True)
        for one in self.tries:
            style = "bold" if one is self.best else None
            table.add_row(*cells(one, shown, self.baseline or 0.0), style=style)
        return table

    def _shown(self, baseline: float) -> Shown:
        scores = [one.score for one in self.tries if one.score is not None]
        return Shown.of(self.metric, [baseline, *scores])


def columns(shown: Shown | None) -> list[str]:
    """The titles of a table of tries; `shown` is how their score is, or `None`: there is none."""
    scores = []
    if shown is not None:
        scores = [shown.metric, "points lost" if shown.is_share else "drop"]
    return ["fraction", "bits", "bytes", "energy kept", *scores, "fits"]


def cells(one: Try, shown: Shown | None, baseline: float) -> list[str]:
    """One line of it."""
    scores = []
    if shown is not None and one.score is not None:
        scores = [shown.score(one.score), shown.points(baseline - one.score)]
    numbers = [f"{one.fraction:.4f}", str(one.bits), f"{one.bytes:,}", f"{one.energy_kept:.1%}"]
    return [*numbers, *scores, "yes" if one.fits else "no"]
