"""The file of a model for LiteRT on microcontrollers, whose interpreter reads shared values itself.

Its operation DECODE looks up values by indices of 1 to 7 bits when the model is called. The package
`tflite-micro` writes it, by its own compressor, and has the interpreter in which the file is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.exporting import litert
from smh.exporting.failure import others_errors
from smh.exporting.low_bit.integers import warn_of_floats, whole_weights
from smh.exporting.low_bit.matching import Whole, match
from smh.exporting.samples import Sample
from smh.exporting.signatures import Signature, one_at_a_time

_MOST_VALUES = 128  # indices have at most 7 bits
_FEWEST_NUMBERS = 64  # of fewer the table and the operation cost more than they save
_ARENA = 2**24  # bytes that the interpreter may work in here, beside the weights


def write(model: keras.Layer, signature: Signature, path: str, options: dict) -> None:
    """Writes the file `path`, for one example at a time where the batch is free.

    The interpreter lacks operations by which a file finds out the size of its batch.

    Raises:
        ArgumentError: for a model of several inputs.
    """
    if len(keras.tree.flatten(signature)) != 1:
        raise ArgumentError(
            f"format='micro' takes models of one input, and '{model.name}' has "
            f"{len(keras.tree.flatten(signature))}. Or export format='litert'."
        )
    content = litert.converted(model, one_at_a_time(signature), options)
    weights = [w for w in whole_weights(model) if w.value.size >= _FEWEST_NUMBERS]
    with others_errors(), open(path, "wb") as opened:
        made, paths = _decoding(content, weights)
        opened.write(made)
    warn_of_floats(
        [weight.path for weight in weights if weight.path not in paths],
        f"The interpreter looks up at most {_MOST_VALUES} values, zero among them, in one table "
        "for a weight: smh.cluster(model, bits=6). A normalisation behind a kernel is multiplied "
        "into it, which makes its values many.",
    )


def _decoding(content: bytes, weights: Sequence[Whole]) -> tuple[bytes, set[str]]:
    """The file with a table and indices for each constant of few values.

    And the paths of those `weights` that are among them.
    """
    from tflite_micro import compression
    from tflite_micro.tensorflow.lite.micro.compression import model_editor, spec

    # One table for a constant: with one for each channel (version 0.dev20261023182759) a kernel in
    # floats is decoded wrongly.
    model, chosen, paths = model_editor.read(content), [], set()
    for number, bits, array in _of_few_values(model):
        kind = spec.LookUpTableCompression(index_bitwidth=bits, mode=spec.PerTensor())
        chosen.append(spec.Tensor(subgraph=0, tensor=number, compression=[kind]))
        found = match(array, weights)
        paths |= set() if found is None else {found.path}
    return bytes(compression.compress(content, chosen)) if chosen else content, paths


def _of_few_values(model) -> Iterator[tuple[int, int, np.ndarray]]:
    """Numbers of the constants, how many bits their indices take, and the constants."""
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        array = tensor.array if tensor.buffer is not None and tensor.buffer.data else None
        if array is not None and array.dtype == np.float32 and array.size >= _FEWEST_NUMBERS:
            values = np.unique(array).size
            bits = max(1, (values - 1).bit_length())
            if values <= _MOST_VALUES and 4 * values + array.size * bits / 8 < array.nbytes:
                yield number, bits, array


def run(path: str, signature: Signature, sample: Sample, options: dict) -> list[np.ndarray]:
    """What the file computes, one batch after the other, in the interpreter of `tflite-micro`."""
    from tflite_micro import runtime

    del options
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
        size = keras.tree.flatten(signature)[0].shape[0] or 1
        for first in range(0, len(sample.inputs[0]), size):
            interpreter.set_input(sample.inputs[0][first : first + size], 0)
            interpreter.invoke()
            found.append(interpreter.get_output(0))
    return [np.concatenate(found)]
