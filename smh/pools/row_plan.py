"""Which rows of a matrix to compute: integers only.

Where weights bear scales of their own: a weight that is a slice of `M = L @ R` times a number is
the same slice of `(s * L) @ R`, and `L` has a small part of the numbers of `M`. Only the rows in
which two weights meet have to be computed once for each of them.

Where a weight is computed by itself: from which row on, so that it can be used where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smh.index_store import MOST_ELEMENTS, Slot

# A weight of its own scale adds at most one row to the product: here at most 1/16 of its rows.
_FEWEST_ROWS = 16

# TensorFlow's slice of a flat tensor is a view where it begins and ends at multiples of 64 bytes
# (`IsDim0SliceAligned`; the alignment is Eigen's, at most 64), and a copy elsewhere.
_ALIGNED = 16  # float32 numbers
# At most 15 rows come in front: here at most an eighth of the rows, on average a sixteenth.
_FEWEST_ROWS_TO_ALIGN = 120


@dataclass(frozen=True)
class RowPlan:
    """The rows to compute, one below the other, and how to cut the flat result.

    Attributes:
        rows: `[k]`, numbers of the matrix's rows.
        owners: `[k]`, for each row one plus the number of the slot whose scale it bears; 0: none.
        sizes: lengths of the pieces of the flat result, in order; they sum to `k * cols`.
        pieces: for each slot, the number of its piece.
        scaled: for each slot, whether its piece bears its scale.
    """

    rows: np.ndarray
    owners: np.ndarray
    sizes: tuple[int, ...]
    pieces: tuple[int, ...]
    scaled: tuple[bool, ...]


def plan_rows(slots: Sequence[Slot], has_scale: Sequence[bool], cols: int) -> RowPlan | None:
    """Plans to scale the rows of the larger weights of `slots`, or returns `None`: no gain.

    The slots must be disjoint ranges without padding; for others the answer is `None`.
    """
    scaled = tuple(
        wanted and slot.length >= _FEWEST_ROWS * cols
        for slot, wanted in zip(slots, has_scale, strict=True)
    )
    if not any(scaled) or not _disjoint(slots):
        return None
    rows: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    sizes: list[int] = []
    pieces = [0] * len(slots)
    for group in _groups(slots, scaled):
        begin, stop = slots[group[0]].begin, slots[group[-1]].begin + slots[group[-1]].length
        first, last = begin // cols, -(-stop // cols)
        rows.append(np.arange(first, last))
        owners.append(np.full(last - first, scaled[group[0]] * (group[0] + 1)))
        position = first * cols
        for number in group:
            slot = slots[number]
            if slot.begin > position:
                sizes.append(slot.begin - position)  # of another weight, or of none
            pieces[number] = len(sizes)
            sizes.append(slot.length)
            position = slot.begin + slot.length
        if last * cols > position:
            sizes.append(last * cols - position)
    if sum(sizes) > MOST_ELEMENTS:
        return None
    all_rows = np.concatenate(rows).astype(np.int32)
    all_owners = np.concatenate(owners).astype(np.int32)
    return RowPlan(all_rows, all_owners, tuple(sizes), tuple(pieces), scaled)


def first_entry(start: int, stop: int, cols: int) -> int:
    """Returns where to begin computing whole rows of `cols` entries for entries `start` to `stop`.

    That is the begin of the row of `start`, or of one up to 15 rows earlier from which the distance
    to `start` is a multiple of 64 bytes. The weight is then a view of the rows; else it is copied
    out of them, which takes its memory a second time, and longer than computing a few more rows.
    """
    row = start // cols
    if stop - start >= _FEWEST_ROWS_TO_ALIGN * cols and (stop - start) % _ALIGNED == 0:
        for earlier in range(row, max(row - _ALIGNED, -1), -1):
            if (start - earlier * cols) % _ALIGNED == 0:
                return earlier * cols
    return row * cols


def _disjoint(slots: Sequence[Slot]) -> bool:
    ranges = sorted((slot.begin, slot.begin + slot.length) for slot in slots)
    whole = all(len(slot.segments) == 1 and not slot.padding for slot in slots)
    return whole and all(a[1] <= b[0] for a, b in zip(ranges, ranges[1:], strict=False))


def _groups(slots: Sequence[Slot], scaled: Sequence[bool]) -> list[list[int]]:
    """Slots by their place: each scaled one alone, those between two together."""
    groups: list[list[int]] = []
    for number in sorted(range(len(slots)), key=lambda n: slots[n].begin):
        if groups and not scaled[number] and not scaled[groups[-1][0]]:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
