"""The LiteRT (TensorFlow Lite) file of a model."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.exporting.saved_model import write_function
from smh.exporting.serving import factors_of, refuse_state, serving_function
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
# Largest difference from the model, relative to its largest output, that rounding may cause.
_TOLERANCE = 1e-3


def write(model: keras.Model, signature: Sequence[Any], path: str, options: dict) -> None:
    """Writes the file `path`; `options` are attributes of `tf.lite.TFLiteConverter`."""
    factors = factors_of(model)
    zero: list[Tensor] = []  # of the trace in progress

    def substitutes(inputs, more):
        del more
        zero[:] = [_unprovable_zero(inputs)]
        return [(f, _kept_apart(f.value, zero[0])) for f in factors if f.dtype != "bool"]

    serve, assigned = serving_function(model, len(signature), substitutes)
    with tempfile.TemporaryDirectory() as folder:
        saved = os.path.join(folder, "saved_model")
        with changed_by(model, lambda weight: _transposed_twice(weight, zero[0])):
            write_function(serve, signature, saved, model)
        refuse_state(model, assigned, "litert")
        content = _converted(saved, model, options)
    if not options:
        _check(content, model, signature)
    with open(path, "wb") as file:
        file.write(content)


def _unprovable_zero(inputs: Any) -> Tensor:
    """A zero that the converter cannot compute, because it depends on the first input's values.

    Not on its shape, which is known if the batch is; and without arithmetic on the values, which
    would turn infinity into NaN.
    """
    import tensorflow as tf

    first = keras.tree.flatten(inputs)[0]
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


def _converted(saved: str, model: keras.Model, options: dict) -> bytes:
    import tensorflow as tf

    # One signature: the archive has the same function under two names.
    converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["serving_default"])
    for name, value in options.items():
        setattr(converter, name, value)
    try:
        return converter.convert()
    except Exception as error:  # the converter's own classes are not public
        raise ArgumentError(
            f"The LiteRT converter cannot convert '{model.name}'. A recurrent layer needs a fixed "
            "batch: input_signature=[keras.InputSpec(shape=(1, ...), dtype='float32')]. For "
            "operations that LiteRT lacks, export format='saved_model' or 'onnx'. The converter "
            f"says: {error}"
        ) from error


def _check(content: bytes, model: keras.Model, signature: Sequence[Any]) -> None:
    """Raises if the file does not compute what the model does."""
    sample = [_sample(spec) for spec in keras.tree.flatten(list(signature))]
    try:
        arguments = keras.tree.pack_sequence_as(list(signature), sample)
        expected = keras.tree.flatten(model(*arguments, training=False))
    except Exception:
        return  # the model takes no such numbers, or sizes
    found = _run(content, [spec.name for spec in keras.tree.flatten(list(signature))], sample)
    listed = [f"output_{i}" for i in range(len(expected))]
    names = listed if set(listed) == set(found) else sorted(found)  # a list, or a dict
    for name, tensor in zip(names, expected, strict=True):
        array = keras.ops.convert_to_numpy(tensor).astype("float64")
        error = np.abs(found[name] - array).max(initial=0.0)
        if error > _TOLERANCE * max(1.0, np.abs(array).max(initial=0.0)):
            raise ArgumentError(
                f"The LiteRT converter converted '{model.name}' wrongly: an output is off by "
                f"{error:.3g} on random inputs. Nothing was written. Export mode='dense', or "
                "another format."
            )


def _sample(spec: Any) -> np.ndarray:
    """Numbers in [0, 1), which are valid tokens too; sizes that vary are 1."""
    shape = [size or 1 for size in spec.shape]
    return np.random.default_rng(0).uniform(size=shape).astype(spec.dtype.as_numpy_dtype)


def _run(content: bytes, names: Sequence[str], sample: Sequence[np.ndarray]) -> dict:
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated in favour of ai-edge-litert
        runner = tf.lite.Interpreter(model_content=content).get_signature_runner()
    return runner(**dict(zip(names, sample, strict=True)))
