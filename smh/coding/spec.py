"""What every coding's spec has in common: exact keys and types, a shape, plausible sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from smh.errors import ArtifactError

MAX_RANK = 32
# A payload of `n` bytes never decodes to more elements than this times `n + FREE_BYTES`, however
# little its symbols cost; a writer that would be below adds zero bytes. So nobody reserves
# gigabytes for a file of a few bytes. FREE_BYTES is what a section costs beside its payload.
ELEMENTS_PER_BYTE = 1024
FREE_BYTES = 64


@dataclass(frozen=True)
class Layout:
    """What a spec says about the array it decodes to: `coding` and `dtype` are names."""

    coding: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def check_keys(spec: Mapping, **kinds: type | tuple[str, ...]) -> None:
    """Raises unless `spec` has these keys and no other, each of its type or one of its names."""
    if set(spec) != set(kinds):
        raise ArtifactError(
            f"coding {spec['coding']!r} has the keys {', '.join(sorted(kinds))}; "
            f"got {', '.join(map(str, sorted(spec))):.200}"
        )
    for key, kind in kinds.items():
        value = spec[key]
        # bool is an int in Python, not in this format.
        if isinstance(kind, tuple):
            if not isinstance(value, str) or value not in kind:
                raise ArtifactError(f"{key} must be one of {', '.join(kind)}, got {value!r:.80}")
        elif type(value) is not kind:
            raise ArtifactError(f"{key} must be of type {kind.__name__}, got {value!r:.80}")


def check_range(spec: Mapping, key: str, low: int, high: int) -> None:
    """Raises unless `low <= spec[key] <= high`."""
    if not low <= spec[key] <= high:
        raise ArtifactError(f"{key} must be {low} to {high:,}, got {spec[key]:,}")


def check_shape(spec: Mapping) -> tuple[int, ...]:
    """Returns the shape in `spec` as a tuple, or raises."""
    shape = spec["shape"]
    if len(shape) > MAX_RANK:
        raise ArtifactError(f"shape has {len(shape)} dimensions, the limit is {MAX_RANK}")
    for length in shape:
        if type(length) is not int or length < 0:
            raise ArtifactError(f"shape must hold integers of at least 0, got {length!r:.80}")
    return tuple(shape)


def least_bytes(shape: tuple[int, ...]) -> int:
    """Returns the smallest number of payload bytes that an array of this shape may have.

    A dimension of length 0 counts as 1, so that the others are bounded as well.
    """
    elements = math.prod(max(length, 1) for length in shape)
    return max(0, -(-elements // ELEMENTS_PER_BYTE) - FREE_BYTES)
