"""Outcome: `smh.quantize_factors`. The laws of all parametrizations run over it as well."""

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from models import CASES, by_name, mlp, numpy_of, pools_of
from parametrizations import Gated

import smh
from smh import coding
from smh.errors import ArgumentError, DeployedModelError
from smh.parametrizations.integers import grid_of, quantized
from smh.parametrizations.rounded import PER, FakeQuantized, Grid, fit_grid
from smh.virtual_variable import attach, seen, wrap

pytestmark = pytest.mark.backend_agnostic


def compressed(bits=None, seed=1, **kwargs):
    keras.utils.set_random_seed(0)  # the scale starts from the dense weights
    model = smh.compress(mlp(), 0.5, seed=seed)
    return smh.quantize_factors(model, bits, **kwargs)


def factors(model):
    return [factor for pool in pools_of(model) for factor in pool.core_variables]


def dequantized(stored):
    """What an artifact's reader computes."""
    scales = stored.scales
    if stored.axis == 0:
        scales = scales.reshape(-1, *[1] * (stored.integers.ndim - 1))
    return stored.integers.astype("float32") * scales


def traced(function):
    """The function's value, computed inside a compiled function where the backend has them."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return numpy_of(tf.function(function)())
    if keras.backend.backend() == "jax":
        import jax

        return numpy_of(jax.jit(function)())
    return numpy_of(function())


def gradients(function, variables):
    """The derivatives of `function()` by `variables`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        return [numpy_of(g) for g in tape.gradient(value, [v.value for v in variables])]
    if keras.backend.backend() == "torch":
        value = function()
        for variable in variables:
            variable.value.grad = None
        value.backward()
        return [numpy_of(variable.value.grad) for variable in variables]
    import jax

    def of(values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function()

    return [numpy_of(g) for g in jax.grad(of)([v.value for v in variables])]


SHAPES = {"matrix": (30, 8), "kronecker": (3, 5, 5), "vector": (50,)}


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("shape", ["matrix", "kronecker"])
def test_the_artifact_holds_what_the_model_computes_with_bit_for_bit(shape, bits, per):
    weight = np.random.default_rng(bits).normal(size=SHAPES[shape]).astype("float32")
    weight[1] = 0  # a row without a scale
    factor = keras.Variable(weight, name="factor")
    wrap(factor, FakeQuantized(factor, fit_grid(weight, bits, per)))
    stored = quantized(factor)
    half = 2 ** (bits - 1) - 1
    assert stored.integers.dtype == np.int8 and np.abs(stored.integers).max() == half
    assert stored.scales.dtype == np.float32 and stored.scales.ndim == 1
    encoded = coding.encode(stored.integers, stored.coding)
    decoded = coding.decode(encoded.spec, encoded.payload)
    for value in (numpy_of(seen(factor)), traced(lambda: seen(factor)), decoded):
        np.testing.assert_array_equal(value, dequantized(stored))


def test_a_compiled_model_computes_with_what_the_artifact_holds():
    model = compressed(3, granularity="column")
    stored = [dequantized(quantized(factor)) for factor in factors(model)]
    plain = compressed()
    plain.set_weights(model.get_weights())
    for factor, value in zip(factors(plain), stored, strict=True):
        factor.assign(value)
    x, _ = CASES[0].data()
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(list(SHAPES)),
    st.integers(2, 8),
    st.sampled_from(("auto", *PER)),
    st.floats(-36, 30),
    st.integers(0, 2**31),
)
def test_rounding_is_near_symmetric_repeatable_and_never_nan(shape, bits, per, exponent, seed):
    size = np.float32(10.0**exponent)
    weight = np.random.default_rng(seed).normal(size=SHAPES[shape]).astype("float32") * size
    grid = fit_grid(weight, bits, per)
    rounded = numpy_of(grid.rounded(ops.convert_to_tensor(weight)))
    assert np.isfinite(rounded).all()
    np.testing.assert_array_equal(numpy_of(grid.rounded(ops.convert_to_tensor(-weight))), -rounded)
    scales = numpy_of(grid.scales(ops.convert_to_tensor(weight)))
    inside = np.abs(weight) <= grid.half * scales
    off = np.abs(rounded - weight) / np.where(scales > 0, scales, 1)
    assert (off[np.broadcast_to(inside, weight.shape)] <= 0.5001).all()
    # No other ratio has a smaller error.
    error = np.square(rounded - weight, dtype="float64").sum()
    for ratio in (16, 32, 64):
        other = numpy_of(dataclasses.replace(grid, ratio=ratio).rounded(weight))
        assert error <= np.square(other - weight, dtype="float64").sum() * (1 + 1e-5)


@pytest.mark.parametrize("weight", [np.zeros((4, 3)), np.full((4, 3), 1e-42)])
@pytest.mark.parametrize("per", PER)
def test_what_has_no_scale_becomes_zero(weight, per):
    grid = fit_grid(weight, 2, per)
    assert not numpy_of(grid.rounded(ops.convert_to_tensor(weight.astype("float32")))).any()


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    model, other = compressed(4), compressed()
    x, _ = CASES[0].data()
    for rounded, plain in zip(factors(model), factors(other), strict=True):
        plain.assign(dequantized(quantized(rounded)))
    got, expected = (
        gradients(lambda m=m: ops.sum(ops.square(m(x))), factors(m)) for m in (model, other)
    )
    for one, two in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5 * np.abs(two).max())
    assert any(np.abs(numpy_of(f)).max() > np.abs(numpy_of(seen(f))).max() for f in factors(model))


@pytest.mark.parametrize("name", ["sequential", "nested", "shared layer", "lstm"])
def test_factors_are_rounded_once_per_outermost_call(name, monkeypatch):
    case = by_name[name]
    model = smh.quantize_factors(smh.compress(case.build(), case.fraction), 4)
    rounded = []
    whole = Grid.rounded
    monkeypatch.setattr(Grid, "rounded", lambda *args: rounded.append(1) or whole(*args))
    for calls in (1, 2):
        model(case.data()[0])
        assert len(rounded) == calls * len(factors(model))


@pytest.mark.parametrize("mode", ["stream", "cached", "train"])
def test_a_model_with_rounded_factors_deploys(mode):
    model = compressed(3)
    x, y = CASES[0].data()
    expected = numpy_of(model(x))
    assert np.abs(expected - numpy_of(compressed()(x))).max() > 1e-3
    smh.deploy(model, mode)
    for got in (numpy_of(model(x)), model.predict(x, verbose=0)):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    if mode == "stream":
        model.compile(keras.optimizers.SGD(0.01), "mse")
        before = [numpy_of(factor) for factor in factors(model)]
        model.fit(x, y, verbose=0)
        for factor, old in zip(factors(model), before, strict=True):
            assert np.any(numpy_of(factor) != old)


def test_eight_bits_are_close_to_float_and_fewer_are_further():
    x, _ = CASES[0].data()
    expected = numpy_of(compressed()(x))
    scale = np.abs(expected).max()
    errors = [np.abs(numpy_of(compressed(b)(x)) - expected).max() / scale for b in (8, 6, 4, 2)]
    assert errors[0] < 0.02 and errors == sorted(errors)


def test_training_goes_on_with_the_optimizers_state_and_can_be_undone():
    x, y = CASES[0].data(count=64)
    model = compressed()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, epochs=3, verbose=0)
    optimizer, variables = model.optimizer, [id(v) for v in model.variables]
    slots, floats = [numpy_of(v) for v in optimizer.variables], model.predict(x, verbose=0)

    def train_rounded(bits):
        assert smh.quantize_factors(model, bits) is model
        assert model.optimizer is optimizer and [id(v) for v in model.variables] == variables
        return model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)

    first, rounded = train_rounded(3)
    for slot, old in zip(optimizer.variables, slots, strict=True):
        np.testing.assert_array_equal(numpy_of(slot), old)
    assert np.abs(rounded - floats).max() > 1e-3
    np.testing.assert_array_equal(train_rounded(None)[1], floats)  # bit for bit as it was
    train_rounded(8)  # other bits, on what is stored, not on what was rounded before
    np.testing.assert_array_equal(train_rounded(3)[1], rounded)
    history = model.fit(x, y, initial_epoch=3, epochs=30, verbose=0).history["loss"]
    assert history[-1] < first


def test_two_models_of_one_pool_change_together():
    pool = smh.ProductVariablePool(True, 2000, 0.3, seed=0)
    models = [smh.compress(mlp(), pool=pool) for _ in range(2)]
    x, _ = CASES[0].data()
    before = models[1].predict(x, verbose=0)
    smh.deploy(models[1], "cached")
    smh.quantize_factors(models[0], 2)
    for mode in ("cached", "train"):
        after = smh.deploy(models[1], mode).predict(x, verbose=0)
        assert np.abs(after - before).max() > 1e-3


def test_a_factor_that_is_virtual_itself_is_rounded_too():
    model = compressed()
    pool = pools_of(model)[0]
    rng = np.random.default_rng(0)
    for factor in pool.core_variables:
        factor.assign(rng.normal(size=factor.shape))
        attach([pool], factor, Gated.of(factor))  # half of it, to begin with
    for bits in (4, 3, None):
        smh.quantize_factors(model, bits)
        for factor in pool.core_variables:
            assert isinstance(factor, smh.VirtualVariable)
            value, gated = numpy_of(seen(factor)), numpy_of(factor.value)
            assert len(np.unique(value)) <= (2**bits - 1 if bits else gated.size)
            assert np.corrcoef(value.ravel(), gated.ravel())[0, 1] > 0.9
    smh.quantize_factors(model, 4)
    x, y = CASES[0].data()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    parts = [p for factor in pool.core_variables for p in factor.parametrization.parts]
    before = [numpy_of(part) for part in parts]
    model.fit(x, y, verbose=0)
    for part, old in zip(parts, before, strict=True):
        assert np.any(numpy_of(part) != old)


def test_a_hash_pool_has_one_scale_and_a_frozen_pool_stays_frozen():
    pool = smh.HashVariablePool(True, 1.0, 2000, 0.3, seed=0)
    model = smh.compress(mlp(), pool=pool)
    model.trainable = False
    smh.quantize_factors(model, 4, granularity="row")
    assert grid_of(pool.core_variables[0]).per == "tensor"
    assert not pool.core_variables[0].trainable and not model.trainable_variables


def test_auto_takes_finer_scales_only_where_they_pay():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 64)).astype("float32")
    assert fit_grid(weight * np.logspace(-2, 2, 64)[:, None], 4, "auto").per == "row"
    assert fit_grid(weight * np.logspace(-2, 2, 64)[None], 4, "auto").per == "column"
    assert fit_grid(weight[:, :2], 4, "auto").per != "row"  # 16 bits of scale for each number
    # One replica: a scale for each number would be exact, and no smaller than the numbers.
    assert fit_grid(weight[:, :1], 4, "auto").per != "row"
    assert fit_grid(weight[:1], 4, "auto").per != "column"


def test_files_hold_the_grid_and_fit_before_and_after(tmp_path):
    x, y = CASES[0].data()
    model = compressed(3, granularity="row")
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    expected = model.predict(x, verbose=0)
    rounded, plain = tmp_path / "rounded.weights.h5", tmp_path / "plain.weights.h5"
    model.save_weights(rounded)
    smh.quantize_factors(model, None).save_weights(plain)
    other = compressed(3, seed=2)
    other.predict(x, verbose=0)  # a trace with its own grid, which loading has to drop
    other.load_weights(rounded)
    np.testing.assert_array_equal(other.predict(x, verbose=0), expected)
    assert [grid_of(f).per for f in factors(other)] == ["row", "row"]
    other = compressed(3, seed=2, granularity="row")
    other.load_weights(plain)  # float factors, with no grid: it is fitted to them
    smh.quantize_factors(model, 3, granularity="row")
    assert [grid_of(f) for f in factors(other)] == [grid_of(f) for f in factors(model)]
    with pytest.raises(ValueError, match=r"quantize_factors\(model, bits=3\)"):
        compressed().load_weights(rounded)
    with pytest.raises(ValueError, match=r"trained for 3 bits.*to 5.*bits=3"):
        compressed(5).load_weights(rounded)


def test_the_report_shows_bits_and_bytes_at_that_width():
    model = compressed()
    before = smh.report(model)
    assert before.packed == before.bytes and "packed" not in str(before)
    report = smh.report(smh.quantize_factors(model, 3, granularity="row"))
    assert report.bytes == before.bytes and report.trained_params == before.trained_params
    rows = {row.path: row for row in report.rows}
    saved = 0
    for factor in factors(model):
        row, numbers = rows[factor.path], int(np.prod(factor.shape))
        assert row.bits == 3 and row.stored == "3 bits, scale per row"
        assert row.packed == -(-numbers * 3 // 8) + 4 * factor.shape[0]
        saved += 4 * numbers - row.packed
    assert report.packed == report.bytes - saved
    assert "packed" in str(report) and "3 bits" in str(report)


BAD = {
    "not compressed": (mlp, {}, ArgumentError, r"smh\.compress"),
    "not a model": (lambda: 7, {}, ArgumentError, "Keras 3 model"),
    "bits": (compressed, {"bits": 9}, ArgumentError, "2 to 8.*got 9"),
    "one bit": (compressed, {"bits": 1}, ArgumentError, "2 to 8.*got 1"),
    "bits of a float": (compressed, {"bits": 4.0}, ArgumentError, r"got 4\.0"),
    "granularity": (
        compressed,
        {"granularity": "block"},
        ArgumentError,
        "'auto', 'tensor'.*'block'",
    ),
    "streaming": (
        lambda: smh.deploy(compressed(), "stream"),
        {},
        DeployedModelError,
        "mode='train'",
    ),
    "cached": (lambda: smh.deploy(compressed(), "cached"), {}, DeployedModelError, "mode='train'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_change_nothing(name):
    make, options, error, message = BAD[name]
    model = make()
    with pytest.raises(error, match=message):
        smh.quantize_factors(model, **options)
    if name not in ("not compressed", "not a model"):
        assert all(grid_of(factor) is None for factor in factors(model))


def test_factors_that_are_not_finite_are_refused_before_any_is_rounded():
    model = compressed()
    factors(model)[1].assign(np.full(factors(model)[1].shape, np.nan))
    with pytest.raises(ArgumentError, match="variable_right.*not finite"):
        smh.quantize_factors(model, 4)
    assert all(grid_of(factor) is None for factor in factors(model))
    with pytest.raises(ArgumentError, match="is not rounded.*quantize_factors"):
        quantized(factors(model)[0])
