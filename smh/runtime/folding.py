"""Computes with NumPy what a LiteRT file computes from constants alone.

A file with factors has to keep the converter from doing this, by a zero that depends on the input
(`smh.exporting.litert`). Here it is known: it is the lesser of zero and a truth value, or a size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smh.runtime.litert_file import DTYPES, INT4, LitertFile
from smh.runtime.operations import COMPUTE, densified, dequantized

_SIZES = {"SHAPE", "STRIDED_SLICE", "GATHER", "RESHAPE", "CAST"}  # of sizes these make sizes

_STORED = {"DEQUANTIZE": dequantized, "DENSIFY": densified}  # these look at how it is stored


class Folding:
    """What is known of the tensors of one graph.

    Args:
        file: the file.
        graph: one of its graphs; `fold` changes it.
    """

    def __init__(self, file: LitertFile, graph: Any):
        self._file, self._graph = file, graph
        self._known: dict[int, np.ndarray] = {}
        self._not_negative: set[int] = set()

    def fold(self) -> None:
        """Leaves out the operations whose results are known, and makes constants of these.

        What has to be computed from one of eight bits or less by `DEQUANTIZE` alone stays so, in
        eight bits: runtimes are as fast with it as with a constant, and it is smaller.
        """
        kept, made = [], {}
        for operation in self._graph.operators:
            values = self._values(operation)
            if values is None:
                kept.append(operation)
            else:
                outputs = [int(number) for number in operation.outputs]
                self._known.update(zip(outputs, values, strict=True))
                made.update({number: operation for number in outputs})
        used = {int(n) for operation in kept for n in operation.inputs}
        used |= {int(number) for number in self._graph.outputs}
        first = []
        for number in sorted(used & made.keys()):
            if self._file.kind(made[number]) == "DEQUANTIZE" and self._widened(made[number]):
                first.append(made[number])
            else:
                self._file.fill(self._graph.tensors[number], self._known[number])
        self._graph.operators = [*first, *kept]
        self._drop_unused()

    def _values(self, operation: Any) -> list[np.ndarray] | None:
        """What an operation returns, or `None` if that is not known."""
        file, kind = self._file, self._file.kind(operation)
        outputs = [self._graph.tensors[int(number)] for number in operation.outputs]
        if self._is_zero(operation, kind):
            return [np.zeros(_shape(outputs[0]), DTYPES[outputs[0].type])]
        if kind in _STORED:
            value = _STORED[kind](file, self._graph.tensors[int(operation.inputs[0])])
            return None if value is None else [value]
        inputs = [self._value(int(number)) for number in operation.inputs]
        missing = [i for i, n in zip(inputs, operation.inputs, strict=True) if i is None and n >= 0]
        if missing or not inputs or kind not in COMPUTE:
            return None
        found = COMPUTE[kind](operation.builtinOptions, *inputs)
        if found is None:
            return None
        values = found if isinstance(found, list) else [found]
        return [v.astype(DTYPES[t.type]) for v, t in zip(values, outputs, strict=True)]

    def _value(self, number: int) -> np.ndarray | None:
        if number < 0:
            return None
        if number not in self._known:
            constant = self._file.constant(self._graph.tensors[number])
            if constant is None:
                return None
            self._known[number] = constant
        return self._known[number]

    def _is_zero(self, operation: Any, kind: str) -> bool:
        """Whether it is the lesser of zero and what is never negative."""
        inputs = [int(number) for number in operation.inputs]
        if kind in _SIZES:
            given = inputs[0] in self._not_negative or kind == "SHAPE"
            truth = DTYPES.get(self._graph.tensors[inputs[0]].type) == "bool" and kind == "CAST"
            if given or truth:
                self._not_negative.update(int(number) for number in operation.outputs)
        if kind != "MINIMUM":
            return False
        for one, other in (inputs, inputs[::-1]):
            value = self._value(other)
            if one in self._not_negative and value is not None and value.size == 1:
                return not value.any()
        return False

    def _widened(self, operation: Any) -> bool:
        """Whether an operation makes floats of at most eight bits; of eight bits from now on."""
        tensor = self._graph.tensors[int(operation.inputs[0])]
        if DTYPES.get(tensor.type) == "int8":
            return True
        numbers = self._file.nibbles(tensor)
        if tensor.type != INT4 or numbers is None:
            return False
        tensor.type = {dtype: number for number, dtype in DTYPES.items()}["int8"]
        self._file.fill(tensor, numbers)
        return True

    def _drop_unused(self) -> None:
        """Leaves out operations whose results nothing reads; one without results does something."""
        used = {int(number) for number in self._graph.outputs}
        kept = []
        for operation in reversed(self._graph.operators):
            outputs = {int(number) for number in operation.outputs}
            if not outputs or outputs & used:
                kept.append(operation)
                used |= {int(number) for number in operation.inputs}
        self._graph.operators = kept[::-1]


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
