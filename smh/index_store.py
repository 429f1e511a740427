"""Where a weight lies in its pool: integers only, no tensors.

Training, saving and playback all take their addresses from here, so they cannot disagree.
A store hands out *slots* in the order in which they are asked for. A slot is a list of
half-open segments of the flat pool, and a count of padded elements behind them.
"""

from __future__ import annotations

import abc
import enum
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smh.errors import ArgumentError, PoolExhaustedError
from smh.typing import Shape


@dataclass(frozen=True)
class Slot:
    """The address of one weight.

    Attributes:
        begin: the store's position when the slot was handed out.
        length: number of elements of the weight.
        segments: half-open ranges `(start, stop)` of the flat pool, in the weight's order.
        padding: number of elements behind the last segment that no pool entry backs.
    """

    begin: int
    length: int
    segments: tuple[tuple[int, int], ...]
    padding: int = 0


# The most elements of one tensor: backends index them by int32 in many places. A pool may have more
# entries, because it is computed in blocks.
MOST_ELEMENTS = 2**31 - 1


def check_length(length: int) -> None:
    """Raises if one weight of `length` elements is too large to be computed."""
    if length > MOST_ELEMENTS:
        raise ArgumentError(
            f"A weight of {length:,} elements is too large for a pool: at most {MOST_ELEMENTS:,} "
            "(2^31 - 1) can be computed as one tensor. Leave it dense, or split the layer."
        )


def checked_shape(shape: Any) -> Shape:
    """Returns the shape of a weight as a tuple of `int`; raises `ArgumentError`."""
    try:
        sides = tuple(operator.index(side) for side in shape)
    except (TypeError, ValueError):  # a ValueError: TensorFlow's shape of unknown rank
        sides = (-1,)
    if any(side < 0 for side in sides):
        raise ArgumentError(
            "The shape of a weight must be a list of whole numbers, each at least 0, such as "
            f"[3, 4], got {shape!r:.100}."
        )
    return sides


class IndexStoreType(enum.Enum):
    """What happens when more is asked for than the pool holds."""

    basic = "basic"  # an error
    cyclic = "cyclic"  # begin again at the pool's start
    padding = "padding"  # the constant `PADDING_VALUE`


PADDING_VALUE = 0.01


class IndexStore(abc.ABC):
    """Hands out the entries of a pool of `size` entries, first come first served."""

    def __init__(self, size: int):
        self.size = int(size)
        self.position = 0  # where the next slot begins

    def allocate(self, length: int) -> Slot:
        """Returns the slot of the next `length` elements."""
        length = int(length)
        if length < 0:
            raise ArgumentError(f"A slot needs a length of at least 0, got {length}.")
        check_length(length)
        self.check(length)
        slot = self.slot_at(self.position, length)
        self.position = self._advance(self.position + length)
        return slot

    def slot_at(self, begin: int, length: int) -> Slot:
        """Returns the slot of `length` elements that begins at `begin`; nothing is handed out."""
        segments = self._segments(begin, length)
        if any(not 0 <= start <= stop <= self.size for start, stop in segments):
            raise ArgumentError(
                f"A slot of {length:,} elements at {begin:,} does not lie in a pool of "
                f"{self.size:,} entries."
            )
        covered = sum(stop - start for start, stop in segments)
        return Slot(begin, length, segments, length - covered)

    def check(self, length: int) -> None:
        """Raises what `allocate(length)` would raise, and changes nothing."""
        del length

    def _advance(self, stop: int) -> int:
        """The next position behind a slot that ends at `stop`."""
        return stop

    @abc.abstractmethod
    def _segments(self, begin: int, length: int) -> tuple[tuple[int, int], ...]: ...


class BasicIndexStore(IndexStore):
    """Every entry is handed out once; past the end is an error."""

    def check(self, length: int) -> None:
        """Raises if fewer than `length` entries are left."""
        needed = self.position + length
        if needed > self.size:
            raise PoolExhaustedError(
                f"The pool is full: {length:,} entries asked for, {self.position:,} of "
                f"{self.size:,} used, {self.size - self.position:,} free. The smallest "
                f"pool_size that holds all of them is {needed:,}."
            )

    def _segments(self, begin, length):
        return ((begin, begin + length),) if length else ()


class CyclicIndexStore(IndexStore):
    """Element `i` of a slot that begins at `b` is entry `(b + i) mod size`."""

    def _advance(self, stop):
        return stop % self.size

    def _segments(self, begin, length):
        segments = []
        while length:
            step = min(length, self.size - begin)
            segments.append((begin, begin + step))
            begin, length = 0, length - step
        return tuple(segments)


class PaddingIndexStore(IndexStore):
    """Past the end every element is the constant `PADDING_VALUE`."""

    def _advance(self, stop):
        return min(stop, self.size)

    def _segments(self, begin, length):
        stop = min(begin + length, self.size)
        return ((begin, stop),) if stop > begin else ()


_STORES: dict[IndexStoreType, Callable[[int], IndexStore]] = {
    IndexStoreType.basic: BasicIndexStore,
    IndexStoreType.cyclic: CyclicIndexStore,
    IndexStoreType.padding: PaddingIndexStore,
}


def make_index_store(kind: IndexStoreType | str, size: int) -> IndexStore:
    """Returns an empty store of `kind` for a pool of `size` entries."""
    return _STORES[checked_kind(kind)](size)


def checked_kind(kind: Any) -> IndexStoreType:
    """Returns the kind of store that is meant; raises `ArgumentError`."""
    try:
        return IndexStoreType(kind)
    except ValueError:
        names = ", ".join(f"'{t.value}'" for t in IndexStoreType)
        raise ArgumentError(
            f"index_store_type must be one of {names}, got {kind!r:.100}."
        ) from None


def kind_of(store: IndexStore) -> IndexStoreType:
    """Returns the kind that `make_index_store` makes such a store from."""
    return next(kind for kind, cls in _STORES.items() if type(store) is cls)


@dataclass(frozen=True)
class CutPlan:
    """How to cut a range of the flat pool once, so that every slot is a run of whole pieces.

    Attributes:
        start, stop: the range of the flat pool that is cut.
        sizes: lengths of the pieces, in order; they sum to `stop - start`.
        runs: for each slot, for each of its segments, the half-open run of piece numbers.
    """

    start: int
    stop: int
    sizes: tuple[int, ...]
    runs: tuple[tuple[tuple[int, int], ...], ...]

    def blocks(self, most: int) -> list[tuple[int, int]]:
        """Half-open runs of pieces that are computed together, of at most `most` entries each.

        A piece that is longer is a block of its own. Pieces that no slot needs are left out where
        there is more than one block.
        """
        if self.stop - self.start <= most:
            return [(0, len(self.sizes))]
        used = {n for run in self.runs for first, last in run for n in range(first, last)}
        blocks: list[tuple[int, int]] = []
        room = 0
        for number in sorted(used):
            if blocks and blocks[-1][1] == number and self.sizes[number] <= room:
                blocks[-1] = (blocks[-1][0], number + 1)
            else:
                blocks.append((number, number + 1))
                room = most
            room -= self.sizes[number]
        return blocks


def plan_cuts(slots: list[Slot], size: int, granularity: int = 1) -> CutPlan:
    """Plans one split of the flat pool that serves all `slots`, also when they overlap.

    Args:
        slots: the slots to serve.
        size: number of entries of the pool.
        granularity: the range begins and ends at multiples of this (a product's row length).

    Returns:
        A `CutPlan`. For disjoint slots every slot is exactly one piece.
    """
    edges = {edge for slot in slots for segment in slot.segments for edge in segment}
    if not edges:
        return CutPlan(0, 0, (), tuple(() for _ in slots))
    start = min(edges) // granularity * granularity
    stop = min(-(-max(edges) // granularity) * granularity, size)
    cuts = sorted(edges | {start, stop})
    number = {edge: i for i, edge in enumerate(cuts)}
    runs = tuple(tuple((number[a], number[b]) for a, b in slot.segments) for slot in slots)
    return CutPlan(start, stop, tuple(b - a for a, b in zip(cuts, cuts[1:], strict=False)), runs)
