"""Outcome: `smh.quantize_weights`. The laws of all parametrizations run over it as well."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from models import mlp, numpy_of

import smh
from smh.errors import ArgumentError, ArtifactError, SelectionError
from smh.parametrizations.rounded import PER, FakeQuantized, Grid, behind, fit_grid
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
    assert isinstance(again.layers[0].kernel.parametrization, FakeQuantized)


def lopsided(seed):
    """Rows and columns of very different sizes, and some of zeros."""
    model = mlp()
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        value = rng.normal(size=layer.kernel.shape) * 10.0 ** rng.uniform(-6, 3, layer.units)
        value[rng.integers(value.shape[0])] = value[:, rng.integers(value.shape[1])] = 0
        layer.kernel.assign(value)
    return model


def of_weights(bits, granularity, seed):
    return smh.quantize_weights(lopsided(seed), bits, granularity=granularity)


def of_factors(bits, granularity, seed):
    model = smh.compress(mlp(), 0.5, seed=seed)
    return smh.quantize_factors(model, bits, granularity=granularity)


def of_pruned_factors(bits, granularity, seed):
    model = smh.prune(smh.compress(mlp(), 0.5, seed=seed), 0.4)
    return smh.quantize_factors(model, bits, granularity=granularity)


ROUNDED = {"weights": of_weights, "factors": of_factors, "pruned factors": of_pruned_factors}


def kernels(model):
    return [numpy_of(layer.kernel.value) for layer in model.layers]


EVERY_GRID = [
    pytest.param(bits, per, marks=() if (bits, per) == (4, "row") else pytest.mark.slow)
    for bits in (2, 3, 4, 7, 8)
    for per in PER
]


@pytest.mark.parametrize("bits, granularity", EVERY_GRID)
@pytest.mark.parametrize("kind", ROUNDED)
def test_live_loaded_and_runtime_are_the_same_bits(kind, bits, granularity, tmp_path):
    make, file = ROUNDED[kind], tmp_path / "m.smh"
    model = make(bits, granularity, 1)
    expected, x = kernels(model), data()[0]
    answers = numpy_of(model(x))
    into_dense = lambda: smh.load_weights(mlp(), file)  # noqa: E731
    into_rounded = lambda: smh.load_weights(make(bits, granularity, 2), file)  # noqa: E731
    for load in (lambda: smh.load(file), into_dense, into_rounded, lambda: smh.load(file)):
        smh.save(model, file)
        model = load()  # which is saved next
        found = [kernels(model)]
        if kind == "weights":  # factors are multiplied in another order by the runtime
            found.append([v for k, v in smh.runtime.load(file).items() if k.endswith("kernel")])
        for got, value in ((g, v) for f in found for g, v in zip(f, expected, strict=True)):
            np.testing.assert_array_equal(got, value)
        np.testing.assert_array_equal(numpy_of(model(x)), answers)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(numpy_of(again(x)), answers)


@pytest.mark.parametrize("kind", ROUNDED)
def test_what_was_traced_before_is_not_what_is_loaded(kind, tmp_path):
    model, other = (ROUNDED[kind](4, "tensor", seed) for seed in (1, 2))
    x = data()[0]
    other.predict(x, verbose=0)
    smh.save(model, tmp_path / "m.smh")
    smh.load_weights(other, tmp_path / "m.smh")
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("kind", ROUNDED)
def test_after_an_error_the_grid_is_as_it_was(kind, tmp_path, monkeypatch):
    model, other = (ROUNDED[kind](4, "tensor", seed) for seed in (1, 2))
    smh.save(model, tmp_path / "m.smh")
    before = kernels(other)
    monkeypatch.setattr("smh.artifact.loading.load_own_states", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        smh.load_weights(other, tmp_path / "m.smh")
    for got, value in zip(kernels(other), before, strict=True):
        np.testing.assert_array_equal(got, value)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.sampled_from(PER), st.floats(-30, 30), st.integers(0, 2**31))
def test_numbers_on_a_grid_give_it_back(bits, per, exponent, seed):
    weight = np.random.default_rng(seed).normal(size=(7, 5)) * 10.0**exponent
    grid = fit_grid(weight.astype("float32"), bits, per)
    rounded = numpy_of(grid.rounded(ops.convert_to_tensor(weight.astype("float32"))))
    latent, found = behind(rounded, grid)
    np.testing.assert_array_equal(numpy_of(found.rounded(ops.convert_to_tensor(latent))), rounded)
    moved = np.count_nonzero(latent != rounded)
    assert moved <= grid.scale_count((7, 5)) and (found.bits, found.per) == (bits, per)


def test_numbers_of_no_grid_are_refused():
    for numbers in ([[1, 2, 3]], [[1, 2.5, 7]], [[1, 2, -8]]):
        with pytest.raises(ArtifactError, match="'w' is said to be rounded to 4 bits"):
            behind(np.array(numbers, "float32"), Grid(4, "tensor", 64), "w")


def test_weights_files_know_the_grid(tmp_path):
    model = smh.quantize_weights(mlp(), 4)
    model.compile("sgd", "mse")
    model.fit(*data(), verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other, (x, _) = smh.quantize_weights(mlp(), 4), data()
    other.predict(x, verbose=0)  # traced with the grid as it was
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(numpy_of(other(x)), numpy_of(model(x)))
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
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
