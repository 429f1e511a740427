"""The elements that are not zero, in any value coding, and where they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from smh.coding import codebook, planes, raw, symbols, uniform
from smh.coding.floats import widen
from smh.coding.payload import Reader, varint
from smh.coding.spec import check_keys, check_shape
from smh.errors import ArgumentError, ArtifactError

VALUES = {"codebook": codebook, "planes": planes, "raw": raw, "uniform": uniform}
MASK, GAPS = range(2)
# Gaps take 8 bytes each while they are decoded, so they are for arrays that are mostly zero.
_LEAST_ZEROS = 4


@dataclass(frozen=True, eq=False)
class Sparse:
    """Stores positions and values of the elements that are not zero.

    Args:
        values: the coding of these elements, as a vector in the order of the flat array. Of a
            coding that takes ready integers, it takes them from `indices`.
        indices: the integers or codebook indices of these elements, if they are known.
        coder: 'range', 'huffman' or 'packed', for the positions.

    The sign of a zero is lost: `mask * weight` leaves many negative zeros.
    """

    values: raw.Raw | planes.Planes | uniform.Uniform | codebook.Codebook = field(
        default_factory=raw.Raw
    )
    indices: np.ndarray | None = None
    coder: str = "range"

    def encode(self, array: np.ndarray) -> tuple[dict, bytes]:
        """Returns spec and payload."""
        symbols.check_coder(self.coder)
        if not isinstance(
            self.values, raw.Raw | planes.Planes | uniform.Uniform | codebook.Codebook
        ):
            raise ArgumentError(
                "values must be Raw, Planes, Uniform or Codebook, got "
                f"{type(self.values).__name__}."
            )
        flat = widen(array).reshape(-1)
        mask = flat != 0
        kept = array.reshape(-1)[mask]
        if self.indices is not None:
            indices = np.asarray(self.indices).reshape(-1)
            if indices.size != kept.size or indices.dtype.kind not in "iu":
                raise ArgumentError(
                    f"{kept.size:,} integer indices expected, one for each element that is not "
                    f"zero; got {indices.size:,} of type {indices.dtype}."
                )
            kept = indices
        spec, payload = self.values.encode(kept)
        spec = {"coding": "sparse", "shape": list(array.shape), "values": spec}
        return spec, _write_positions(mask, self.coder) + payload


def layout(spec: Mapping) -> str:
    """Checks the spec; returns the name of the decoded dtype."""
    check_keys(spec, coding=str, shape=list, values=dict)
    values = spec["values"]
    name = values.get("coding")
    if not isinstance(name, str) or name not in VALUES:
        raise ArtifactError(f"values of a sparse array cannot be coded as {name!r:.80}")
    dtype = VALUES[name].layout(values)
    shape, kept = check_shape(spec), check_shape(values)
    if len(kept) != 1 or kept[0] > math.prod(shape):
        raise ArtifactError(f"{list(kept)} values for a sparse array of shape {list(shape)}")
    return dtype


def decode(spec: Mapping, reader: Reader) -> np.ndarray:
    """Returns the array."""
    shape, inner = check_shape(spec), spec["values"]
    places = _read_positions(reader, math.prod(shape), inner["shape"][0])
    values = VALUES[inner["coding"]].decode(inner, reader)
    array = np.zeros(math.prod(shape), values.dtype)
    array[places] = values
    return array.reshape(shape)


def _write_positions(mask: np.ndarray, coder: str) -> bytes:
    as_mask = bytes([MASK]) + symbols.write(mask.view(np.uint8), 2, coder)
    positions = np.flatnonzero(mask)
    if not 0 < _LEAST_ZEROS * positions.size <= mask.size:
        return as_mask
    gaps, indices = np.unique(np.diff(positions, prepend=-1) - 1, return_inverse=True)
    if gaps.size > symbols.MAX_ALPHABET:
        return as_mask
    head = bytes([GAPS]) + varint(gaps.size) + varint(int(gaps[0]))
    steps = b"".join(varint(int(step) - 1) for step in np.diff(gaps))
    block = symbols.write(indices.astype(np.uint16), gaps.size, coder)
    return min(as_mask, head + steps + block, key=len)


def _read_positions(reader: Reader, size: int, count: int) -> np.ndarray:
    """Returns the places of the `count` values: a mask, or positions in ascending order."""
    mode = reader.take(1, "the kind of the positions")[0]
    if mode == MASK:
        mask = symbols.read(reader, size, 2).view(np.bool_)
        if np.count_nonzero(mask) != count:
            raise reader.error(f"a mask of {np.count_nonzero(mask):,} for {count:,} values")
        return mask
    if mode != GAPS or not 0 < _LEAST_ZEROS * count <= size:
        raise reader.error(f"positions of kind {mode} for {count:,} of {size:,} elements")
    distinct = reader.varint(min(count, symbols.MAX_ALPHABET), "the number of different gaps")
    if not distinct:
        raise reader.error("no gap between the positions")
    gaps = [reader.varint(size, "a gap")]
    for _ in range(distinct - 1):
        gaps.append(gaps[-1] + 1 + reader.varint(size, "a step between gaps"))
    if gaps[-1] >= size:
        raise reader.error(f"a gap of {gaps[-1]:,} between {size:,} elements")
    indices = symbols.read(reader, count, distinct)
    # Summed in Python's integers, which do not overflow: no sum below is larger.
    times = np.bincount(indices, minlength=distinct).tolist()
    if sum(n * (gap + 1) for n, gap in zip(times, gaps, strict=True)) > size:
        raise reader.error(f"a position behind the last of {size:,} elements")
    steps = (np.array(gaps, np.int64) + 1)[indices]
    return np.cumsum(steps, out=steps) - 1
