"""What a file is that smh does not open, and how to get a `.keras` from it. Needs no Keras."""

from __future__ import annotations

import os
import zipfile

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
_BY_SUFFIX = {
    (".pt", ".pth", ".ckpt", ".safetensors"): _TORCH,
    (".tflite", ".onnx", ".pb"): _INFERENCE,
}


def explained(path: str) -> str:
    """Says that `path` is no model that smh opens, what it is instead, and what to do."""
    what = _what(path)
    if what is None:
        return f"'{path}' is no .keras file, no .smh file and no run directory."
    return f"'{path}' is {what.format(path)}."


def _what(path: str) -> str | None:
    if os.path.isdir(path):
        return _SAVED_MODEL if os.path.isfile(os.path.join(path, "saved_model.pb")) else None
    if not os.path.isfile(path):
        return None
    if is_hdf5(path):
        if path.endswith(".weights.h5"):
            return _WEIGHTS
        return f"an HDF5 file, as old versions of Keras wrote them: {_IMPORT}"
    if _is_of_torch(path):
        return _TORCH
    return next((what for ends, what in _BY_SUFFIX.items() if path.endswith(ends)), None)


def is_hdf5(path: str) -> bool:
    """Whether a file begins as HDF5 files do."""
    with open(path, "rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def _is_of_torch(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())
