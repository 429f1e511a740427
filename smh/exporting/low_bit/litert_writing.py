"""Puts whole numbers in the place of a LiteRT file's floats.

A `DEQUANTIZE` stands in front of the operation that wants floats, and the runtime computes it once
for each interpreter. Of int8 its fast kernels (XNNPACK) take the result as they take a constant.
Of int4, int16 and shared values they do not, and a convolution is slow: see `smh.runtime.expand`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from smh.exporting.low_bit.matching import Found, Match, Whole, match, narrowed
from smh.exporting.low_bit.sparse_litert import is_smaller_sparse, sparsity
from smh.runtime.litert_file import INT4, LitertFile, object_of

_OF_AXES, _OF_INT4, _OF_INT16, _OF_INT8 = 5, 6, 3, 2  # versions of DEQUANTIZE
_WIDTHS = (4, 8, 16)  # of integers, in bits


def with_integers(
    content: bytes, weights: Sequence[Whole], pruned: bool = False
) -> tuple[bytes, Found]:
    """Returns a file, changed, and which weights were found in it.

    Args:
        content: a LiteRT file.
        weights: what may be in it.
        pruned: whether floats with many zeros are to be without them.
    """
    # TensorFlow has the schema as well, if not that of today.
    own = importlib.util.find_spec("ai_edge_litert") is not None
    file = LitertFile(content, "ai_edge_litert" if own else "tensorflow.lite.python")
    found = Found(_WIDTHS)
    for graph in file.model.subgraphs:
        given = {int(number) for number in [*graph.inputs, *graph.outputs]}
        writer = _Writer(file, graph)
        for number, tensor in enumerate(list(graph.tensors)):
            constant = None if number in given else file.constant(tensor)
            matched = None if constant is None else match(constant, weights)
            if matched is not None and found.is_worth(matched):
                writer.write(number, matched)
            elif pruned and constant is not None and is_smaller_sparse(constant):
                writer.write_sparse(number, constant)
        graph.operators[:0] = writer.operations
    return file.packed(), found


class _Writer:
    """Makes the operations that compute constants of one graph."""

    def __init__(self, file: LitertFile, graph: Any):
        self._file, self._graph = file, graph
        self.operations: list[Any] = []

    def write(self, number: int, found: Match) -> None:
        """Lets operations compute the tensor `number`, which was a constant."""
        tensor = self._graph.tensors[number]
        self._file.empty(tensor)
        name = tensor.name.decode()
        if found.table is not None:
            self._shared(number, name, found, found.table)
            return
        own, *others = found.scales
        if found.bits > 8 and own.size > 1:  # it has no scales along an axis then
            own, others = np.ones([1] * own.ndim, np.float32), list(found.scales)
        scale = np.where(own == 0, 1, own).astype(np.float32)
        numbers = np.where(own == 0, 0, found.numbers)
        axis = int(np.argmax(scale.shape)) if scale.size > 1 else 0
        output = None if others else number
        floats = self._dequantized(name, numbers, found.bits, scale.ravel(), axis, output=output)
        self._multiplied(floats, others, number)

    def write_sparse(self, number: int, constant: np.ndarray) -> None:
        """Lets `DENSIFY` compute the tensor `number`.

        XNNPACK takes that as a constant for a convolution, not for a matrix.
        """
        file, graph = self._file, self._graph
        tensor = graph.tensors[number]
        stored = file.add_tensor(graph, f"{tensor.name.decode()}/sparse", constant.shape, "float32")
        sparse = graph.tensors[stored]
        file.fill(sparse, constant[constant != 0])
        sparse.shape = np.array(constant.shape, np.int32)
        sparse.sparsity = sparsity(file.schema, constant)
        file.empty(tensor)
        self._add("DENSIFY", [stored], [number], "DensifyOptions")

    def _shared(self, number: int, name: str, found: Match, values: np.ndarray) -> None:
        """`GATHER(table, CAST(DEQUANTIZE(numbers)))`, times a scale where there is one."""
        file, graph, shape = self._file, self._graph, found.numbers.shape
        table = file.add_constant(graph, f"{name}/table", values)
        if found.bits <= 4:
            floats = self._dequantized(name, found.numbers, 4, np.ones(1, np.float32), 0, zero=8)
        else:
            stored = narrowed(found.numbers, "uint8" if found.bits <= 8 else "int16")
            floats = file.add_constant(graph, f"{name}/indices", stored)
        indices = file.add_tensor(graph, f"{name}/cast", shape, "int32")
        self._add("CAST", [floats], [indices], "CastOptions")
        scales = [scale for scale in found.scales if (scale != 1).any()]
        gathered = file.add_tensor(graph, f"{name}/values", shape, "float32") if scales else number
        self._add("GATHER", [table, indices], [gathered], "GatherOptions", axis=0)
        self._multiplied(gathered, scales, number)

    def _dequantized(
        self,
        name: str,
        numbers: np.ndarray,
        bits: int,
        scale: np.ndarray,
        axis: int,
        zero: int = 0,
        output: int | None = None,
    ) -> int:
        """Adds integers and the operation that makes floats of them; returns their tensor."""
        file, graph = self._file, self._graph
        kind = INT4 if bits <= 4 else "int8" if bits <= 8 else "int16"
        stored = file.add_tensor(graph, f"{name}/integers", numbers.shape, kind)
        tensor = graph.tensors[stored]
        whole = narrowed(numbers - zero, "int16" if kind == "int16" else "int8")
        file.fill(tensor, _in_nibbles(whole) if kind == INT4 else whole)
        tensor.shape = np.array(numbers.shape, np.int32)
        tensor.quantization = object_of(
            file.schema.QuantizationParametersT,
            scale=scale,
            zeroPoint=np.full(scale.size, -zero, np.int64),
            quantizedDimension=axis,
        )
        if output is None:
            output = file.add_tensor(graph, f"{name}/floats", numbers.shape, "float32")
        versions = {INT4: _OF_INT4, "int16": _OF_INT16, "int8": _OF_INT8}
        version = max(versions[kind], _OF_AXES if scale.size > 1 else 0)
        self._add("DEQUANTIZE", [stored], [output], "DequantizeOptions", version)
        return output

    def _multiplied(self, floats: int, scales: Sequence[np.ndarray], output: int) -> None:
        """Multiplies with one after the other; the last product is the tensor `output`."""
        for place, scale in enumerate(scales):
            shape, last = self._graph.tensors[output].shape, place == len(scales) - 1
            made = output if last else self._file.add_tensor(self._graph, "", shape, "float32")
            factor = self._file.add_constant(self._graph, "scale", scale)
            self._add("MUL", [floats, factor], [made], "MulOptions")
            floats = made

    def _add(self, kind, inputs, outputs, options, version=1, **fields) -> None:
        self.operations.append(
            self._file.operation(kind, inputs, outputs, options, version, **fields)
        )


def _in_nibbles(numbers: np.ndarray) -> np.ndarray:
    """int8 numbers of four bits, two to a byte, the first in the lower half."""
    assert -8 <= numbers.min(initial=0) and numbers.max(initial=0) < 8
    flat = numbers.ravel().view(np.uint8) & 15
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return flat[::2] | flat[1::2] << 4
