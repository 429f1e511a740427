"""Puts whole numbers in the place of an ONNX file's floats.

As int8 or int16, or several to a byte where they have at most four bits. They are cast and
multiplied by their steps, shared values are gathered: `onnxruntime` computes that once, when it
loads the file. Not by `DequantizeLinear`: onnxruntime (1.32) computes that in every call, and
where a product follows, it rounds the *activations* to eight bits, unasked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from smh.exporting.low_bit.matching import Match, Whole, match

_BYTE = 8
_FEWEST = 1024  # numbers that are worth the operations that compute them
_WORTH = 0.9  # of the dense bytes


def with_integers(proto: Any, weights: Sequence[Whole], pruned: bool = False) -> set[str]:
    """Changes `proto`; returns the paths of the weights that were found.

    Args:
        proto: an ONNX model.
        weights: what may be in it.
        pruned: whether floats with many zeros are to be without them.
    """
    from onnx import numpy_helper

    found: set[str] = set()
    for graph_number, graph in enumerate(_graphs(proto.graph)):
        kept = []
        writer = _Writer(f"smh{graph_number}")
        for stored in graph.initializer:
            constant = numpy_helper.to_array(stored)
            matched = match(constant, weights)
            if matched is not None:
                writer.write(matched, stored.name)
                found.add(matched.path)
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
            unpacked = self._floats(found.numbers, found.bits, signed=False)
            indices = self._node("Cast", [unpacked], to=TensorProto.INT64)
            floats = self._node("Gather", [self._constant(found.table), indices], axis=0)
        # Also where all is 1: it is the last node, which bears the name.
        self._node("Mul", [floats, self._constant(found.scale)], name)

    def write_sparse(self, constant: np.ndarray, name: str) -> None:
        """Writes what computes the tensor `name` from all numbers but zero and a bit for each place.

        The place of a number among those stored is how many bits before it are set.
        """
        from onnx import TensorProto

        flat = constant.ravel()
        bits = self._unpacked((flat != 0).astype(np.int32), 1, signed=False)  # floats, [numbers]
        set_bits = self._node("Cast", [bits], to=TensorProto.INT32)
        before = self._node(
            "CumSum", [set_bits, self._constant(np.array(0, np.int32))], exclusive=1
        )
        stored = np.append(flat[flat != 0], np.float32(0))  # behind the last: zeros at the end
        values = self._node("Gather", [self._constant(stored), before], axis=0)
        numbers = self._node("Mul", [values, bits])
        self._node("Reshape", [numbers, self._constant(np.array(constant.shape))], name)

    def _floats(self, numbers: np.ndarray, bits: int, signed: bool = True) -> str:
        """The numbers as floats."""
        from onnx import TensorProto

        width = next((w for w in (1, 2, 4) if bits <= w), None)
        if width is not None:
            return self._unpacked(numbers, width, signed)
        kind = f"{'' if signed else 'u'}int{8 if bits <= 8 else 16 if bits <= 16 else 32}"
        return self._node("Cast", [self._constant(numbers.astype(kind))], to=TensorProto.FLOAT)

    def _unpacked(self, numbers: np.ndarray, width: int, signed: bool) -> str:
        """`8 / width` numbers are in a byte, the first in the lowest bits.

        By arithmetic in floats, which is exact here and which every version of every runtime has.
        """
        from onnx import TensorProto

        base, lowest = 2**width, 2 ** (width - 1) if signed else 0
        stored = packed(numbers + lowest, width)
        floats = self._node("Cast", [self._constant(stored)], to=TensorProto.FLOAT)  # [bytes, 1]
        shifted = self._floor(floats, 2.0 ** -np.arange(0, _BYTE, width))  # [bytes, 8 / width]
        higher = self._node("Mul", [self._floor(shifted, 1 / base), self._float(base)])
        digits = self._node("Sub", [shifted, higher])
        if stored.size * _BYTE // width > numbers.size:  # the last byte is not full
            flat = self._node("Reshape", [digits, self._constant(np.array([-1]))])
            ends = [self._constant(np.array([end])) for end in (0, numbers.size)]
            digits = self._node("Slice", [flat, *ends])
        whole = self._node("Reshape", [digits, self._constant(np.array(numbers.shape))])
        return self._node("Sub", [whole, self._float(lowest)]) if lowest else whole

    def _floor(self, floats: str, factor: Any) -> str:
        return self._node("Floor", [self._node("Mul", [floats, self._float(factor)])])

    def _float(self, numbers: Any) -> str:
        return self._constant(np.asarray(numbers, np.float32))

    def _constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        stored = numpy_helper.from_array(array)
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


def packed(numbers: np.ndarray, width: int) -> np.ndarray:
    """Numbers of `width` bits, `8 / width` of them in a byte, uint8 `[bytes, 1]`."""
    each = _BYTE // width
    flat = np.zeros(-(-numbers.size // each) * each, np.uint8)
    flat[: numbers.size] = numbers.ravel()
    shifted = flat.reshape(-1, each) << np.arange(0, _BYTE, width, dtype=np.uint8)
    return np.bitwise_or.reduce(shifted, axis=1, keepdims=True).astype(np.uint8)


def _is_smaller_sparse(array: np.ndarray) -> bool:
    if array.dtype != np.float32 or array.size < _FEWEST:
        return False
    return 4 * int(np.count_nonzero(array)) + array.size / _BYTE < _WORTH * array.nbytes


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those of its loops and branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for below in inner:
                yield from _graphs(below)
