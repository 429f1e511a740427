"""The ONNX file of a model, by tf2onnx."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from smh.exporting.serving import factors_of, refuse_state, serving_function

OPTIONS = ("opset",)


def write(model: keras.Model, signature: Sequence[Any], path: str, options: dict) -> None:
    """Writes the file `path`.

    For the converter the factors are further inputs of the function, about which it knows nothing.
    In its graph they then become initializers, which is what ONNX calls stored tensors.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    factors = {f"smh_factor_{i}": factor for i, factor in enumerate(factors_of(model))}
    extra = [tf.TensorSpec(f.shape, f.dtype, name=name) for name, f in factors.items()]
    serve, assigned = serving_function(
        model, len(signature), lambda inputs, more: list(zip(factors.values(), more, strict=True))
    )
    arguments = [*signature, *extra]
    # Not AutoGraph: it would rewrite the layers' source.
    function = tf.function(serve, input_signature=arguments, autograph=False)
    with _quiet("tf2onnx"):
        proto, _ = tf2onnx.convert.from_function(function, arguments, **options)
    refuse_state(model, assigned, "onnx")
    graph = proto.graph
    inputs = [value for value in graph.input if value.name not in factors]
    used = {value.name for value in graph.input} & factors.keys()
    del graph.input[:]
    graph.input.extend(inputs)
    for name in sorted(used):
        array = keras.ops.convert_to_numpy(factors[name].value)
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silences a logger.

    tf2onnx reports as an error that it does not recognise the loop of an LSTM whose weights are
    computed as ONNX's LSTM, and then converts the loop. What fails raises.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
