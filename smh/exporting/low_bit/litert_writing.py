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

from smh.exporting.low_bit.matching import Match, Whole, match
from smh.exporting.low_bit.sparse_litert import is_smaller_sparse, sparsity
from smh.runtime.litert_file import INT4, LitertFile

_OF_AXES, _OF_INT4, _OF_INT16, _OF_INT8 = 5, 6, 3, 2  # versions of DEQUANTIZE


def with_integers(
    content: bytes, weights: Sequence[Whole], pruned: bool = False
) -> tuple[bytes, set[str]]:
    """Returns a file, changed, and the paths of the weights that were found in it.

    Args:
        content: a LiteRT file.
        weights: what may be in it.
        pruned: whether floats with many zeros are to be without them.
    """
    # TensorFlow has the schema as well, if not that of today.
    own = importlib.util.find_spec("ai_edge_litert") is not None
    file = LitertFile(content, "ai_edge_litert" if own else "tensorflow.lite.python")
    found: set[str] = set()
    for graph in file.model.subgraphs:
        given = {int(number) for number in [*graph.inputs, *graph.outputs]}
        writer = _Writer(file, graph)
        for number, tensor in enumerate(list(graph.tensors)):
            constant = None if number in given else file.constant(tensor)
            matched = None if constant is None else match(constant, weights)
            if matched is not None:
                writer.write(number, matched)
                found.add(matched.path)
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
        scale = np.where(found.scale == 0, 1, found.scale).astype(np.float32)
        numbers = np.where(found.scale == 0, 0, found.numbers)
        axes = [axis for axis, size in enumerate(scale.shape) if size > 1]
        if len(axes) > (1 if found.bits <= 8 else 0):
            floats = self._dequantized(name, numbers, found.bits, np.ones(1, np.float32), 0)
            self._multiplied(floats, scale, number)
        else:
            axis = axes[0] if axes else 0
            self._dequantized(name, numbers, found.bits, scale.ravel(), axis, output=number)

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
            floats = file.add_constant(
                graph,
                f"{name}/indices",
                found.numbers.astype("uint8" if found.bits <= 8 else "int32"),
            )
        indices = file.add_tensor(graph, f"{name}/cast", shape, "int32")
        self._add("CAST", [floats], [indices], "CastOptions")
        plain = bool((found.scale == 1).all())
        gathered = number if plain else file.add_tensor(graph, f"{name}/values", shape, "float32")
        self._add("GATHER", [table, indices], [gathered], "GatherOptions", axis=0)
        if not plain:
            self._multiplied(gathered, found.scale, number)

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
        whole = (numbers - zero).astype("int16" if kind == "int16" else "int8")
        file.fill(tensor, _in_nibbles(whole) if kind == INT4 else whole)
        tensor.shape = np.array(numbers.shape, np.int32)
        tensor.quantization = file.schema.QuantizationParametersT(
            scale=scale, zeroPoint=np.full(scale.size, -zero, np.int64), quantizedDimension=axis
        )
        if output is None:
            output = file.add_tensor(graph, f"{name}/floats", numbers.shape, "float32")
        versions = {INT4: _OF_INT4, "int16": _OF_INT16, "int8": _OF_INT8}
        version = max(versions[kind], _OF_AXES if scale.size > 1 else 0)
        self._add("DEQUANTIZE", [stored], [output], "DequantizeOptions", version)
        return output

    def _multiplied(self, floats: int, scale: np.ndarray, output: int) -> None:
        factor = self._file.add_constant(self._graph, "scale", scale)
        self._add("MUL", [floats, factor], [output], "MulOptions")

    def _add(self, kind, inputs, outputs, options, version=1, **fields) -> None:
        self.operations.append(
            self._file.operation(kind, inputs, outputs, options, version, **fields)
        )


def _in_nibbles(numbers: np.ndarray) -> np.ndarray:
    """int8 numbers of four bits, two to a byte, the first in the lower half."""
    flat = numbers.ravel().view(np.uint8) & 15
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return flat[::2] | flat[1::2] << 4
