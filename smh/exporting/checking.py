"""What can be asked for of `smh.export`, and what cannot."""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Any

import keras

from smh.errors import ArgumentError, MissingPackageError, UnbuiltModelError
from smh.exporting import litert, onnx_graph
from smh.exporting.signatures import Signature
from smh.tf1.backends import require_tensorflow
from smh.virtual_variable import virtual_variables
from smh.virtual_variable.inside_keras.traces import take_numbers_back

FORMATS = ("saved_model", "litert", "onnx", "micro", "keras")
# What a model does while it is traced, see `running_as`.
MODES = {"factors": "train", "stream": "stream", "dense": "cached"}
SUFFIXES = {"litert": ".tflite", "micro": ".tflite", "onnx": ".onnx", "keras": ".keras"}
# Of these a file is written as if the model was dense.
DENSE = ("micro", "keras")
# These are written by way of a SavedModel.
THROUGH_TENSORFLOW = ("saved_model", "litert", "micro")
_TAKEN = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")  # TensorFlow's own, of operations
OPTIONS = {"litert": litert.OPTIONS, "onnx": onnx_graph.OPTIONS}
_PACKAGES = {"onnx": ("tf2onnx", "onnx"), "micro": ("tflite_micro",)}


def check(model: Any, format: str, mode: str | None, options: dict) -> None:
    """Raises if a model, format, mode or option cannot work."""
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a Keras 3 model, got {type(model).__name__}.")
    take_numbers_back()
    if format not in FORMATS:
        raise ArgumentError(f"format must be one of {_listed(FORMATS)}, got {format!r}.")
    if mode is not None and mode not in MODES:
        raise ArgumentError(f"mode must be one of {_listed(MODES)} or None, got {mode!r}.")
    if not model.built:
        raise UnbuiltModelError(
            f"'{model.name}' is not built: there are no weights to export. Call it once, or "
            "model.build(input_shape)."
        )
    if format in DENSE and mode not in (None, "dense"):
        raise ArgumentError(
            f"format={format!r} holds dense weights only, got mode={mode!r}. Leave mode out, or "
            "choose format='saved_model'."
        )
    if mode in ("factors", "stream") and not virtual_variables(model):
        raise ArgumentError(
            f"mode={mode!r} needs compressed weights, and '{model.name}' has none. Call "
            "smh.compress(model, fraction=...) first, or leave mode out."
        )
    known = OPTIONS.get(format, ())
    for name in options:
        if name not in known:
            takes = _listed(known) if known else "no options"
            raise ArgumentError(f"format={format!r} takes {takes}, got {name!r}.")
    if format == "keras":
        return
    saved = "Save the model (smh.save, or .keras), and export it in a process with"
    require_tensorflow(f"smh.export(format={format!r})", saved)
    missing = [p for p in _PACKAGES.get(format, ()) if importlib.util.find_spec(p) is None]
    if missing:
        raise MissingPackageError(
            f"format={format!r} needs {' and '.join(missing)}: "
            f'pip install "structured-multihashing[{format}]"'
        )


def check_activations(
    format: str, mode: str | None, activations: Any, calibration: Any, options: dict
) -> None:
    """Raises if activations cannot be rounded as asked for."""
    if activations is None and calibration is None:
        return
    if activations not in (None, "int8"):
        raise ArgumentError(f"activations must be 'int8' or None, got {activations!r}.")
    if activations is None or calibration is None:
        raise ArgumentError(
            "activations='int8' and calibration=[examples] go together: the examples show which "
            "numbers there are to round."
        )
    if format not in ("litert", "onnx"):
        raise ArgumentError(
            f"activations='int8' needs format='litert' or 'onnx', got format={format!r}."
        )
    if mode not in (None, "dense"):
        raise ArgumentError(
            f"activations='int8' needs weights that are constants, got mode={mode!r}. Leave mode "
            "out."
        )
    own = {"optimizations", "representative_dataset"} & options.keys()
    if own:
        raise ArgumentError(
            f"activations='int8' sets {', '.join(sorted(own))} itself. Leave one or the other out."
        )
    if format == "onnx" and importlib.util.find_spec("onnxruntime") is None:
        raise MissingPackageError(
            "activations='int8' needs onnxruntime, which has the quantiser: "
            'pip install "structured-multihashing[onnx]"'
        )


def check_names(signature: Signature, format: str) -> None:
    """Raises if TensorFlow cannot name the inputs of a file as they are named.

    It changes a letter that it does not take, and then does not find the input.
    """
    if format not in THROUGH_TENSORFLOW:
        return
    taken: dict[str, str] = {}
    for spec in keras.tree.flatten(signature):
        other = taken.setdefault(re.sub(r"\W", "_", spec.name, flags=re.ASCII), spec.name)
        if not _TAKEN.fullmatch(spec.name) or other != spec.name:
            raise ArgumentError(
                f"format={format!r} takes inputs named by letters of ASCII, digits, '_', '-' and "
                f"'.', the first neither '_' nor '-'; the input {spec.name!r} has a name "
                f"{_wrong(spec.name, other)}. "
                "Name it anew: keras.Input(..., name=...), or for the file alone "
                "input_signature=[keras.KerasTensor(shape, dtype, name=...)]."
            )


def _wrong(name: str, other: str) -> str:
    """What is wrong with a name that is not taken, where `other` is taken already."""
    if other != name:
        return f"as {other!r} does"
    inside = _TAKEN.fullmatch(f"a{name}") is not None
    return f"that begins with {name[:1]!r}" if inside else "that has other letters in it"


def checked_path(path: str | os.PathLike, format: str) -> str:
    """The path in full; raises if nothing can be written there."""
    path = os.path.abspath(os.fsdecode(path))
    suffix = SUFFIXES.get(format)
    other = next((f for f, s in SUFFIXES.items() if path.lower().endswith(s)), None)
    if suffix is None and other is not None:
        raise ArgumentError(
            f"'{path}' has the suffix of another format, and format={format!r} writes a folder. "
            f"Write format={other!r}, or another path."
        )
    if suffix is not None and not path.endswith(suffix):
        raise ArgumentError(f"path must end in '{suffix}' for format={format!r}, got '{path}'.")
    if not os.path.isdir(os.path.dirname(path)):
        raise ArgumentError(f"The folder of '{path}' does not exist. Create it first.")
    if suffix is not None:
        if os.path.isdir(path):
            raise ArgumentError(f"'{path}' is a folder; a file is to be written there.")
    elif os.path.exists(path) and not _may_replace(path):
        raise ArgumentError(
            f"'{path}' exists and is no SavedModel, so it is not replaced. Choose another name."
        )
    return path


def _may_replace(path: str) -> bool:
    return os.path.isdir(path) and (
        not os.listdir(path) or os.path.exists(os.path.join(path, "saved_model.pb"))
    )


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
