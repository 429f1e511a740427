"""IDX files, the format of MNIST and of sets made after it: two zeros, type, rank, lengths, bytes.

Reference: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from smh.errors import DataFormatError

_GZIP = b"\x1f\x8b"
_BYTES = 8  # the code of unsigned bytes


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Reads one IDX file of bytes, plain or in gzip, whatever its name ends in.

    Args:
        path: the file.
        rank: number of dimensions it must have: 3 for images, 1 for labels.

    Returns:
        The numbers, uint8, in the shape that the file states.

    Raises:
        DataFormatError: the file is no IDX file, has another type or rank, or more or fewer bytes
            than its shape needs. The message names it.
    """
    data = _unpacked(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataFormatError(
            f"{path} is not an IDX file: it begins with {data[:4].hex(' ') or 'nothing'}, expected "
            f"00 00 08 0{rank}."
        )
    if data[2] != _BYTES or data[3] != rank:
        raise DataFormatError(
            f"{path} has the magic number {data[:4].hex(' ')}, expected 00 00 08 0{rank} "
            f"(unsigned bytes, rank {rank})."
        )
    begin = 4 + 4 * rank
    shape = tuple(int(n) for n in np.frombuffer(data[4:begin].ljust(4 * rank, b"\0"), ">u4"))
    needed = begin + math.prod(shape)
    if len(data) != needed:
        what = "is truncated" if len(data) < needed else "is too long"
        raise DataFormatError(
            f"{path} {what}: its shape {shape} needs {needed:,} bytes with the header, and it has "
            f"{len(data):,}. Get it again."
        )
    return np.frombuffer(data, np.uint8, offset=begin).reshape(shape)


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if data[:2] != _GZIP:
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise DataFormatError(f"{path} is damaged or truncated gzip: {error}. Get it again.") from (
            error
        )
