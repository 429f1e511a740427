"""The file of a model for LiteRT on microcontrollers, whose interpreter reads shared values itself.

Its operation DECODE looks up values by indices of 1 to 7 bits when the model is called. The package
`tflite-micro` writes it, by its own compressor, and has the interpreter in which the file is tried.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.exporting import litert
from smh.exporting.failure import others_errors
from smh.exporting.samples import Sample
from smh.exporting.signatures import Signature

_MOST_VALUES = 128  # indices have at most 7 bits
_FEWEST_NUMBERS = 64  # of fewer the table and the operation cost more than they save
_ARENA = 2**24  # bytes that the interpreter may work in here, beside the weights


def write(model: keras.Layer, signature: Signature, path: str, options: dict) -> None:
    """Writes the file `path`; raises `ArgumentError` for a model of several inputs."""
    if len(keras.tree.flatten(signature)) != 1:
        raise ArgumentError(
            f"format='micro' takes models of one input, and '{model.name}' has "
            f"{len(keras.tree.flatten(signature))}. Or export format='litert'."
        )
    content = litert.converted(model, signature, options)
    with others_errors(), open(path, "wb") as opened:
        opened.write(_decoding(content))


def _decoding(content: bytes) -> bytes:
    """The file with a table and indices for each constant of few values."""
    from tflite_micro import compression
    from tflite_micro.tensorflow.lite.micro.compression import model_editor, spec

    # One table for a constant: with one for each channel (version 0.dev20261023182759) a kernel in
    # floats is decoded wrongly.
    chosen = [
        spec.Tensor(
            subgraph=0,
            tensor=number,
            compression=[spec.LookUpTableCompression(index_bitwidth=bits, mode=spec.PerTensor())],
        )
        for number, bits in _of_few_values(model_editor.read(content))
    ]
    return bytes(compression.compress(content, chosen)) if chosen else content


def _of_few_values(model) -> Iterator[tuple[int, int]]:
    """Numbers of the constants, and how many bits their indices take."""
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        array = tensor.array if tensor.buffer is not None and tensor.buffer.data else None
        if array is not None and array.dtype == np.float32 and array.size >= _FEWEST_NUMBERS:
            values = np.unique(array).size
            if values <= _MOST_VALUES:
                yield number, max(1, (values - 1).bit_length())


def run(path: str, signature: Signature, sample: Sample, options: dict) -> list[np.ndarray]:
    """What the file computes, one example after the other, in the interpreter of `tflite-micro`."""
    from tflite_micro import runtime

    del signature, options
    if len(sample.outputs) != 1:
        raise ArgumentError(
            f"format='micro' takes models of one output, got {len(sample.outputs)}. Or export "
            "format='litert'."
        )
    with open(path, "rb") as opened:
        content = opened.read()
    with others_errors():
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA + 10 * len(content))
        found = []
        for example in sample.inputs[0]:
            interpreter.set_input(example[None], 0)
            interpreter.invoke()
            found.append(interpreter.get_output(0))
    return [np.concatenate(found)]
