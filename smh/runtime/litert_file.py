"""A LiteRT file, opened to be changed: its constants, its operations, and back to bytes.

By the schema that comes with `ai-edge-litert`, which has neither Keras nor TensorFlow in it.
Tensors keep their numbers, which the file's signatures name: new ones come behind the old.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from smh.errors import ArgumentError, MissingPackageError

_IDENTIFIER = b"TFL3"
_SCHEMA = "schema_py_generated"
# Numbers of the schema's `TensorType`. int4 has no dtype in NumPy: two numbers are in a byte.
DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
}
INT4 = 17


def object_of(kind: Any, **fields: Any) -> Any:
    """Makes an object of a schema, whose classes take no arguments before ai-edge-litert 2.1."""
    one = kind()
    for name, value in fields.items():
        getattr(one, name)  # or a misspelt one would be left out of the file
        setattr(one, name, value)
    return one


class LitertFile:
    """A file's model, as the objects of its schema.

    Args:
        content: the file.
        package: has the schema.

    Attributes:
        model: the schema's `ModelT`.
        schema: the schema's module.

    Raises:
        MissingPackageError: there is no schema.
        ArgumentError: it is no LiteRT file.
    """

    def __init__(self, content: bytes, package: str = "ai_edge_litert"):
        self.schema = _schema(package)
        if content[4:8] != _IDENTIFIER:
            raise ArgumentError("It is no LiteRT file: these have 'TFL3' at their fifth byte.")
        self.model = self.schema.ModelT.InitFromObj(self.schema.Model.GetRootAs(content))
        numbers = vars(self.schema.BuiltinOperator).items()
        self._numbers = {name: n for name, n in numbers if isinstance(n, int)}
        self._names = {n: name for name, n in self._numbers.items()}

    def kind(self, operation: Any) -> str:
        """The name of an operation: `'CONV_2D'`."""
        code = self.model.operatorCodes[operation.opcodeIndex]
        # Numbers that had no room in the old field are in the new one alone.
        return self._names[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def constant(self, tensor: Any) -> np.ndarray | None:
        """What a tensor holds, read-only, or `None` if that is computed, sparse or no numbers."""
        data = self.model.buffers[tensor.buffer].data
        if data is None or len(data) == 0 or tensor.type not in DTYPES or tensor.sparsity:
            return None
        numbers = np.frombuffer(np.asarray(data, np.uint8).tobytes(), DTYPES[tensor.type])
        shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        return numbers.reshape(shape)

    def nibbles(self, tensor: Any) -> np.ndarray | None:
        """An int4 constant as int8, or `None`: the first number is in the lower half of a byte."""
        data = self.model.buffers[tensor.buffer].data
        if data is None or tensor.type != INT4:
            return None
        both = np.asarray(data, np.uint8)
        digits = np.stack([both & 15, both >> 4], axis=1).ravel().astype(np.int8)
        shape = tuple(int(size) for size in tensor.shape)
        return ((digits ^ 8) - 8)[: math.prod(shape)].reshape(shape)

    def fill(self, tensor: Any, array: np.ndarray) -> None:
        """Makes a tensor a constant, of a buffer of its own."""
        data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.model.buffers.append(object_of(self.schema.BufferT, data=data))
        tensor.buffer = len(self.model.buffers) - 1
        tensor.shape, tensor.shapeSignature = np.array(array.shape, np.int32), None

    def empty(self, tensor: Any) -> None:
        """Makes a tensor one that an operation computes. The first buffer is always empty."""
        tensor.buffer = 0

    def add_tensor(self, graph: Any, name: str, shape: Sequence[int], dtype: str | int) -> int:
        """Adds a tensor that is computed; returns its number.

        Args:
            graph: one of `model.subgraphs`.
            name: for people.
            shape: all sizes.
            dtype: a dtype, or a number of the schema.
        """
        kind = dtype if isinstance(dtype, int) else {d: n for n, d in DTYPES.items()}[dtype]
        shaped = {"shape": np.array(shape, np.int32), "type": kind}
        tensor = object_of(self.schema.TensorT, **shaped, buffer=0, name=name.encode())
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def add_constant(self, graph: Any, name: str, array: np.ndarray) -> int:
        """Adds a tensor that holds `array`; returns its number."""
        number = self.add_tensor(graph, name, array.shape, str(array.dtype))
        self.fill(graph.tensors[number], array)
        return number

    def operation(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str | None = None,
        version: int = 1,
        **fields: Any,
    ) -> Any:
        """Makes an operation, which is in no graph yet.

        Args:
            kind: its name.
            inputs: numbers of tensors.
            outputs: likewise.
            options: the name of its options' class, without the `T`.
            version: of the operation, that a runtime must have.
            **fields: of the options.
        """
        operation = object_of(
            self.schema.OperatorT,
            opcodeIndex=self._code(kind, version),
            inputs=np.array(inputs, np.int32),
            outputs=np.array(outputs, np.int32),
        )
        if options is not None:
            operation.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operation.builtinOptions = object_of(getattr(self.schema, f"{options}T"), **fields)
        return operation

    def _code(self, kind: str, version: int) -> int:
        codes, number = self.model.operatorCodes, self._numbers[kind]
        for place, code in enumerate(codes):
            if (max(code.builtinCode, code.deprecatedBuiltinCode), code.version) == (
                number,
                version,
            ):
                return place
        codes.append(
            object_of(
                self.schema.OperatorCodeT,
                builtinCode=number,
                deprecatedBuiltinCode=min(number, 127),
                version=version,
            )
        )
        return len(codes) - 1

    def packed(self) -> bytes:
        """The file, without the buffers that no tensor holds any longer."""
        import flatbuffers

        for graph in self.model.subgraphs:
            self._empty_unread(graph)
        self._drop_buffers()
        builder = flatbuffers.Builder(2**20)
        builder.Finish(self.model.Pack(builder), file_identifier=_IDENTIFIER)
        return bytes(builder.Output())

    def _empty_unread(self, graph: Any) -> None:
        """Lets go of constants that nothing reads. The tensors stay, so that numbers do."""
        lists = [graph.inputs, graph.outputs, *(operation.inputs for operation in graph.operators)]
        read = {int(number) for numbers in lists for number in numbers}
        for number, tensor in enumerate(graph.tensors):
            if number not in read and not tensor.isVariable:
                self.empty(tensor)
                tensor.name = tensor.quantization = tensor.sparsity = tensor.shapeSignature = None

    def _drop_buffers(self) -> None:
        model = self.model
        holders = [tensor for graph in model.subgraphs for tensor in graph.tensors]
        holders += model.metadata or []
        kept = sorted({0, *(holder.buffer for holder in holders), *(_listed(model))})
        places = {old: new for new, old in enumerate(kept)}
        for holder in holders:
            holder.buffer = places[holder.buffer]
        if model.metadataBuffer is not None:
            model.metadataBuffer = np.array([places[b] for b in _listed(model)], np.int32)
        model.buffers = [model.buffers[old] for old in kept]


def _listed(model: Any) -> list[int]:
    return [] if model.metadataBuffer is None else [int(b) for b in model.metadataBuffer]


def _schema(package: str) -> Any:
    try:
        return importlib.import_module(f"{package}.{_SCHEMA}")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"To change a LiteRT file {error.name!r} is needed: "
            'pip install "structured-multihashing[litert]"'
        ) from error
