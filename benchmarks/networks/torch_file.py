"""Tensors of a `.pth` file in PyTorch's format of before 2020, without PyTorch.

Four pickles (magic number, version, machine, the tensors as references to storages), the list of
storages, and then each storage: its length as int64, and its numbers. Only what such a file needs
can be unpickled.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import BinaryIO

import numpy as np

_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8", "HalfStorage": "<f2", "DoubleStorage": "<f8"}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, tuple[str, list]] = {}

    def find_class(self, module: str, name: str):
        if name in _TYPES:
            return _TYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in a file of weights")

    def persistent_load(self, reference):
        _, dtype, key, *_ = reference
        self.storages[key] = dtype
        return key


def read_tensors(file: BinaryIO) -> dict[str, np.ndarray]:
    """Returns the tensors by name."""
    for _ in range(3):
        _Unpickler(file).load()
    unpickler = _Unpickler(file)
    described = unpickler.load()
    numbers = {}
    for key in pickle.load(file):
        dtype = np.dtype(unpickler.storages[key])
        count = int.from_bytes(file.read(8), "little")
        numbers[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {
        name: np.lib.stride_tricks.as_strided(
            numbers[storage][offset:], shape, [s * numbers[storage].itemsize for s in strides]
        ).copy()
        for name, (storage, offset, shape, strides) in described.items()
    }
