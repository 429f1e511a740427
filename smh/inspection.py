"""What is inside an artifact, byte by byte: `smh.inspect`. Needs neither Keras nor TensorFlow."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smh import container
from smh.artifact_layout import SECTION, Stored, read_layout

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Part:
    """A range of bytes of the file.

    Attributes:
        name: of the tensor, or `header`.
        holds: the paths of the variables in it, or what it is.
        coding: how its numbers are stored: `uniform`, `raw`, ..., and in which type.
        numbers: how many numbers it holds.
        offset: its first byte in the file.
        bytes: its length, checksum included.
    """

    name: str
    holds: str
    coding: str
    numbers: int
    offset: int
    bytes: int


@dataclass(frozen=True)
class Inspection:
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
        from rich.table import Table

        table = Table(title=f"{self.path}: {', '.join(self.models)}", title_justify="left")
        table.add_column("part", no_wrap=True)
        table.add_column("holds", overflow="fold", ratio=1)
        table.add_column("coding", overflow="fold")
        table.add_column("numbers", justify="right", no_wrap=True)
        table.add_column("bytes", justify="right", no_wrap=True)
        table.add_column("bits per\nnumber", justify="right", no_wrap=True)
        for part in self.parts:
            each = f"{8 * part.bytes / part.numbers:.2f}" if part.numbers else ""
            count = f"{part.numbers:,}" if part.numbers else ""
            table.add_row(part.name, part.holds, part.coding, count, f"{part.bytes:,}", each)
        table.add_section()
        table.add_row("file", "", "", "", f"{self.bytes:,}", "", style="bold")
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(
            file=io.StringIO(),
            width=max(80, min(Console().width, 120)),
            record=True,
            force_jupyter=False,
        )
        console.print(self)
        return console.export_text().rstrip()


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
    parts = [Part("header", "names, codings, shapes", "deflated JSON", 0, 0, opened.header_size)]
    for section in opened.sections:
        parts.append(
            Part(
                section.name,
                _holds(section.name, stored),
                _coding(opened, section),
                0 if section.name == SECTION else math.prod(section.shape),
                section.offset,
                section.length,
            )
        )
    return Inspection(opened.path, tuple(parts), tuple(model.name for model in stored.models))


def _holds(tensor: str, stored: Stored) -> str:
    if tensor == SECTION:
        return "architecture, and how it is compressed"
    paths = stored.paths_in(tensor)
    if len(paths) <= 3:
        return ", ".join(paths)
    return f"{paths[0]} and {len(paths) - 1} more variables"


def _coding(opened: container.Container, section: container.Section) -> str:
    if section.name == SECTION:
        return "deflated JSON"
    spec = opened.spec(section.name)
    if section.coding == "uniform":
        return f"{spec['bits']} bits, a scale per {spec['per']}"
    if section.coding == "raw":
        return spec["dtype"]
    return section.coding
