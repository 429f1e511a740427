"""What the dense copies of frozen weights cost, and why they are kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from smh.typing import itemsize
from smh.virtual_variable import Source
from smh.virtual_variable.variable import VirtualVariable

_NAMED = 3  # trained weights


def notes_on_copies(pool: Source, weights: Sequence[VirtualVariable]) -> Iterator[str]:
    """Yields a sentence if weights of a pool keep copies, because others train it or did.

    Args:
        pool: the pool.
        weights: those of the model that is looked at. Others may train the pool as well.
    """
    copies = [weight._snapshot for weight in weights if weight._snapshot is not None]
    if not copies:
        return
    size = sum(math.prod(copy.shape) * itemsize(copy._dtype) for copy in copies)
    keep = "frozen weights keep dense copies" if copies[1:] else "frozen weight keeps a dense copy"
    yield f"{len(copies)} {keep}, {size:,} bytes in memory: {_why(pool)}."


def _why(pool: Source) -> str:
    trained = [user.path for user in pool.users if user.trainable]
    if not trained:
        return "the pool was trained on after they were frozen"
    more = f" and {len(trained) - _NAMED} more" if trained[_NAMED:] else ""
    return (
        f"{', '.join(trained[:_NAMED])}{more} may still train the pool. Freeze them as well, and "
        "copies that equal the pool go; smh.save leaves those out anyway"
    )
