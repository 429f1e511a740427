"""The SavedModel of a model, without smh in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from smh.exporting.failure import others_errors
from smh.exporting.samples import Sample, as_array
from smh.exporting.serving import Substitutes, factors_of, serving_function, stored_weights
from smh.exporting.signatures import Signature, tensor_specs
from smh.virtual_variable import own_layers

# A variable costs some 2 kB in the graph (it is created, saved, restored and read by names), so
# what is smaller than this many bytes is a constant. The factors never are: TensorFlow computes
# what it can from constants when it loads a graph, and keeps it.
_LARGEST_CONSTANT = 2**16


def write(model: keras.Layer, signature: Signature, path: str, options: dict) -> None:
    """Writes the folder `path`."""
    del options
    kept = {id(factor) for factor in factors_of(model)}
    weights = [v for v in stored_weights(model) if _bytes(v) <= _LARGEST_CONSTANT]
    while True:
        small = [v for v in weights if id(v) not in kept]
        serve, assigned = serving_function(
            model, len(signature), _as_constants(small), keeps_state=True
        )
        write_function(serve, signature, path, model)
        changed = {id(v) for v in assigned} & {id(v) for v in small}
        if not changed:
            return
        kept |= changed  # what a call assigns to has to stay a variable
        shutil.rmtree(path)


def run(path: str, signature: Signature, sample: Sample, options: dict) -> list[np.ndarray]:
    """What the SavedModel computes, loaded anew."""
    import tensorflow as tf

    del options
    with others_errors():
        loaded = tf.saved_model.load(path)  # has the variables, so it lives as long as the call
        tensors = [
            tf.constant(array.tolist() if spec.dtype == "string" else array, dtype=spec.dtype)
            for spec, array in zip(tensor_specs_flat(signature), sample.inputs, strict=True)
        ]
        outputs = loaded.serve(*keras.tree.pack_sequence_as(signature, tensors))
        return [as_array(output) for output in keras.tree.flatten(outputs)]


def tensor_specs_flat(signature: Signature) -> list[Any]:
    """A `tf.TensorSpec` for each input."""
    return keras.tree.flatten(tensor_specs(signature))


def write_function(serve: Callable, signature: Signature, path: str, model: keras.Layer) -> None:
    """Writes `serve`, which calls `model`, as the endpoint `serve` of a SavedModel.

    `model.export` would write every variable twice: once for the function and once for Keras'
    variable around it. So nothing is tracked here but what has no variables: the tables of
    preprocessing layers. And a function that was traced before would be written twice as well.
    """
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    # In a module, since the archive takes no layer that is not built, and a text vectorization
    # that was only adapted is not.
    tables = tf.Module()
    tables.layers = [layer for layer in own_layers(model) if not layer.variables]
    archive.track(tables)
    with others_errors():
        archive.add_endpoint("serve", serve, input_signature=tensor_specs(signature))
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
