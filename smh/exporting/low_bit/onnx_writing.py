"""Puts whole numbers in the place of an ONNX file's floats.

As int8 or int16, or several to a byte where they have at most four bits. They are cast and
multiplied by their steps, shared values are gathered: `onnxruntime` computes that once, when it
loads the file. Not by `DequantizeLinear`: onnxruntime (1.32) computes that in every call, and
where a product follows, it rounds the *activations* to eight bits, unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from smh.exporting.low_bit.matching import Found, Match, Whole, match, narrowed
from smh.exporting.onnx_names import graphs_of

_BYTE = 8
_WIDTHS = (1, 2, 4, 8, 16)  # of integers, in bits
_FEWEST = 1024  # numbers that are worth the operations that compute them
_WORTH = 0.9  # of the dense bytes


def with_integers(proto: Any, weights: Sequence[Whole], pruned: bool = False) -> Found:
    """Changes `proto`; returns which weights were found.

    Args:
        proto: an ONNX model.
        weights: what may be in it.
        pruned: whether floats with many zeros are to be without them.
    """
    from onnx import numpy_helper

    found = Found(_WIDTHS)
    for graph_number, graph in enumerate(graphs_of(proto.graph)):
        kept = []
        writer = _Writer(f"smh{graph_number}")
        for stored in graph.initializer:
            constant = numpy_helper.to_array(stored)
            matched = match(constant, weights)
            if matched is not None and found.is_worth(matched):
                writer.write(matched, stored.name)
            elif pruned and _is_smaller_sparse(constant):
                writer.write_sparse(constant, stored.name)
            else:
                kept.append(stored)
        kept += writer.initializers
        nodes = [*writer.nodes, *graph.node]
        del graph.initializer[:], graph.node[:]
        graph.initializer.extend(kept)
        graph.node.extend(nodes)
    return found


class _Writer:
    """The nodes of a graph that compute tensors which were constants.

    Their names are short: those of TensorFlow take more bytes here than small weights.
    """

    def __init__(self, prefix: str):
        self._prefix = prefix
        self._count = 0
        self._shared: dict[bytes, str] = {}
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def write(self, found: Match, name: str) -> None:
        """Writes all that computes the tensor `name`."""
        from onnx import TensorProto

        if found.table is None:
            floats = self._floats(found.numbers, found.bits)
        else:
            stored = self._stored(found.numbers, found.bits, signed=False)
            indices = self._node("Cast", [stored], to=TensorProto.INT32)
            floats = self._node("Gather", [self._constant(found.table), indices], axis=0)
        *first, last = found.scales
        for scale in first:
            floats = self._node("Mul", [floats, self._constant(scale)])
        # Also where all is 1: it is the last node, which bears the name.
        self._node("Mul", [floats, self._constant(last)], name)

    def write_sparse(self, constant: np.ndarray, name: str) -> None:
        """Writes what computes the tensor `name` from all numbers but zero and a bit for each.

        The place of a number among those stored is how many bits before it are set.
        """
        from onnx import TensorProto

        flat = constant.ravel()
        bits = self._stored((flat != 0).astype(np.int32), 1, signed=False)  # [numbers]
        ones = self._node("Cast", [bits], to=TensorProto.INT32)
        first = self._constant(np.array(0, np.int32))
        before = self._node("CumSum", [ones, first], exclusive=1)
        kept = np.append(flat[flat != 0], np.float32(0))  # one more, for zeros at the end
        values = self._node("Gather", [self._constant(kept), before], axis=0)
        numbers = self._node("Mul", [values, self._node("Cast", [bits], to=TensorProto.FLOAT)])
        self._node("Reshape", [numbers, self._constant(np.array(constant.shape))], name)

    def _floats(self, numbers: np.ndarray, bits: int) -> str:
        """Signed numbers as floats."""
        from onnx import TensorProto

        width = _width(bits)
        lowest = 0 if width is None else 2 ** (width - 1)
        stored = self._stored(numbers + lowest, bits, signed=width is None)
        floats = self._node("Cast", [stored], to=TensorProto.FLOAT)
        if not lowest:
            return floats
        return self._node("Sub", [floats, self._constant(np.float32(lowest))])

    def _stored(self, numbers: np.ndarray, bits: int, signed: bool) -> str:
        """The numbers as small integers, of as few bytes as they take."""
        width = _width(bits)
        if width is not None:
            return self._unpacked(numbers, width)
        kind = f"{'' if signed else 'u'}int{8 if bits <= 8 else 16}"
        return self._constant(narrowed(numbers, kind))

    def _unpacked(self, numbers: np.ndarray, width: int) -> str:
        """`8 / width` numbers, not negative, are in a byte, the first in the lowest bits.

        Those above it are shifted out of the byte, and then those below: operations that every
        version of every runtime has, other than ONNX's own type of four bits.
        """
        stored = packed(numbers, width)
        above = np.arange(_BYTE - width, -1, -width, dtype=np.uint8)
        up = self._node("BitShift", [self._constant(a) for a in (stored, above)], direction="LEFT")
        rest = self._constant(np.array(_BYTE - width, np.uint8))
        digits = self._node("BitShift", [up, rest], direction="RIGHT")  # [bytes, 8 / width]
        if stored.size * _BYTE // width > numbers.size:  # the last byte is not full
            flat = self._node("Reshape", [digits, self._constant(np.array([-1]))])
            ends = [self._constant(np.array([end])) for end in (0, numbers.size)]
            digits = self._node("Slice", [flat, *ends])
        return self._node("Reshape", [digits, self._constant(np.array(numbers.shape))])

    def _constant(self, array: Any) -> str:
        from onnx import numpy_helper

        stored = numpy_helper.from_array(np.asarray(array))
        key = stored.SerializeToString()
        if key not in self._shared:
            self._shared[key] = stored.name = self._new_name()
            self.initializers.append(stored)
        return self._shared[key]

    def _node(self, kind: str, inputs: list[str], name: str | None = None, **fields: Any) -> str:
        from onnx import helper

        output = name or self._new_name()
        self.nodes.append(helper.make_node(kind, inputs, [output], **fields))
        return output

    def _new_name(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"


def _width(bits: int) -> int | None:
    """Of the fields in which numbers share a byte, or `None`: they take one each, or more."""
    return next((width for width in (1, 2, 4) if bits <= width), None)


def packed(numbers: np.ndarray, width: int) -> np.ndarray:
    """Numbers of `width` bits, `8 / width` of them in a byte, uint8 `[bytes, 1]`."""
    each = _BYTE // width
    flat = np.zeros(-(-numbers.size // each) * each, np.uint8)
    assert 0 <= numbers.min(initial=0) and numbers.max(initial=0) < 2**width
    flat[: numbers.size] = numbers.ravel()
    shifted = flat.reshape(-1, each) << np.arange(0, _BYTE, width, dtype=np.uint8)
    return np.bitwise_or.reduce(shifted, axis=1, keepdims=True).astype(np.uint8)


def _is_smaller_sparse(array: np.ndarray) -> bool:
    if array.dtype != np.float32 or array.size < _FEWEST:
        return False
    return 4 * int(np.count_nonzero(array)) + array.size / _BYTE < _WORTH * array.nbytes
