"""Activations in integers of eight bits, by the quantiser that each runtime's makers have.

They are rounded by ranges that are seen on examples. The weights are rounded to eight bits as well.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from smh.exporting.failure import others_errors, quiet
from smh.exporting.onnx_names import shorten
from smh.exporting.signatures import Signature


def litert_options(signature: Signature, examples: Sequence[np.ndarray]) -> dict[str, Any]:
    """What TensorFlow's converter is told, so that it rounds all that it can.

    Args:
        signature: of the model.
        examples: one array for each input, with as many examples each.
    """
    import tensorflow as tf

    specs = keras.tree.flatten(signature)

    def dataset() -> Iterator[dict[str, np.ndarray]]:
        for batch in _batches(specs, examples):
            yield {spec.name: array for spec, array in zip(specs, batch, strict=True)}

    return {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": dataset}


def quantize_onnx(path: str, signature: Signature, examples: Sequence[np.ndarray]) -> None:
    """Rounds the ONNX file `path`, in place.

    Kernels by channels, as TensorFlow's converter does: by itself it takes one scale for each. Of
    seven bits: on x86 processors without VNNI onnxruntime adds up pairs of products in 16 bits,
    and those of eight bits do not fit.

    Raises:
        CannotExport: onnxruntime's quantiser failed.
    """
    import onnx
    from onnxruntime import quantization

    specs = keras.tree.flatten(signature)

    class Examples(quantization.CalibrationDataReader):
        """Hands out one batch after the other."""

        def __init__(self) -> None:
            self._left = _batches(specs, examples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._left, None)
            if batch is None:
                return None
            return {spec.name: array for spec, array in zip(specs, batch, strict=True)}

    with others_errors(), quiet("root"), tempfile.TemporaryDirectory() as folder:
        rounded = os.path.join(folder, "rounded.onnx")
        # It advises a pre-processing that folds and infers shapes, as tf2onnx has done. Not its
        # CalibMaxIntermediateOutputs: all examples but the last few are forgotten then (1.32).
        quantization.quantize_static(
            path,
            rounded,
            Examples(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        proto = onnx.load(rounded)
        shorten(proto)  # a scale and a zero for each tensor have its name in theirs
        onnx.save(proto, path)


def _batch_size(specs: Sequence[Any]) -> int:
    """What the signature fixes, or one."""
    return next((s.shape[0] for s in specs if s.shape and s.shape[0] is not None), 1)


def _batches(specs: Sequence[Any], examples: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The examples, a batch after the other; what fills none is left out."""
    size = _batch_size(specs)
    for first in range(0, len(examples[0]) - size + 1, size):
        yield [array[first : first + size] for array in examples]
