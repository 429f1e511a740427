"""Files that run without smh: `smh.export`.

`signatures` says what a model is called with, and `samples` makes inputs of it; `serving` traces a
model; `saved_model`, `litert`, `onnx_graph` and `keras_file` each write one format, and run what
they wrote; `trial` compares that with the model, and `explaining` says which layer a format cannot
take.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import keras

from smh.container.replacing import replacing
from smh.errors import ArgumentError, MissingPackageError, UnbuiltModelError
from smh.exporting import keras_file, litert, onnx_graph, saved_model
from smh.exporting.explaining import Attempt, explained
from smh.exporting.failure import CannotExport
from smh.exporting.samples import Sample, sample_of
from smh.exporting.signatures import Signature, signature_of
from smh.exporting.trial import compare
from smh.tf1.backends import require_tensorflow
from smh.virtual_variable import virtual_variables
from smh.virtual_variable.inside_keras.deploying import deployed_mode, running_as

_WRITERS = {
    "saved_model": saved_model.write,
    "litert": litert.write,
    "onnx": onnx_graph.write,
    "keras": keras_file.write,
}
_RUNNERS = {"saved_model": saved_model.run, "litert": litert.run, "onnx": onnx_graph.run}
_SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "keras": ".keras"}
_OPTIONS = {"litert": litert.OPTIONS, "onnx": onnx_graph.OPTIONS}
_PACKAGES = {"onnx": ("tf2onnx", "onnx")}
# What a model does while it is traced, see `running_as`.
_MODES = {"factors": "train", "stream": "stream", "dense": "cached"}


def export(
    model: keras.Model,
    path: str | os.PathLike,
    format: str = "saved_model",
    mode: str | None = None,
    *,
    input_signature: Sequence[Any] | None = None,
    sample: Sequence[Any] | None = None,
    **options: Any,
) -> None:
    """Writes a model for inference, as a file that needs no smh to run.

    | format | file | runs on | what it holds |
    | --- | --- | --- | --- |
    | `"saved_model"` | a folder | TensorFlow, TF Serving | factors |
    | `"litert"` | `.tflite` | `ai-edge-litert`, TensorFlow Lite | factors |
    | `"onnx"` | `.onnx` | `onnxruntime` | factors; multiplied once, when it is loaded |
    | `"keras"` | `.keras` | Keras, any backend; can be trained | dense weights |

    Choose the mode by what is short:

    - `"factors"`: the file holds the factors, and a call computes all weights by one product, which
      takes two to three times the memory of the dense weights while it runs.
    - `"stream"`: the same file size, but each layer computes its own weights when it runs, so that
      the weights of one layer are in memory at a time. Of use in a SavedModel or in LiteRT.
    - `"dense"`: the file holds the dense weights, and a call costs what it does in a dense model.
      LiteRT's fast convolutions need constant weights: choose it there if speed is what counts.

    `onnxruntime` computes what depends on constants when it loads a file, so `"factors"` is small
    on disk, and nearly as fast and as large in memory as `"dense"`.

    The file is written beside `path`, and **run once against the model** before it gets this name,
    so that there is always a whole one, and a right one. Its outputs on a small input have to be
    the model's, up to 1e-3 of the largest number of each (0.02 for a model that computes in
    float16, 0.1 in bfloat16). A SavedModel and a `.keras` file are loaded anew for that; LiteRT
    runs in `ai-edge-litert`, or in TensorFlow's interpreter where that is not installed; ONNX in
    `onnxruntime`, or in the slow reference implementation that the package `onnx` has. Of a LiteRT
    file in integers (`optimizations`) only shapes are compared, and one with operations that were
    asked for and that are not here (`SELECT_TF_OPS`, `allow_custom_ops`) is not: a `SmhWarning`
    says so. The model stays as it is, also where it is deployed. Variables of less than 64 kB
    become constants in a SavedModel, which is for inference only.

    Args:
        model: a built model, compressed or not, in any state of deployment.
        path: what to write. The suffix is the one in the table; a SavedModel is a folder. What is
            there is replaced if it is of the same kind.
        format: see above.
        mode: see above; `None` takes what the model does now: `"stream"` or `"dense"` if it is
            deployed in mode `"stream"` or `"cached"`, `"dense"` if nothing is compressed or the
            format is `"keras"`, else `"factors"`.
        input_signature: a `keras.InputSpec`, or a structure of them, for each positional argument
            of the model; for a functional model also one for each of its inputs. Default: what the
            model was built with, for any size of batch, and of the weights' dtype where the model
            does not say.
        sample: inputs to compare the file and the model on, an array (or a structure of them) for
            each positional argument. Default: two generated examples that the model answers with
            finite numbers; sizes that are free are filled in, integers are below the rows of the
            smallest embedding, texts are made of the model's vocabularies.
        **options: for `"litert"` attributes of `tf.lite.TFLiteConverter` (`optimizations`,
            `target_spec`, `representative_dataset`, ...), for `"onnx"` `opset`.

    Raises:
        ArgumentError: for a format, mode, path or option that cannot work, and for a model that
            the format cannot express, or its converter gets wrong: it names the layer and what to
            do. To find that out, layers are exported by themselves, a second or two each.
        MissingPackageError: if `"onnx"` lacks tf2onnx; the message says how to install it.
        GraphModeError: on another Keras backend than TensorFlow (`"keras"` works on every one).
        UnbuiltModelError: if the model has no variables yet.
        OSError: from the file system. After any error everything on disk is as it was.

    Cost: a call of the model, and one of the file, which is in memory beside the model then.
    `"litert"` and `"onnx"` need the dense rest several times in memory; at most 2 GB each. A
    pool with a random hash holds 4 bytes per weight in any format, its table of addresses.

    Example:
        >>> smh.export(smh.compress(model, fraction=0.1), "model.tflite", format="litert")
    """
    _check(model, format, mode, options)
    path = _checked_path(path, format)
    mode = _chosen_mode(model, format, mode)
    signature = signature_of(model, input_signature)
    trial = sample_of(model, signature, sample)

    def make(
        layer: keras.Layer, signature: Signature, trial: Sample, path: str, options: dict
    ) -> None:
        _WRITERS[format](layer, signature, path, options)
        run = _RUNNERS.get(format) or keras_file.runner(layer)
        found = run(path, signature, trial, options)
        if found is not None:
            compare(layer, trial, found, exactly=litert.is_exact(options))

    with replacing(path) as temporary, running_as(model, _MODES[mode]):
        try:
            make(model, signature, trial, temporary, options)
        except CannotExport as failure:
            attempt = Attempt(model, format, signature, trial, options, make)
            raise explained(attempt, failure) from failure


def _check(model: Any, format: str, mode: str | None, options: dict) -> None:
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a Keras 3 model, got {type(model).__name__}.")
    if format not in _WRITERS:
        raise ArgumentError(f"format must be one of {_listed(_WRITERS)}, got {format!r}.")
    if mode is not None and mode not in _MODES:
        raise ArgumentError(f"mode must be one of {_listed(_MODES)} or None, got {mode!r}.")
    if not model.built:
        raise UnbuiltModelError(
            f"'{model.name}' is not built: there are no weights to export. Call it once, or "
            "model.build(input_shape)."
        )
    if format == "keras" and mode not in (None, "dense"):
        raise ArgumentError(
            f"format='keras' holds dense weights only, got mode={mode!r}. Leave mode out, or "
            "choose format='saved_model'."
        )
    if mode in ("factors", "stream") and not virtual_variables(model):
        raise ArgumentError(
            f"mode={mode!r} needs compressed weights, and '{model.name}' has none. Call "
            "smh.compress(model, fraction=...) first, or leave mode out."
        )
    known = _OPTIONS.get(format, ())
    for name in options:
        if name not in known:
            takes = _listed(known) if known else "no options"
            raise ArgumentError(f"format={format!r} takes {takes}, got {name!r}.")
    if format == "keras":
        return
    require_tensorflow(f"smh.export(format={format!r})")
    missing = [p for p in _PACKAGES.get(format, ()) if importlib.util.find_spec(p) is None]
    if missing:
        raise MissingPackageError(
            f"format={format!r} needs {' and '.join(missing)}: "
            f'pip install "structured-multihashing[{format}]"'
        )


def _checked_path(path: str | os.PathLike, format: str) -> str:
    path = os.path.abspath(os.fsdecode(path))
    suffix = _SUFFIXES.get(format)
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


def _chosen_mode(model: keras.Model, format: str, mode: str | None) -> str:
    if mode is not None:
        return mode
    if format == "keras" or not virtual_variables(model):
        return "dense"
    return {"train": "factors", "stream": "stream", "cached": "dense"}[deployed_mode(model)]


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
