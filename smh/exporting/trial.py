"""Compares what a written file computes with what its model does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import keras
import numpy as np

from smh.errors import SmhWarning
from smh.exporting.failure import CannotExport
from smh.exporting.samples import Sample, answer
from smh.virtual_variable import own_layers

# Largest difference, relative to the largest number of an output, that another order of the same
# operations may cause, by the coarsest float that the model computes in: some 8,000 roundings of
# float32, 20 of float16, 13 of bfloat16.
TOLERANCES = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}
# Outputs that are all smaller than this are compared as if the largest were so. What they are
# computed from is seldom as small as they are.
_LEAST_SCALE = 1e-2
_FAR = 0.5  # of int8; a good ResNet-8 was off by 0.03 in LiteRT, by 0.14 in ONNX


def compare(
    model: keras.Layer, sample: Sample, found: Sequence[np.ndarray], exactly: bool = True
) -> None:
    """Raises if a file's outputs are not the model's.

    Args:
        model: the model, or a layer.
        sample: inputs, and what the model computed.
        found: what the file did, flat, in the same order.
        exactly: whether the file was to compute the same. Numbers are not compared if not, only
            shapes, and whether they are finite: how far integers are from floats is the choice of
            who asked for integers.

    Raises:
        CannotExport: with what is wrong.
    """
    if len(found) != len(sample.outputs):
        raise CannotExport(f"it has {len(found)} outputs, and the model {len(sample.outputs)}.")
    for i, (got, expected) in enumerate(zip(found, sample.outputs, strict=True)):
        wrong = _wrong(got, expected, tolerance(model) if exactly else np.inf)
        if wrong and not (exactly and _answers_differ(model, sample)):
            which = f"output {i}" if len(found) > 1 else "its output"
            raise CannotExport(f"{which} {wrong}")


def warn_if_far(sample: Sample, found: Sequence[np.ndarray]) -> None:
    """Warns if roundings that were asked for moved the outputs far from the model's."""
    for got, expected in zip(found, sample.outputs, strict=True):
        if expected.dtype.kind != "f":
            continue
        wanted = _numbers(expected)
        error = np.sqrt(np.square(_numbers(got) - wanted).mean())
        size = max(np.sqrt(np.square(wanted).mean()), np.finfo("float32").tiny)
        if error >= _FAR * size:
            warnings.warn(
                f"An output of the file is off by {error / size:.0%} of its size (root mean "
                "square) on the first examples of calibration. Give it more examples, of what the "
                "model gets in use; or leave activations out.",
                SmhWarning,
                stacklevel=2,
            )


def tolerance(model: keras.Layer) -> float:
    """The largest difference that is allowed, relative to the largest number of an output."""
    dtypes = {layer.compute_dtype for layer in own_layers(model)}
    dtypes |= {variable.dtype for variable in model.variables}
    return max([TOLERANCES.get(str(dtype), 0.0) for dtype in dtypes] + [TOLERANCES["float32"]])


def _wrong(got: np.ndarray, expected: np.ndarray, allowed: float) -> str | None:
    """What is wrong with an output, or `None`."""
    if got.shape != expected.shape:
        return f"has shape {got.shape}, and the model's {expected.shape}."
    if expected.dtype.kind in "SUO":
        return None if np.array_equal(_text(got), _text(expected)) else "is another text."
    numbers, wanted = _numbers(got), _numbers(expected)
    finite = np.isfinite(wanted)
    if not np.array_equal(numbers[~finite], wanted[~finite], equal_nan=True):
        return "is finite where the model's is not."
    scale = max(np.abs(wanted[finite]).max(initial=0.0), _LEAST_SCALE)
    error = np.abs(numbers[finite] - wanted[finite]).max(initial=0.0)
    # Not `error > ...`: a NaN is larger than nothing.
    if error <= allowed * scale and np.isfinite(numbers[finite]).all():
        return None
    return f"is off by {error:.3g}, where the model's largest number is {scale:.3g}."


def _answers_differ(model: keras.Layer, sample: Sample) -> bool:
    """Whether two calls of the live model do: one that draws numbers.

    With other seeds, because Keras' own files keep none.
    """
    again = answer(model, sample.arguments, other_seeds=True)
    pairs = zip(again, sample.outputs, strict=True)
    return any(_wrong(got, expected, tolerance(model)) for got, expected in pairs)


def _numbers(array: np.ndarray) -> np.ndarray:
    return array.astype("complex128" if array.dtype.kind == "c" else "float64")


def _text(array: np.ndarray) -> list:
    words = np.asarray(array).ravel().tolist()
    return [word.decode() if isinstance(word, bytes) else str(word) for word in words]
