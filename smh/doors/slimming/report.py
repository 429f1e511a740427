"""What `smh.slim` took out of a network, and what it left whole and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from smh.doors.slimming.cutting import counting
from smh.doors.slimming.wiring import Count, Left, Wiring
from smh.tables import PathCell, Printed, new_table
from smh.virtual_variable import own_layers, own_variables

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class SlimRow:
    """One layer.

    Attributes:
        layer: its path.
        kind: its class.
        before, after: how many channels it makes; of attention's projections heads and their size.
        multiply_adds: of one example, before and after; `None` where an input's side is free.
    """

    layer: str
    kind: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    multiply_adds: tuple[int | None, int | None]

    @property
    def is_odd(self) -> bool:
        """Whether onnxruntime has no fast convolution for it: findings/onnx_channels_by_four.sh."""
        return "Depthwise" in self.kind and any(n % 4 for n in self.after)


@dataclass(frozen=True)
class SlimReport(Printed):
    """What `smh.slim(model, return_report=True)` returns beside the model. `print` shows it.

    Attributes:
        name: of the model.
        rows: the layers that make channels.
        numbers: of the weights, before and after.
        multiply_adds: of one example in layers that have a rule, before and after; `None` where a
            side of the input is free.
        left: the layers around which nothing could be cut.
        folded: the normalisations that became part of the layer before them.
    """

    name: str
    rows: tuple[SlimRow, ...]
    numbers: tuple[int, int]
    multiply_adds: tuple[int | None, int | None]
    left: tuple[Left, ...]
    folded: tuple[str, ...] = ()

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        table = new_table(f"smh slim: {self.name}")
        table.add_column("layer", overflow="fold")
        for title in ("kind", "channels", "multiply-adds"):
            table.add_column(title, justify="left" if title == "kind" else "right", no_wrap=True)
        for row in self.rows:
            channels = _change(*("x".join(map(str, side)) for side in (row.before, row.after)))
            table.add_row(PathCell(row.layer), row.kind, channels, _numbers(row.multiply_adds))
        table.add_section()
        table.add_row("total", "", "", _numbers(self.multiply_adds), style="bold")
        before, after = self.numbers
        lines = [f"numbers: {before:,} -> {after:,} ({after / max(1, before):.1%})"]
        lines += [f"left whole around {x.layer} ({x.kind}): {x.reason}" for x in self.left]
        if self.folded:
            lines.append(f"normalisations that became part of the layer before: {len(self.folded)}")
        odd = sum(row.before != row.after and row.is_odd for row in self.rows)
        if odd:
            lines.append(
                f"{odd} depthwise layers keep no multiple of 4 channels, which onnxruntime is slow "
                "with: smh.prune(round_to=8)"
            )
        table.caption, table.caption_justify = "\n".join(lines), "left"
        return table


def report_of(
    model: keras.Model,
    plain: keras.Model,
    net: Wiring,
    gone: np.ndarray,
    folded: Sequence[str] = (),
) -> SlimReport:
    """Returns the report of what went from `model` to `plain`."""
    everything, rest = counting(np.zeros_like(gone)), counting(gone)
    rows: dict[int, SlimRow] = {}
    for cut in net.cuts.values():
        if len(cut.variable.shape) > 1 and cut.makes and id(cut.layer) not in rows:
            sides = [cut.makes[axis] for axis in sorted(cut.makes)]
            before, after = (tuple(map(count, sides)) for count in (everything, rest))
            adds = _adds(net, everything, cut.layer), _adds(net, rest, cut.layer)
            kind = type(cut.layer).__name__
            rows[id(cut.layer)] = SlimRow(cut.layer.path, kind, before, after, adds)
    return SlimReport(
        model.name,
        tuple(rows.values()),
        (dense_numbers(model), dense_numbers(plain)),
        (_adds(net, everything), _adds(net, rest)),
        tuple(net.left.values()),
        tuple(folded),
    )


def dense_numbers(model: keras.Model) -> int:
    """How many numbers the layers see, each once: also those that are masked."""
    variables = {id(v): v for layer in own_layers(model) for v in own_variables(layer)}
    return sum(math.prod(v.shape) for v in variables.values())


def _adds(net: Wiring, count: Count, layer: keras.Layer | None = None) -> int | None:
    works = [work for work in net.works if layer is None or work.layer is layer]
    counts = [work.count(count) for work in works]
    return None if None in counts else round(sum(n for n in counts if n is not None))


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def _numbers(pair: Sequence[int | None]) -> str:
    before, after = ("" if n is None else f"{n:,}" for n in pair)
    return _change(before, after)
