"""Along which axis of a tensor scales and steps lie, how many they are, and how they broadcast."""

from __future__ import annotations

from collections.abc import Sequence


def axis_of(per: str, rank: int) -> int | None:
    """The axis along which scales lie, by what shares one: the `tensor`, a `row` or a `column`."""
    return {"tensor": None, "row": 0, "column": rank - 1}[per]


def scale_count(shape: Sequence[int], per: str) -> int:
    """How many scales there are."""
    axis = axis_of(per, len(shape))
    return shape[axis] if shape and axis is not None else 1


def along(axis: int | None, rank: int) -> list[int]:
    """The shape in which the numbers of one axis broadcast against a tensor; `None`: one number."""
    return [-1 if one == axis else 1 for one in range(rank)]
