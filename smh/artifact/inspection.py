"""What is inside an artifact, byte by byte: `smh.inspect`. Needs neither Keras nor TensorFlow."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smh import container
from smh.artifact.layout.reading import read_layout
from smh.artifact.layout.records import Stored
from smh.tables import PathCell, Printed, new_table

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Part:
    """A range of bytes of the file.

    Attributes:
        name: number of the tensor, or `header`.
        holds: the paths of the variables in it, or what it is.
        coding: how its numbers are stored: `uniform`, `raw`, ..., and in which type.
        numbers: how many numbers it holds.
        offset: its first byte in the file.
        bytes: its length.
    """

    name: str
    holds: str
    coding: str
    numbers: int
    offset: int
    bytes: int


@dataclass(frozen=True)
class Inspection(Printed):
    """What `smh.inspect` returns; `print` shows it as a table.

    Attributes:
        path: the file.
        parts: what it consists of, in order: their bytes sum to the file's size.
        models: names of the models in it.
    """

    path: str
    parts: tuple[Part, ...]
    models: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The file's size."""
        return sum(part.bytes for part in self.parts)

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        table = new_table(f"{self.path}: {', '.join(self.models)}")
        table.add_column("part", no_wrap=True)
        table.add_column("holds", overflow="fold")
        table.add_column("coding", overflow="fold")
        table.add_column("numbers", justify="right", no_wrap=True)
        table.add_column("bytes", justify="right", no_wrap=True)
        table.add_column("bits per\nnumber", justify="right", no_wrap=True)
        for part in self.parts:
            each = f"{8 * part.bytes / part.numbers:.2f}" if part.numbers else ""
            count = f"{part.numbers:,}" if part.numbers else ""
            table.add_row(
                part.name, PathCell(part.holds), part.coding, count, f"{part.bytes:,}", each
            )
        table.add_section()
        table.add_row("file", "", "", "", f"{self.bytes:,}", "", style="bold")
        return table


def inspect(path: str | os.PathLike) -> Inspection:
    """Lists what an artifact holds and what each part of it costs.

    Args:
        path: a file that `smh.save` wrote.

    Returns:
        An `Inspection`: `print(found)`, `found.parts`, `found.bytes`.

    Raises:
        ArtifactError: if the file is damaged.

    Example:
        >>> print(smh.inspect("model.smh"))
    """
    opened = container.read(path)
    stored = read_layout(opened)
    what = "names, codings, shapes, and how the models are compressed"
    if any(model.architecture is not None for model in stored.models):
        what += "; their architecture"
    parts = [Part("header", what, "deflated JSON", 0, 0, opened.header_size)]
    for section in opened.sections:
        parts.append(
            Part(
                section.name,
                _holds(section.name, stored),
                _coding(opened, section),
                math.prod(section.shape),
                section.offset,
                section.length,
            )
        )
    return Inspection(opened.path, tuple(parts), tuple(model.name for model in stored.models))


def _holds(tensor: str, stored: Stored) -> str:
    paths = stored.paths_in(tensor)
    if len(paths) <= 3:
        return ", ".join(dict.fromkeys(paths))
    return f"{paths[0]} and {len(paths) - 1} more variables"


def _coding(opened: container.Container, section: container.Section) -> str:
    spec = opened.spec(section.name)
    if section.coding == "uniform":
        return f"{spec['bits']} bits, a scale per {spec['per']}"
    if section.coding == "planes":
        return f"{spec['dtype']}, entropy-coded"
    if section.coding == "raw":
        return spec["dtype"]
    if section.coding == "blocks":
        return "float32 of few digits"
    return section.coding
