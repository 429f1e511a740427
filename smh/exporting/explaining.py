"""Says why a format cannot take a model: which layer it is, and what to do."""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras

from smh.errors import ArgumentError, SmhError
from smh.exporting.failure import CannotExport
from smh.exporting.naming import described, layer_in, listed_layers
from smh.exporting.recording import below, first_calls
from smh.exporting.samples import Sample, sample_of, shortened
from smh.exporting.signatures import Signature, one_at_a_time, with_sizes, written
from smh.virtual_variable import own_layers, virtual_variables

_NAMES = {
    "saved_model": "a SavedModel",
    "litert": "LiteRT",
    "onnx": "ONNX",
    "micro": "LiteRT for microcontrollers",
    "keras": ".keras",
}
# Floats that it does not compute in.
_LACKS = {
    "litert": ("bfloat16", "float16", "float64"),
    "micro": ("bfloat16", "float16", "float64"),
    "onnx": ("bfloat16",),
}
# Those in which it computes what some layers do: onnxruntime (1.32) has no convolution in them.
_LACKS_IN_PLACES = {"onnx": ("float64",)}
_MOST_TRIALS = 20  # of single layers, a second or two each


@dataclasses.dataclass(frozen=True)
class Attempt:
    """An export that failed.

    Attributes:
        model: the model.
        format: the format's name.
        signature: what the model was to be called with.
        sample: inputs and outputs of the model.
        options: of the converter.
        make: writes a layer's file at a path, with options, and runs it; raises `CannotExport` or
            an `SmhError`.
    """

    model: keras.Model
    format: str
    signature: Signature
    sample: Sample
    options: dict[str, Any]
    make: Callable[[keras.Layer, Signature, Sample, str, dict], None]


def explained(attempt: Attempt, failure: CannotExport) -> ArgumentError:
    """Returns the error that tells a user what to do.

    In this order: options without which it works, and a size that has to be fixed, which are tried
    out; floats that it lacks; text; the operation that the converter names; the first kind of layer
    that fails by itself, which is tried out as well, and takes a second or two for each kind.
    """
    layers = [layer_in(attempt.model, scope) for _, scope in failure.operations]
    named = [layer for layer in layers if layer is not None]
    for reason in (_scope_name, _options, _sizes, _floats, _text, _operations, _single_layer):
        advice = reason(attempt, failure, named)
        if advice:
            break
    else:
        advice = (
            "no layer fails by itself, so that the cause is in "
            f"{listed_layers([], attempt.model)}. {_other_formats(attempt)}"
        )
    return ArgumentError(
        f"'{attempt.model.name}' cannot be exported to {_NAMES[attempt.format]}: {advice} Nothing "
        f"was written. What was seen: {shortened(failure.said)}"
    )


def _scope_name(attempt: Attempt, failure: CannotExport, named: list[keras.Layer]) -> str | None:
    """A layer of whose name TensorFlow makes none, such as `_block`."""
    del attempt, named
    found = re.search(r"'([^'/]*)[^']*' is not a valid (?:root )?scope name", failure.said)
    if found is None:
        return None
    return (
        f"TensorFlow takes no layer named '{found[1]}': the first letter is one of ASCII, or a "
        "digit. Give it another name where it is made, or in its class: "
        "super().__init__(name='block')."
    )


def _options(attempt: Attempt, failure: CannotExport, named: list[keras.Layer]) -> str | None:
    del failure, named
    plain = dataclasses.replace(attempt, options={})
    if not attempt.options or not _works(plain, plain.model, plain.signature, plain.sample):
        return None
    return f"without the options {', '.join(attempt.options)} it works, and with them it does not."


def _sizes(attempt: Attempt, failure: CannotExport, named: list[keras.Layer]) -> str | None:
    """A layer that wants a fixed batch, or all sizes fixed, and then is right."""
    del failure
    for signature in _more_fixed(attempt):
        try:
            sample = sample_of(attempt.model, signature, None)
        except SmhError:
            continue
        if _works(attempt, attempt.model, signature, sample):
            return (
                f"it needs fixed sizes in {listed_layers(named, attempt.model)}. With these it "
                f"works: {written(signature)}."
            )
    return None


def _more_fixed(attempt: Attempt) -> Iterator[Signature]:
    """The signature with one example a batch, and with every size fixed."""
    shapes = [tuple(spec.shape) for spec in keras.tree.flatten(attempt.signature)]
    batched = [tuple(s.shape) for s in keras.tree.flatten(one_at_a_time(attempt.signature))]
    full = [
        tuple(got if size is None else size for size, got in zip(shape, array.shape, strict=True))
        for shape, array in zip(batched, attempt.sample.inputs, strict=True)
    ]
    tried = [shapes]
    for candidate in (batched, full):
        if candidate not in tried:
            tried.append(candidate)
            yield with_sizes(attempt.signature, candidate)


def _floats(attempt: Attempt, failure: CannotExport, named: list[keras.Layer]) -> str | None:
    del failure, named
    dtypes = _LACKS.get(attempt.format, ())
    found = [
        layer
        for layer in own_layers(attempt.model)
        if layer.compute_dtype in dtypes or layer.variable_dtype in dtypes
    ]
    if not found:
        return None
    leaves = [layer for layer in found if not below(layer)] or found
    dtype = next(d for d in dtypes for x in found if d in (x.compute_dtype, x.variable_dtype))
    return (
        f"it does not compute in {dtype}, as these do: {listed_layers(leaves, attempt.model)}. "
        f"{_in_float32(attempt.model)}"
    )


def _in_float32(model: keras.Layer) -> str:
    """What to do where the format has no such floats; a computed weight keeps its own in a file."""
    computed = any(virtual.dtype != "float32" for virtual in virtual_variables(model))
    dense = "smh.materialize(model)" if computed else "model"
    again = ", and compress, round or prune it anew" if computed else ""
    return (
        f"Build the model again in float32 and give it the same weights: smh.save({dense}, "
        "'m.smh'), keras.config.set_dtype_policy('float32'), smh.load_weights(build(), 'm.smh')"
        f"{again}. Or export format='saved_model'."
    )


def _text(attempt: Attempt, failure: CannotExport, named: list[keras.Layer]) -> str | None:
    del failure
    texts = [s for s in keras.tree.flatten(attempt.signature) if s.dtype == "string"]
    if not texts or attempt.format not in _LACKS:  # TensorFlow and Keras take texts
        return None
    readers = [layer for layer in own_layers(attempt.model) if hasattr(layer, "get_vocabulary")]
    return (
        f"it does not do with strings what {listed_layers(named or readers, attempt.model)} does. "
        "Export format='saved_model', or a model that begins behind that layer, and do its work "
        "before the model is called."
    )


def _operations(attempt: Attempt, failure: CannotExport, named: list[keras.Layer]) -> str | None:
    if not named:
        return None
    kinds = list(dict.fromkeys(kind for kind, _ in failure.operations))
    return (
        f"it lacks operations of {listed_layers(named, attempt.model)}: {', '.join(kinds[:5])}. "
        f"Put another layer in that place. {_other_formats(attempt)}"
    )


def _single_layer(attempt: Attempt, failure: CannotExport, named: list[keras.Layer]) -> str | None:
    del failure, named
    if attempt.format == "keras":  # Keras writes models, not layers
        return None
    for call in first_calls(attempt.model, attempt.sample)[:_MOST_TRIALS]:
        if not _works(attempt, call.layer, call.signature, call.sample):
            dtype = call.layer.compute_dtype
            if dtype in _LACKS_IN_PLACES.get(attempt.format, ()):
                advice = _in_float32(attempt.model)
                return f"it does not compute {described(call.layer)} in {dtype}. {advice}"
            return (
                f"{described(call.layer)} is not converted rightly, by itself either. Put another "
                f"layer in its place. {_other_formats(attempt)}"
            )
    return None


def _works(attempt: Attempt, layer: keras.Layer, signature: Signature, sample: Sample) -> bool:
    suffix = os.extsep + attempt.format
    with tempfile.TemporaryDirectory() as folder:
        try:
            attempt.make(
                layer, signature, sample, os.path.join(folder, "m" + suffix), attempt.options
            )
        except (CannotExport, SmhError):
            return False
    return True


def _other_formats(attempt: Attempt) -> str:
    others: dict[str, str] = {
        "litert": "format='saved_model', which has all of TensorFlow's operations; or pass "
        "target_spec=tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS, "
        "tf.lite.OpsSet.SELECT_TF_OPS]), for an interpreter with TensorFlow's operations.",
        "onnx": "format='saved_model', which has all of TensorFlow's operations.",
        "micro": "format='litert', for an interpreter with all of LiteRT's operations.",
        "saved_model": "format='keras'.",
        "keras": "format='saved_model'.",
    }
    return f"Or export {others[attempt.format]}"
