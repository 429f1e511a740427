"""The SavedModel of a model, without smh in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import keras

from smh.exporting.serving import Substitutes, factors_of, serving_function, stored_weights
from smh.virtual_variable import own_layers

# A variable costs some 2 kB in the graph (it is created, saved, restored and read by names), so
# what is smaller than this many bytes is a constant. The factors never are: TensorFlow computes
# what it can from constants when it loads a graph, and keeps it.
_LARGEST_CONSTANT = 2**16


def write(model: keras.Model, signature: Sequence[Any], path: str, options: dict) -> None:
    """Writes the folder `path`."""
    del options
    kept = {id(factor) for factor in factors_of(model)}
    weights = [v for v in stored_weights(model) if _bytes(v) <= _LARGEST_CONSTANT]
    while True:
        small = [v for v in weights if id(v) not in kept]
        serve, assigned = serving_function(model, len(signature), _as_constants(small))
        write_function(serve, signature, path, model)
        changed = {id(v) for v in assigned} & {id(v) for v in small}
        if not changed:
            return
        kept |= changed  # what a call assigns to has to stay a variable
        shutil.rmtree(path)


def write_function(serve: Callable, signature: Sequence[Any], path: str, model: Any) -> None:
    """Writes `serve`, which calls `model`, as the endpoint `serve` of a SavedModel.

    `model.export` would write every variable twice: once for the function and once for Keras'
    variable around it. So nothing is tracked here but what has no variables: the tables of
    preprocessing layers. And a function that was traced before would be written twice as well.
    """
    archive = keras.export.ExportArchive()
    for layer in own_layers(model):
        if not layer.variables:
            archive.track(layer)
    archive.add_endpoint("serve", serve, input_signature=list(signature))
    archive.write_out(path, verbose=False)


def _bytes(variable: keras.Variable) -> int:
    return keras.ops.convert_to_numpy(variable.value).nbytes


def _as_constants(variables: Sequence[keras.Variable]) -> Substitutes:
    # As NumPy arrays: an eager tensor would be captured as an input of the graph.
    arrays = [keras.ops.convert_to_numpy(v.value) for v in variables]

    def substitutes(inputs, more):
        del inputs, more
        return list(zip(variables, arrays, strict=True))

    return substitutes
