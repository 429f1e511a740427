"""Deployed models: streaming, caching, and exactly back."""

import keras
import numpy as np
import pytest
from keras import layers
from models import CASES, SOME_CASES, mlp, numpy_of, pools_of
from parametrizations import PARAMETRIZATIONS, SOME_PARAMETRIZATIONS, inputs, network

import smh
from smh.errors import ArgumentError, DeployedModelError
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic


def close(got, expected):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * scale)


def weights(model):
    return [numpy_of(v) for v in virtual_variables(model)]


def asked_ranges(model, monkeypatch):
    """Records which entries are computed of which pool, in order."""
    asked = []
    for pool in pools_of(model):
        monkeypatch.setattr(
            pool,
            "scaled_entries",
            lambda factors, start, stop, scale, whole=pool.scaled_entries: (
                asked.append((start, stop)),
                whole(factors, start, stop, scale),
            )[1],
        )
    return asked


@pytest.mark.parametrize("case", SOME_CASES)
def test_all_modes_predict_the_same_and_the_way_back_is_exact(case):
    model = smh.compress(case.build(), case.fraction, seed=1)
    model.compile("adam", "mse")
    x, y = case.data()
    model.fit(x, y, verbose=0)
    before = weights(model)
    training = model.predict(x, verbose=0)
    slots = [numpy_of(v) for v in model.optimizer.variables]
    paths = [v.path for v in model.variables]
    for mode in ("stream", "cached"):
        assert smh.deploy(model, mode=mode) is model
        close(model.predict(x, verbose=0), training)
        close(numpy_of(model(x)), training)
        for got, expected in zip(weights(model), before, strict=True):
            close(got, expected)  # every weight, also those that begin and end mid-row
        if mode == "stream":
            assert [v.path for v in model.variables] == paths
    smh.deploy(model, mode="train")
    assert [v.path for v in model.variables] == paths
    np.testing.assert_array_equal(model.predict(x, verbose=0), training)
    for got, expected in zip(model.optimizer.variables, slots, strict=True):
        np.testing.assert_array_equal(numpy_of(got), expected)
    loss = model.fit(x, y, verbose=0).history["loss"][0]
    assert np.isfinite(loss)


@pytest.mark.parametrize("name", SOME_PARAMETRIZATIONS)
def test_every_parametrization_streams_and_caches(name):
    model = PARAMETRIZATIONS[name](network(), 3)
    expected = numpy_of(model(inputs()))
    for mode in ("stream", "cached", "train"):
        smh.deploy(model, mode=mode)
        close(numpy_of(model(inputs())), expected)


def test_training_goes_on_after_deployment_as_if_it_had_not_been():
    x, y = CASES[0].data()

    def losses(*, deployed):
        keras.utils.set_random_seed(3)
        model = smh.compress(mlp(), 0.5, seed=1)
        model.compile("adam", "mse")
        model.fit(x, y, verbose=0)
        if deployed:
            for mode in ("stream", "cached", "train"):
                smh.deploy(model, mode)
                model.predict(x, verbose=0)
        return model.fit(x, y, epochs=3, verbose=0).history["loss"]

    # On PyTorch the last bits of two runs of one dense model differ as well.
    rounding = 1e-6 if keras.backend.backend() == "torch" else 0
    np.testing.assert_allclose(losses(deployed=True), losses(deployed=False), rtol=rounding)


def test_streaming_computes_only_the_rows_of_each_layer_and_in_the_order_of_layers(monkeypatch):
    model = smh.compress(mlp(width=50), 0.5, seed=1)
    spans = [(s.begin, s.begin + s.length) for s in _slots(model)]
    cols = pools_of(model)[0].product.shape.cols
    assert any(edge % cols for span in spans for edge in span), "no slot begins or ends mid-row"
    smh.deploy(model, "stream")
    asked = asked_ranges(model, monkeypatch)
    model(CASES[0].data()[0])
    assert asked == spans


def test_a_slot_that_goes_round_a_cyclic_pool_streams_from_both_ends(monkeypatch):
    pool = smh.ProductVariablePool(True, 250, 0.5, index_store_type="cyclic", seed=0)
    model = smh.compress(mlp(), pool=pool)
    smh.deploy(model, "stream")
    asked = asked_ranges(model, monkeypatch)
    model(CASES[0].data()[0])
    assert asked == [s for slot in _slots(model) for s in slot.segments]
    assert len(asked) == len(_slots(model)) + 1


def _slots(model):
    return [v.parametrization.slot for v in virtual_variables(model)]


@pytest.mark.parametrize(
    "wrap",
    [lambda cell: layers.RNN(cell), lambda cell: layers.Bidirectional(layers.RNN(cell))],
    ids=["rnn", "bidirectional"],
)
def test_a_recurrent_layer_streams_before_its_loop(wrap, monkeypatch):
    model = keras.Sequential([keras.Input((7, 3)), wrap(layers.LSTMCell(8))])
    smh.compress(model, 0.6, seed=1)
    smh.deploy(model, "stream")
    asked = asked_ranges(model, monkeypatch)
    model(np.ones((2, 7, 3), "float32"))
    assert len(asked) == len(virtual_variables(model))


def test_nothing_dense_stays_behind_when_streaming():
    model = smh.compress(mlp(), 0.5)
    smh.deploy(model, "cached")
    assert smh.report(model).bytes > smh.report(mlp()).bytes
    assert "cached" in str(smh.report(model))
    smh.deploy(model, "stream")
    assert smh.report(model).bytes < smh.report(mlp()).bytes


def test_a_cached_model_refuses_to_train_but_a_frozen_one_is_a_backbone():
    x, y = CASES[0].data()
    model = smh.compress(mlp(), 0.5)
    model.compile("adam", "mse")
    smh.deploy(model, "cached")
    before = [numpy_of(v) for v in model.variables]
    with pytest.raises(DeployedModelError, match="smh.deploy.*mode='train'"):
        model.fit(x, y, verbose=0)
    for got, expected in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(numpy_of(got), expected)
    model.trainable = False
    outer = keras.Sequential([keras.Input((12,)), model, layers.Dense(3)])
    outer.compile("adam", "mse")
    outer.fit(x, y, verbose=0)


def test_a_streaming_model_can_train():
    x, y = CASES[0].data()
    keras.utils.set_random_seed(0)
    models = [smh.compress(mlp(), 0.5, seed=1) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    smh.deploy(models[1], "stream")
    for model in models:
        model.compile("adam", "mse")
        model.fit(x, y, epochs=3, verbose=0, shuffle=False)
    for first, second in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["default", "sum of pools", "without a pool"])
def test_a_weights_file_holds_no_cache_and_loads_into_a_cached_model(name, tmp_path):
    model, other = (PARAMETRIZATIONS[name](network(), seed) for seed in (1, 2))
    expected = numpy_of(model(inputs()))
    model.save_weights(tmp_path / "train.weights.h5")
    smh.deploy(model, "cached")
    model.save_weights(tmp_path / "cached.weights.h5")
    sizes = [(tmp_path / f"{name}.weights.h5").stat().st_size for name in ("train", "cached")]
    assert sizes[0] == sizes[1]
    smh.deploy(other, "cached")
    assert np.abs(numpy_of(other(inputs())) - expected).max() > 1e-3
    other.load_weights(tmp_path / "cached.weights.h5")
    close(numpy_of(other(inputs())), expected)
    close(numpy_of(smh.deploy(other, "train")(inputs())), expected)


def test_materialize_takes_a_deployed_model():
    x, _ = CASES[0].data()
    model = smh.compress(mlp(), 0.5)
    for mode in ("stream", "cached"):
        close(numpy_of(smh.materialize(smh.deploy(model, mode))(x)), numpy_of(model(x)))


def test_the_mixed_policy_and_regularisers_are_kept():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Sequential(
        [keras.Input((12,)), layers.Dense(24, kernel_regularizer="l2"), layers.Dense(3)]
    )
    smh.compress(model, 0.5)
    x, y = CASES[0].data()
    model.compile("adam", "mse")
    expected = model.evaluate(x, y, verbose=0)
    for mode in ("stream", "cached"):
        smh.deploy(model, mode)
        assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-2)
        assert keras.backend.standardize_dtype(model(x).dtype) == "bfloat16"


def test_bad_arguments_change_nothing():
    model = smh.compress(mlp(), 0.5)
    smh.deploy(model, "cached")
    with pytest.raises(ArgumentError, match="'stream', 'cached', 'train', got 'fast'"):
        smh.deploy(model, "fast")
    assert "cached" in str(smh.report(model))
    with pytest.raises(ArgumentError, match="no compressed weights"):
        smh.deploy(mlp(), "stream")
    with pytest.raises(DeployedModelError, match="deployed"):
        smh.compress(model, 0.5, apply_to=".*bias")
