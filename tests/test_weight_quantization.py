"""Outcome: `smh.quantize_weights`. The laws of all parametrizations run over it as well."""

import keras
import numpy as np
import pytest
from keras import layers
from models import mlp, numpy_of

import smh
from smh.errors import ArgumentError, SelectionError
from smh.parametrizations.rounded import FakeQuantized
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic


def data(count=64):
    x = np.random.default_rng(0).normal(size=(count, 12)).astype("float32")
    return x, x[:, :3] ** 2


def test_weights_lie_on_their_grid_and_train():
    model = mlp()
    model.compile("adam", "mse")
    before = numpy_of(model.layers[0].kernel.value).copy()
    assert smh.quantize_weights(model, 3, granularity="tensor") is model
    kernel = model.layers[0].kernel
    rounded = numpy_of(kernel.value)
    levels = np.unique(rounded)
    assert levels.size <= 7
    np.testing.assert_allclose(np.diff(levels), np.diff(levels)[0], rtol=1e-4)
    inside = np.abs(before) < levels.max()
    assert np.abs(rounded - before)[inside].max() <= np.diff(levels)[0] / 2 + 1e-6
    losses = model.fit(*data(), epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and np.unique(numpy_of(kernel.value)).size <= 7
    report = smh.report(model)
    row = next(r for r in report.rows if r.path == kernel.path)
    assert (row.bits, row.stored) == (3, "3 bits, scale per tensor") and row.packed < 12 * 24 / 2


def test_bits_change_and_the_float_weights_stay():
    model = mlp()
    dense = numpy_of(model.layers[0].kernel.value).copy()
    path = model.layers[0].kernel.path
    smh.quantize_weights(model, [(path, 2)])
    assert type(model.layers[1].kernel) is keras.Variable
    smh.quantize_weights(model, 8)
    np.testing.assert_allclose(numpy_of(model.layers[0].kernel.value), dense, atol=0.01)
    np.testing.assert_array_equal(
        numpy_of(model.layers[0].kernel.parametrization.factor.value), dense
    )


@pytest.mark.parametrize("granularity", ["tensor", "row", "column"])
def test_the_file_holds_the_integers(tmp_path, granularity):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((300,)), layers.Dense(500, use_bias=False)])
    smh.quantize_weights(model, 4, granularity=granularity)
    smh.save(model, tmp_path / "m.smh")
    scales = {"tensor": 1, "row": 300, "column": 500}[granularity]
    assert (tmp_path / "m.smh").stat().st_size < 150_000 / 2 + 4 * scales + 2000
    expected = numpy_of(model.layers[0].kernel.value)
    found = smh.runtime.load(tmp_path / "m.smh")[model.layers[0].kernel.path]
    np.testing.assert_array_equal(found, expected)
    again = smh.load(tmp_path / "m.smh")
    kernel = again.layers[0].kernel
    assert isinstance(kernel.parametrization, FakeQuantized)
    np.testing.assert_allclose(numpy_of(kernel.value), expected, rtol=1e-6)


def test_weights_files_know_the_grid(tmp_path):
    model = smh.quantize_weights(mlp(), 4)
    model.compile("sgd", "mse")
    model.fit(*data(), verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other = smh.quantize_weights(mlp(), 4)
    other.load_weights(tmp_path / "m.weights.h5")
    x, _ = data()
    np.testing.assert_array_equal(numpy_of(other(x)), numpy_of(model(x)))
    with pytest.raises(ValueError, match="4 bits"):  # Keras passes it on as its own
        smh.quantize_weights(mlp(), 3).load_weights(tmp_path / "m.weights.h5")


def test_what_cannot_be_rounded():
    for bits in (1, 9, 2.5, True, "4", [("nowhere", 4)]):
        model = mlp()
        with pytest.raises(ArgumentError):
            smh.quantize_weights(model, bits)
        assert not virtual_variables(model)
    with pytest.raises(ArgumentError, match="granularity"):
        smh.quantize_weights(mlp(), 4, granularity="block")
    with pytest.raises(SelectionError, match="quantize_factors"):
        smh.quantize_weights(smh.compress(mlp(), 0.5), 4)
    pruned = smh.prune(mlp(), 0.5, apply_to=lambda v: v.shape == (24, 3))
    smh.quantize_weights(pruned, 4)  # the other one
    assert [type(v.parametrization).__name__ for v in virtual_variables(pruned)] == [
        "FakeQuantized",
        "Masked",
    ]
    with pytest.raises(ArgumentError, match="smh.cluster"):
        smh.quantize_weights(pruned, 4, apply_to=".*")
    with pytest.raises(ArgumentError, match="quantize_weights"):
        smh.prune(smh.quantize_weights(mlp(), 4), 0.5)
    with pytest.raises(ArgumentError, match="quantize_weights"):
        smh.cluster(smh.quantize_weights(mlp(), 4), 4)
