"""The LiteRT (TensorFlow Lite) file of a model."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from smh.errors import SmhError, SmhWarning
from smh.exporting.failure import CannotExport, others_errors
from smh.exporting.loops import refuse_loops
from smh.exporting.low_bit.integers import is_pruned, seen_as_constants, written_with
from smh.exporting.low_bit.litert_writing import with_integers
from smh.exporting.low_bit.matching import Found, Whole
from smh.exporting.samples import Sample, check_finite
from smh.exporting.saved_model import write_function
from smh.exporting.serving import factors_of, refuse_state, serving_function
from smh.exporting.signatures import Signature
from smh.typing import Tensor
from smh.virtual_variable.inside_keras.deploying import changed_by

OPTIONS = (
    "optimizations",
    "representative_dataset",
    "target_spec",
    "inference_input_type",
    "inference_output_type",
    "allow_custom_ops",
)
# In the converter's messages: `fused["Erfc:", "model_1/dense_1/Erfc@__inference_serve_12"]`.
_PLACE = re.compile(r'error: loc\((?:callsite\()*fused\["(\w+):", "([^"@]+)@')


def write(model: keras.Layer, signature: Signature, path: str, options: dict) -> None:
    """Writes the file `path`; `options` are attributes of `tf.lite.TFLiteConverter`."""
    # Who asks for roundings of the converter's own gets those.
    with seen_as_constants(model if is_exact(options) else None) as whole:
        exact = is_exact(options)
        file = written_with(
            whole,
            lambda more: _Converted(_written(model, signature, options, more)),
            functools.partial(_replace, pruned=exact and is_pruned(model)),
        )
    with open(path, "wb") as opened:
        opened.write(file.content)


def converted(model: keras.Layer, signature: Signature, options: dict) -> bytes:
    """The converter's file, with constants in floats where the model has no factors now."""
    return _written(model, signature, options, [])


class _Converted:
    """A file that is still to be changed."""

    def __init__(self, content: bytes):
        self.content = content


def _replace(file: _Converted, weights: list[Whole], pruned: bool) -> Found:
    if not weights and not pruned:
        return Found(())  # the file stays the converter's own
    file.content, found = with_integers(file.content, weights, pruned)
    return found


def _written(
    model: keras.Layer, signature: Signature, options: dict, more: list[keras.Variable]
) -> bytes:
    """The converter's file; `more` is what must not be folded either."""
    factors = [*factors_of(model), *more]
    zero: list[Tensor] = []  # of the trace in progress
    graphs: list[Any] = []  # likewise

    def substitutes(inputs, more):
        del more
        zero[:] = [_unprovable_zero(inputs)]
        graphs[:] = [keras.tree.flatten(inputs)[0].graph]
        return [(f, _kept_apart(f.value, zero[0])) for f in factors if f.dtype != "bool"]

    serve, assigned = serving_function(model, len(signature), substitutes)
    with tempfile.TemporaryDirectory() as folder:
        saved = os.path.join(folder, "saved_model")
        with changed_by(model, lambda weight: _transposed_twice(weight, zero[0])):
            write_function(serve, signature, saved, model)
        refuse_state(model, signature, assigned, "litert")
        if options.get("representative_dataset") is not None:
            refuse_loops(model, graphs[0])
        return _converted(saved, options)


def run(path: str, signature: Signature, sample: Sample, options: dict) -> list[np.ndarray] | None:
    """What the file computes, by ai-edge-litert, or else by the interpreter in TensorFlow.

    Returns:
        The outputs, or `None` for a file with operations that a user asked for and that the
        interpreter here lacks; there is a warning then.
    """
    given = {
        spec.name: array
        for spec, array in zip(keras.tree.flatten(signature), sample.inputs, strict=True)
    }
    try:
        with others_errors():
            runner = _interpreter(path).get_signature_runner()
            details = runner.get_input_details()
            found = runner(**{name: _rounded(given[name], details[name]) for name in details})
            scales = runner.get_output_details()
    except CannotExport as failure:
        if not _asked_for(options, failure.said):
            raise
        warnings.warn(
            "The file was not compared with the model: the interpreter here lacks operations that "
            "were asked for. Run it once where they are.",
            SmhWarning,
            stacklevel=2,
        )
        return None
    listed = [f"output_{i}" for i in range(len(found))]
    names = listed if set(listed) == set(found) else sorted(found)  # a list, or a dict
    return [_unrounded(found[name], scales[name]) for name in names]


def is_exact(options: dict) -> bool:
    """Whether a file is to compute the same numbers: not where a user asked for roundings."""
    return not options.get("optimizations") and "representative_dataset" not in options


def _asked_for(options: dict, said: str) -> bool:
    """Whether an interpreter lacks what `options` allow.

    The one in TensorFlow (2.21) lacks TensorFlow's own operations as well.
    """
    target = options.get("target_spec")
    select = target is not None and "SELECT_TF_OPS" in str(target.supported_ops)
    custom = bool(options.get("allow_custom_ops"))
    return (select and "Select TensorFlow op" in said) or (custom and "custom op" in said)


def _interpreter(path: str) -> Any:
    if importlib.util.find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_path=path)
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated in favour of ai-edge-litert
        return tf.lite.Interpreter(model_path=path)


def _rounded(array: np.ndarray, details: dict) -> np.ndarray:
    """`array` as the file wants it: as the integers that stand for it, if that was asked for."""
    scale, zero = details["quantization"]
    if array.dtype.kind != "f" or np.dtype(details["dtype"]).kind == "f":
        return array
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(array / scale + zero), limits.min, limits.max).astype(details["dtype"])


def _unrounded(array: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    return (array.astype("float32") - zero) * scale if scale else array


def _unprovable_zero(inputs: Any) -> Tensor:
    """A zero that the converter cannot compute, because it depends on the first input's values.

    Not on its shape, which is known if the batch is, unless all inputs are text; and without
    arithmetic on the values, which would turn infinity into NaN.
    """
    import tensorflow as tf

    flat = keras.tree.flatten(inputs)
    first = next((tensor for tensor in flat if tensor.dtype != tf.string), None)
    if first is None:
        return tf.minimum(tf.shape(flat[0])[0], 0)
    element = tf.cast(tf.reshape(first, [-1])[:1], tf.int32)
    return tf.minimum(tf.cast(tf.reduce_any(element > 0), tf.int32), 0)


def _kept_apart(value: Tensor, zero: Tensor) -> Tensor:
    """Returns `value`, in a form that the converter does not compute with beforehand."""
    import tensorflow as tf

    if keras.backend.is_float_dtype(value.dtype):
        return value + keras.ops.cast(zero, value.dtype)
    # LiteRT does not add small integers, so they are cut out of one more, at a place that is not
    # known before.
    flat = tf.reshape(value, [-1])
    longer = tf.concat([flat, flat[:1]], axis=0)
    return tf.reshape(tf.slice(longer, tf.reshape(zero, [1]), [flat.shape[0]]), value.shape)


def _transposed_twice(weight: Tensor, zero: Tensor) -> Tensor:
    """Returns a matrix as it is, in a form that the converter multiplies with correctly.

    Its fully connected operation wants the transpose of the matrix. It takes the first of the two
    transpositions here. Without it the converter (TensorFlow 2.21) goes back to a batched product
    at the end, and loses a ReLU that it had merged with the operation: negative outputs come
    through. Between the two stands the zero, or they would cancel.
    """
    if len(weight.shape) != 2:
        return weight
    zero = keras.ops.cast(zero, weight.dtype)
    return keras.ops.transpose(keras.ops.transpose(weight) + zero)


def _converted(saved: str, options: dict) -> bytes:
    import tensorflow as tf

    # One signature: the archive has the same function under two names.
    converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["serving_default"])
    for name, value in options.items():
        calibrates = name == "representative_dataset" and value is not None
        setattr(converter, name, _finite(value) if calibrates else value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its calibration uses what is deprecated
            return converter.convert()
    except SmhError:
        raise
    except Exception as error:  # the converter's own classes are not public
        message = str(error)
        said = re.sub(r"loc\(.*\)+: ", "", message.partition("error: ")[2] or message)
        raise CannotExport(said.split("\n")[0], _PLACE.findall(message)) from error


def _finite(dataset: Any) -> Callable[[], Iterator[Any]]:
    """A `representative_dataset` that raises where numbers are not finite."""

    def checked() -> Iterator[Any]:
        for number, example in enumerate(getattr(dataset, "input_gen", dataset)()):
            for array in keras.tree.flatten(example):
                if not isinstance(array, str):  # the name of a signature
                    check_finite(np.asarray(array), "representative_dataset", number)
            yield example

    return checked
