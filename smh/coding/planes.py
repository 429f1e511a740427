"""Numbers byte by byte: the upper bytes of floats are few different ones, and cost less.

The upper byte of a float holds its sign and most of its exponent. In trained biases, scales and
factors it takes 3 to 6 bits where `Raw` stores 8; the lower bytes are nearly random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smh.coding import raw, symbols
from smh.coding.payload import Reader
from smh.coding.spec import check_shape

layout = raw.layout


@dataclass(frozen=True)
class Planes:
    """Stores every number in full, as `Raw` does, but entropy-coded.

    Args:
        dtype: the type to store; by default the array's own. See `Raw`.
        coder: 'range', 'huffman' or 'packed'.
    """

    dtype: str | None = None
    coder: str = "range"

    def encode(self, array: np.ndarray) -> tuple[dict, bytes]:
        """Returns spec and payload."""
        symbols.check_coder(self.coder)
        spec, full = raw.Raw(self.dtype).encode(array)
        planes = np.frombuffer(full, np.uint8).reshape(-1, raw.item_size(spec["dtype"]))
        blocks = [
            symbols.write(np.ascontiguousarray(plane), 256, self.coder) for plane in planes.T[::-1]
        ]
        return {**spec, "coding": "planes"}, b"".join(blocks)


def decode(spec: Mapping, reader: Reader) -> np.ndarray:
    """Returns the array."""
    count, size = math.prod(check_shape(spec)), raw.item_size(spec["dtype"])
    planes = np.empty((count, size), np.uint8)
    for place in reversed(range(size)):
        planes[:, place] = symbols.read(reader, count, 256)
    return raw.decode(spec, Reader(planes.data.cast("B") if count else b""))
