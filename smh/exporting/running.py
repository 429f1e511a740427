"""What a written file answers, for many examples."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from smh.exporting import litert, onnx_graph
from smh.exporting.samples import Sample, examples_of
from smh.exporting.signatures import signature_of

_RUNNERS = {"litert": litert.run, "onnx": onnx_graph.run}


def answers(model: keras.Model, path: str | os.PathLike, format: str, x: Any) -> list[np.ndarray]:
    """Returns the outputs of a file that was exported for any batch, flat, `[n, ...]` each.

    Args:
        model: what it was made of.
        path: the file.
        format: `"litert"` or `"onnx"`.
        x: examples as the model takes them.

    Raises:
        KeyError: another format.

    Cost: all examples are run at once.
    """
    signature = signature_of(model)
    sample = Sample(examples_of(signature, [x]), [])
    found = _RUNNERS[format](os.fspath(path), signature, sample, {})
    return [] if found is None else found
