"""Files that run without smh: `smh.export`.

`signatures` says what a model is called with, and `samples` makes inputs of it; `serving` traces a
model; `saved_model`, `litert`, `onnx_graph` and `keras_file` each write one format, and run what
they wrote; `low_bit` keeps whole numbers what they are, `activations` rounds what goes between
layers; `trial` compares that with the model, and `explaining` says which layer a format cannot
take.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras

from smh.container.replacing import replacing
from smh.exporting import keras_file, litert, micro, onnx_graph, saved_model
from smh.exporting.activations import litert_options, quantize_onnx
from smh.exporting.checking import (
    DENSE,
    MODES,
    check,
    check_activations,
    check_names,
    checked_path,
)
from smh.exporting.explaining import Attempt, explained
from smh.exporting.failure import CannotExport
from smh.exporting.samples import Sample, check_answers, examples_of, first_of, sample_of
from smh.exporting.signatures import Signature, signature_of
from smh.exporting.trial import compare, warn_if_far
from smh.virtual_variable import virtual_variables
from smh.virtual_variable.inside_keras.deploying import deployed_mode, running_as

_WRITERS = {
    "saved_model": saved_model.write,
    "litert": litert.write,
    "onnx": onnx_graph.write,
    "micro": micro.write,
    "keras": keras_file.write,
}
_RUNNERS = {
    "saved_model": saved_model.run,
    "litert": litert.run,
    "onnx": onnx_graph.run,
    "micro": micro.run,
}


def export(
    model: keras.Model,
    path: str | os.PathLike,
    format: str = "saved_model",
    mode: str | None = None,
    *,
    input_signature: Sequence[Any] | None = None,
    sample: Sequence[Any] | None = None,
    activations: str | None = None,
    calibration: Sequence[Any] | None = None,
    **options: Any,
) -> None:
    """Writes a model for inference, as a file that needs no smh to run.

    | format | file | runs on | what it holds |
    | --- | --- | --- | --- |
    | `"saved_model"` | a folder | TensorFlow, TF Serving | factors |
    | `"litert"` | `.tflite` | `ai-edge-litert`, TensorFlow Lite | factors, whole numbers |
    | `"onnx"` | `.onnx` | `onnxruntime` | the same; computed once, when it is loaded |
    | `"micro"` | `.tflite` | `tflite-micro`; one input | floats; shared values and indices |
    | `"keras"` | `.keras` | Keras, any backend; can be trained | dense weights |

    Choose the mode by what is short:

    - `"factors"`: the file holds the factors, and a call computes all weights by one product, which
      takes two to three times the memory of the dense weights while it runs.
    - `"stream"`: the same file size, but each layer computes its own weights when it runs, so that
      the weights of one layer are in memory at a time. Of use in a SavedModel or in LiteRT.
    - `"dense"`: the file holds the dense weights, and a call costs what it does in a dense model.
      LiteRT's fast convolutions need constant weights: choose it there if speed is what counts.

    Weights and factors that are whole numbers (`smh.quantize_weights`, `smh.shrink`, `smh.cluster`,
    `smh.quantize_factors`) are these in LiteRT and ONNX files too, unless `mode` is `"dense"`:
    of 4, 8 or 16 bits, in ONNX also of 1 and 2. LiteRT is as fast with 8 bits as with floats, and
    slow with others and with factors: `smh.runtime.expand` makes such a file fast, on the device.

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
        activations: `"int8"` rounds what goes between layers as well, and the weights to eight
            bits, by the runtimes' own quantisers, for `"litert"` and `"onnx"`: for microcontrollers
            and other chips without floats. Of such a file only shapes are checked; if its outputs
            are far from the model's, a `SmhWarning` says how far.
        calibration: some hundred examples of what the model gets in use, by which the ranges are
            chosen: an array (or a structure of them) for each positional argument.
        **options: for `"litert"` attributes of `tf.lite.TFLiteConverter` (`optimizations`,
            `target_spec`, `representative_dataset`, ...), for `"onnx"` `opset`.

    Raises:
        ArgumentError: for a format, mode, path or option that cannot work, and for a model that
            the format cannot express, or its converter gets wrong: it names the layer and what to
            do. To find that out, layers are exported by themselves, a second or two each.
        MissingPackageError: if `"onnx"` lacks tf2onnx, or `"micro"` tflite-micro; the message says
            how to install it.
        GraphModeError: on another Keras backend than TensorFlow (`"keras"` works on every one).
        UnbuiltModelError: if the model has no variables yet.
        OSError: from the file system. After any error everything on disk is as it was.

    Cost: a call of the model, and one of the file, which is in memory beside the model then.
    `"litert"` and `"onnx"` need the dense rest several times in memory; at most 2 GB each. A
    pool with a random hash holds 4 bytes per weight in any format, its table of addresses.

    Example:
        >>> smh.export(smh.compress(model, fraction=0.1), "model.tflite", format="litert")
    """
    check(model, format, mode, options)
    check_activations(format, mode, activations, calibration, options)
    path = checked_path(path, format)
    mode = "dense" if activations else _chosen_mode(model, format, mode)
    signature = signature_of(model, input_signature)
    check_names(signature, format)
    examples = None if calibration is None else examples_of(signature, calibration)
    if examples is not None:
        check_answers(model, signature, examples)
    given = sample if sample is not None or examples is None else first_of(signature, examples)
    trial = sample_of(model, signature, given)

    def make(
        layer: keras.Layer, signature: Signature, trial: Sample, path: str, options: dict
    ) -> None:
        rounded = examples if layer is model else None
        if rounded is not None and format == "litert":
            options = {**options, **litert_options(signature, rounded)}
        _WRITERS[format](layer, signature, path, options)
        if rounded is not None and format == "onnx":
            quantize_onnx(path, signature, rounded)
        run = _RUNNERS.get(format) or keras_file.runner(layer)
        found = run(path, signature, trial, options)
        if found is not None:
            compare(layer, trial, found, exactly=rounded is None and litert.is_exact(options))
            if rounded is not None:
                warn_if_far(trial, found)

    written = replacing(path, folder=format == "saved_model")
    with written as temporary, running_as(model, MODES[mode]):
        try:
            make(model, signature, trial, temporary, options)
        except CannotExport as failure:
            attempt = Attempt(model, format, signature, trial, options, make)
            raise explained(attempt, failure) from failure


def _chosen_mode(model: keras.Model, format: str, mode: str | None) -> str:
    if mode is not None:
        return mode
    if format in DENSE or not virtual_variables(model):
        return "dense"
    return {"train": "factors", "stream": "stream", "cached": "dense"}[deployed_mode(model)]
