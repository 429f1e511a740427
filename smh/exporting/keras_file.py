"""Keras' own file of a model, with dense weights."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from smh.doors.materialization import materialize
from smh.exporting.failure import others_errors
from smh.exporting.samples import Sample, answer
from smh.exporting.signatures import Signature
from smh.virtual_variable import own_layers


def write(model: keras.Model, signature: Signature, path: str, options: dict) -> None:
    """Writes the file `path`."""
    del signature, options
    dense = materialize(model)
    with others_errors():
        dense.save(path)


def runner(model: keras.Layer) -> Callable[[str, Signature, Sample, dict], list[np.ndarray]]:
    """Returns `run`, which knows the classes of `model`: a user's own need not be registered."""
    classes = {type(layer) for layer in own_layers(model)}
    # Not Keras' own: its layer `Add` would be taken for its operation `Add`.
    known = {c.__name__: c for c in classes if c.__module__.partition(".")[0] != "keras"}

    def run(path: str, signature: Signature, sample: Sample, options: dict) -> list[np.ndarray]:
        del signature, options
        with others_errors():
            # Not in safe mode: it is this process that has written the file.
            loaded = keras.saving.load_model(
                path, custom_objects=known, compile=False, safe_mode=False
            )
            return answer(loaded, sample.arguments)

    return run
