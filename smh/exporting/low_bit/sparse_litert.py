"""A tensor without its zeros, as LiteRT stores it: the places in each row of the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from smh.runtime.litert_file import object_of

_FEWEST = 256  # numbers that are worth an operation
_WORTH = 0.9  # of the dense bytes
_VECTORS = {"uint8": "Uint8Vector", "uint16": "Uint16Vector", "int32": "Int32Vector"}


def is_smaller_sparse(array: np.ndarray) -> bool:
    """Whether a constant takes clearly fewer bytes without its zeros."""
    if array.dtype != np.float32 or array.ndim < 2 or array.size < _FEWEST:
        return False
    nonzero = int(np.count_nonzero(array))
    rows = array.size // array.shape[-1]
    places = nonzero * np.dtype(_dtype(array.shape[-1] - 1)).itemsize
    ends = (rows + 1) * np.dtype(_dtype(nonzero)).itemsize
    return nonzero * 4 + places + ends < _WORTH * array.nbytes


def sparsity(schema: Any, array: np.ndarray) -> Any:
    """The schema's `SparsityParametersT` of an array."""
    rows = array.reshape(-1, array.shape[-1]) != 0
    ends = np.concatenate([[0], np.cumsum(rows.sum(axis=1))])
    places = np.nonzero(rows)[1]
    kind = schema.DimensionMetadataT
    dense = [object_of(kind, format=0, denseSize=size) for size in array.shape[:-1]]
    last = object_of(kind, format=schema.DimensionType.SPARSE_CSR)
    last.arraySegmentsType, last.arraySegments = _vector(schema, ends)
    last.arrayIndicesType, last.arrayIndices = _vector(schema, places)
    order = np.arange(array.ndim, dtype=np.int32)
    return object_of(schema.SparsityParametersT, traversalOrder=order, dimMetadata=[*dense, last])


def _vector(schema: Any, numbers: np.ndarray) -> tuple[int, Any]:
    dtype = _dtype(int(numbers.max(initial=0)))
    name = _VECTORS[dtype]
    vector = object_of(getattr(schema, f"{name}T"), values=numbers.astype(dtype))
    return getattr(schema.SparseIndexVector, name), vector


def _dtype(largest: int) -> str:
    return "uint8" if largest < 2**8 else "uint16" if largest < 2**16 else "int32"
