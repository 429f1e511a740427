"""One call of a layer, as its rule gets it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from smh.doors.slimming.labels import Channels, whole
from smh.doors.slimming.wiring import Wiring


@dataclass(frozen=True, eq=False)
class Seen:
    """A call.

    Attributes:
        layer: the layer or operation.
        inputs: the tensors among its arguments, in their order.
        shapes: of what it gives, with the batch.
        args: its arguments, with `Channels` for tensors.
        kwargs: those by name.
    """

    layer: Any
    inputs: Sequence[Channels]
    shapes: Sequence[tuple[int | None, ...]]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def training(self) -> bool:
        """Whether the graph says so: what `fit` and `predict` say goes before it."""
        return bool(self.kwargs.get("training"))

    @property
    def positions(self) -> int | None:
        """How many places of the first output share its channels, for one example, or `None`."""
        return product(self.shapes[0][1:-1])


# Says how labels go through a call; returns the outputs, or `None` if it does not know.
Rule = Callable[[Seen, Wiring], Sequence[Channels] | None]


def product(sizes: Sequence[int | None]) -> int | None:
    """The product, or `None` if one is free."""
    return None if None in sizes else math.prod(n for n in sizes if n is not None)


def channel_axis(layer: Any, shape: Sequence[int | None]) -> int:
    """The axis of a layer's channels, from the end, by its `data_format`."""
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return 1 - len(shape) if first else -1


def all_whole(seen: Seen) -> list[Channels]:
    """Outputs of which nothing can be cut."""
    return [whole(shape) for shape in seen.shapes]
