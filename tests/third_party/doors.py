"""What is done with each model of another library: one function for each door of smh.

Each takes a `Case` and a folder, and raises if the promise does not hold.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import smh
from smh.virtual_variable import virtual_variables

FRACTION = 0.3
# float32, and a product that another process may sum in another order.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Case:
    """A small model of a library with random weights, and what it is called with.

    `known` are the classes that the library does not register: Keras loads no such model without.
    """

    name: str
    build: Callable[[], keras.Model]
    inputs: Callable[[], Any]
    known: tuple[type, ...] = ()

    def scope(self):
        """Inside, what loads the model knows its classes."""
        return keras.saving.custom_object_scope({kind.__name__: kind for kind in self.known})

    def model(self):
        """Returns the built model, the same one at each call."""
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        model = self.build()
        answer(model, self.inputs())
        return model

    def compressed(self):
        return smh.compress(self.model(), FRACTION, seed=1)


class NotEqual(Exception):
    """Two models that should answer the same do not."""


def answer(model, inputs):
    """Returns the outputs of a model in inference as a flat list of arrays."""
    outputs = model(inputs, training=False)
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(outputs)]


def check_equal(found, expected):
    """Raises if two lists of outputs differ by more than rounding."""
    for one, other in zip(found, expected, strict=True):
        scale = 1 + np.abs(other).max(initial=0)
        difference = np.abs(one - other).max(initial=0) / scale
        if not difference <= TOLERANCE:  # NaN too
            raise NotEqual(f"outputs differ by {difference:.1g} of their range")


def check_changes_nothing(case, change):
    """Raises if `change` of a compressed model changes what it answers."""
    model = case.compressed()
    expected = answer(model, case.inputs())
    check_equal(answer(change(model), case.inputs()), expected)


def step(model, inputs):
    """Two steps of training towards zero, in `fit`; the loss has to be a number.

    Two, because a last layer that starts at zero lets no gradient through in the first.
    """
    targets = keras.tree.map_structure(
        lambda y: np.zeros(y.shape, "float32"), model(inputs, training=False)
    )
    # Tasks of keras-hub are compiled when they are made, with metrics that want ids of tokens or
    # classes, and have them again unless others are given.
    metrics = ["mse"] if model.compiled else None
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="mse",
        metrics=metrics,
        weighted_metrics=metrics,
        jit_compile=keras.backend.backend() == "jax",
    )
    history = model.fit(inputs, targets, batch_size=2, epochs=2, verbose=0)
    if not np.isfinite(history.history["loss"]).all():
        raise NotEqual("the loss is not finite")


# The doors


def compress(case, folder):
    """The outputs are finite and some weight is computed from a pool."""
    model = case.compressed()
    if not all(np.isfinite(y).all() for y in answer(model, case.inputs())):
        raise NotEqual("outputs are not finite")
    assert virtual_variables(model)


def fit(case, folder):
    """`fit` moves the factors."""
    model = case.compressed()
    factors = virtual_variables(model)[0].parametrization.source.core_variables
    before = [keras.ops.convert_to_numpy(factor).copy() for factor in factors]
    step(model, case.inputs())
    for factor, old in zip(factors, before, strict=True):
        if (keras.ops.convert_to_numpy(factor) == old).all():
            raise NotEqual(f"{factor.path} was not trained")


def prune(case, folder):
    """Half of the numbers are zero, and `fit` leaves them so."""
    model = smh.prune(case.model(), 0.5)
    step(model, case.inputs())
    for virtual in virtual_variables(model):
        zeros = np.mean(keras.ops.convert_to_numpy(virtual.value) == 0)
        if zeros < 0.49:
            raise NotEqual(f"{virtual.path} has {zeros:.0%} zeros")


def cluster(case, folder):
    """No weight has more than 16 values, pruned and then shared."""
    model = smh.cluster(smh.prune(case.model(), 0.5), 4)
    answer(model, case.inputs())
    for virtual in virtual_variables(model):
        values = len(np.unique(keras.ops.convert_to_numpy(virtual.value)))
        if values > 17:
            raise NotEqual(f"{virtual.path} has {values} values")


def materialize(case, folder):
    """The dense model answers the same."""
    check_changes_nothing(case, smh.materialize)


def deploy(case, folder):
    """Streaming and cached, the model answers the same, and back."""
    for mode in ("stream", "cached", "train"):
        check_changes_nothing(case, lambda model, mode=mode: smh.deploy(model, mode))


def _saved(suffix, save):
    """Returns a door that writes a file for `LOADS`, which another process reads."""

    def door(case, folder):
        model = case.compressed()
        save(model, folder / f"model{suffix}")
        np.savez(folder / f"expected{suffix}.npz", *answer(model, case.inputs()))

    return door


def _exported(format, suffix):
    def door(case, folder):
        smh.export(case.compressed(), folder / f"exported{suffix}", format=format)

    return door


DOORS = {
    "compress": compress,
    "fit": fit,
    "prune": prune,
    "cluster": cluster,
    "materialize": materialize,
    "deploy": deploy,
    ".smh": _saved(".smh", smh.save),
    ".keras": _saved(".keras", lambda model, path: model.save(path)),
    "weights": _saved(".weights.h5", lambda model, path: model.save_weights(path)),
    "SavedModel": _exported("saved_model", ""),
    "LiteRT": _exported("litert", ".tflite"),
    "ONNX": _exported("onnx", ".onnx"),
}
ONLY_TENSORFLOW = ("SavedModel", "LiteRT", "ONNX")
# What Keras can do without smh. Where it cannot, the door is not to blame.
DENSE = {
    "fit": lambda case, folder: step(case.model(), case.inputs()),
    "prune": lambda case, folder: step(case.model(), case.inputs()),
    "materialize": lambda case, folder: _rebuild(case),
    ".smh": lambda case, folder: _save_and_load(case, folder / "dense.keras"),
    ".keras": lambda case, folder: _save_and_load(case, folder / "dense.keras"),
    "weights": lambda case, folder: _save_and_load_weights(case, folder / "dense.weights.h5"),
    "SavedModel": lambda case, folder: _export_by_keras(case, folder / "d", "tf_saved_model"),
    "LiteRT": lambda case, folder: _export_by_keras(case, folder / "d.tflite", "litert"),
    "ONNX": lambda case, folder: _export_by_keras(case, folder / "d.onnx", "onnx"),
}


def _export_by_keras(case, path, format):
    case.model().export(path, format=format, verbose=False)


def _rebuild(case):
    model = case.model()
    type(model).from_config(model.get_config())


def _save_and_load(case, path):
    model = case.model()
    model.save(path)
    expected = answer(model, case.inputs())
    check_equal(answer(keras.saving.load_model(path), case.inputs()), expected)


def _save_and_load_weights(case, path):
    model = case.model()
    model.save_weights(path)
    expected = answer(model, case.inputs())
    again = case.model()
    again.load_weights(path)
    check_equal(answer(again, case.inputs()), expected)


# In a new process


def _filled(case, path: Path):
    model = case.compressed()
    for variable in model.variables:  # or a file that is ignored would pass
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    model.load_weights(path)
    return model


LOADS = {
    ".smh": lambda case, path: smh.load(path),
    ".keras": lambda case, path: keras.saving.load_model(path),
    "weights": _filled,
}
FILES = {".smh": ".smh", ".keras": ".keras", "weights": ".weights.h5"}


def load(case, door, folder):
    """Raises if what `door` wrote is another model here."""
    path = folder / f"model{FILES[door]}"
    with np.load(folder / f"expected{FILES[door]}.npz") as expected:
        check_equal(answer(LOADS[door](case, path), case.inputs()), list(expected.values()))
