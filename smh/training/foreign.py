"""What a file is that a command does not open, and how to get a `.keras` from it. Needs no Keras.

That is a foreign file, or one of smh's own in the wrong place. Seen by its first bytes, or by its
suffix where these tell nothing.
"""

from __future__ import annotations

import os
import zipfile

from smh.container import MAGIC
from smh.errors import ArgumentError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_IMPORT = "smh import {} --to new.keras reads it"
_SAVED_MODEL = (
    "a SavedModel of TensorFlow, which Keras 3 cannot change: where tf_keras is installed, "
    "tf_keras.models.load_model({0!r}).save('old.h5'), then smh import old.h5 --to new.keras"
)
_TORCH = (
    "a file of PyTorch: build the same network in Keras, and give its layers the weights "
    "(layer.set_weights; a kernel [out, in, h, w] is [h, w, in, out] in Keras, a matrix is "
    "transposed), then model.save('new.keras')"
)
_WEIGHTS = "a file of weights alone: build the model, model.load_weights({0!r}), and save it"
_INFERENCE = (
    "a file for inference, which smh writes and does not read: give the model that it was made "
    "from. What runs it also measures it: ai-edge-litert a .tflite, onnxruntime an .onnx"
)
_OWN = (
    "a {1} already, which smh report {0!r} and most other commands read; smh import reads the .h5 "
    "files that old versions of Keras wrote"
)
_RENAMED = "a {1} under another name: give it one that ends as its kind"
_BY_SUFFIX = {
    (".pt", ".pth", ".ckpt", ".safetensors"): _TORCH,
    (".tflite", ".onnx", ".pb"): _INFERENCE,
}


def explained(path: str) -> str:
    """Says that `path` is no model that can be opened here, what it is, and what to do."""
    own = _own(path)
    if own is not None:
        named = os.path.isdir(path) or path.endswith(own.removesuffix(" file"))
        return f"'{path}' is {(_OWN if named else _RENAMED).format(path, own)}."
    what = _foreign(path)
    if what is None:
        return f"'{path}' is no .keras file, no .smh file and no run directory."
    return f"'{path}' is {what.format(path)}."


def refuse_foreign(path: str) -> None:
    """Raises `ArgumentError` if `path` is known to be a file of others, and says which."""
    if _own(path) is None and _foreign(path) is not None:
        raise ArgumentError(explained(path))


def _own(path: str) -> str | None:
    """What of smh's own it is."""
    if os.path.isdir(path):
        return "run directory" if {"config.json", "data.json"} <= set(os.listdir(path)) else None
    if not os.path.isfile(path):
        return None
    if _begins_with(path, MAGIC):
        return ".smh file"
    return ".keras file" if {"config.json", "metadata.json"} <= set(_names_in(path)) else None


def _foreign(path: str) -> str | None:
    if os.path.isdir(path):
        return _SAVED_MODEL if os.path.isfile(os.path.join(path, "saved_model.pb")) else None
    if not os.path.isfile(path):
        return None
    if is_hdf5(path):
        if path.endswith(".weights.h5"):
            return _WEIGHTS
        return f"an HDF5 file, as old versions of Keras wrote them: {_IMPORT}"
    if any(name.endswith("/data.pkl") for name in _names_in(path)):
        return _TORCH
    return next((what for ends, what in _BY_SUFFIX.items() if path.endswith(ends)), None)


def is_hdf5(path: str) -> bool:
    """Whether a file begins as HDF5 files do."""
    return _begins_with(path, _HDF5)


def _begins_with(path: str, magic: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic


def _names_in(path: str) -> list[str]:
    """The files in a zip archive; none if it is none."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()
