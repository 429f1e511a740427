"""Scans by gradients: the order of the exact scan, and nothing that is changed."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import smh
from smh.errors import ArgumentError
from smh.sensitivity import resuming, second_order

pytestmark = pytest.mark.backend_agnostic


def trained(seed=0):
    """A network whose outputs need some of its weights and others hardly."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(24, activation="relu"),
            layers.Dense(5, activation="softmax"),
        ]
    )
    for factor, layer in zip((1.5, 0.7, 0, 1.0, 3.0), model.layers, strict=True):
        if layer.weights:
            layer.kernel.assign(layer.kernel * factor)
    return model


def inputs(count=192):
    return np.random.default_rng(0).normal(size=(count, 8, 8, 2)).astype("float32")


def divergence_from(model, x):
    before = np.asarray(ops.convert_to_numpy(model(x)))

    def evaluate(model):
        after = np.asarray(ops.convert_to_numpy(model(x)))
        return {"kl": float((before * np.log(before / after)).sum(1).mean())}

    return evaluate


def ranks(values):
    return np.argsort(np.argsort(values))


@pytest.mark.parametrize(
    "scan, levels", [(smh.sensitivity_scan, [0.1, 0.3, 0.5]), (smh.bits_scan, [5, 4, 3])]
)
def test_the_order_is_that_of_the_exact_scan(scan, levels):
    model, x = trained(), inputs()
    exact = scan(
        model, divergence_from(model, x), levels, higher_is_better=False, seed=0, verbose=0
    )
    before = [np.array(ops.convert_to_numpy(v.value)) for v in model.variables]
    found = scan(model, x, levels, method="fisher", seed=0, verbose=0)
    for v, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v.value), was)
    assert found.metric == "divergence" and found.baseline == {"divergence": 0.0}
    assert [(r.path, r.level) for r in found.rows] == [(r.path, r.level) for r in exact.rows]
    expected = np.array([row.metrics["kl"] for row in exact.rows])
    estimated = np.array([row.metrics["divergence"] for row in found.rows])
    assert np.corrcoef(ranks(expected), ranks(estimated))[0, 1] >= 0.9
    off = np.abs(np.log(estimated / expected))
    assert np.median(off) < 0.5


@pytest.mark.parametrize(
    "scan, levels, places",
    [
        (smh.sensitivity_scan, [0.1, 0.3, 0.5, 0.7, 0.9], [2, 4]),
        (smh.sensitivity_scan, [0.8], [0]),
        (smh.bits_scan, [6, 4, 3, 2, 1], [2, 4]),
    ],
)
def test_large_changes_are_measured(scan, levels, places, monkeypatch):
    monkeypatch.setattr(second_order, "SMALL", 0.0)
    model, x = trained(), inputs(second_order.FEW)
    exact = scan(
        model, divergence_from(model, x), levels, higher_is_better=False, seed=0, verbose=0
    )
    found = scan(model, x, levels, method="fisher", seed=0, verbose=0)
    expected, got = (
        np.array([row.metrics[one.metric] for row in one.rows]).reshape(-1, len(levels))
        for one in (exact, found)
    )
    np.testing.assert_allclose(got[:, places], expected[:, places], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "measured, expected",
    [
        ({}, [1, 4, 9, 16]),
        ({3: 32.0}, [2**0.25, 4 * 2**0.5, 9 * 2**0.75, 32]),
        ({1: 8.0, 3: 16.0}, [2**0.5, 8, 9 * 2**0.5, 16]),
        ({1: 0.0, 3: 16.0}, [1, 0, 9, 16]),
        ({1: np.inf, 3: 16.0}, [1, np.inf, np.inf, 16]),
        ({3: np.nan}, [1, 4, 9, np.nan]),
    ],
)
def test_between_what_was_measured_the_ratio_goes_with_the_change(measured, expected):
    found = second_order.corrected(np.array([1.0, 4.0, 9.0, 16.0]), measured)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    "estimates, places",
    [
        ([1.0], [0]),
        ([1e-3], []),
        ([1e-3, 1.0], [1]),
        ([1.0] * 9, [4, 8]),
        ([1e-3] * 4 + [1], [4]),
        ([1e-3, np.nan, 1.0, np.inf], [0, 1, 2, 3]),
    ],
)
def test_the_middle_and_the_last_are_measured_where_they_are_not_small(estimates, places):
    assert second_order.places_to_measure(np.array(estimates)) == places


def test_without_finite_gradients_what_was_measured_stands():
    found = second_order.corrected(np.array([1.0, np.inf, np.nan]), {0: 2.0, 1: 1e-200, 2: 3.0})
    np.testing.assert_array_equal(found, [2.0, 1e-200, 3.0])


def in_training_mode():
    """Layers that change a state of theirs when they are called with `training=True`."""
    x = keras.Input((6,))
    y = layers.BatchNormalization()(layers.Dense(8, "relu")(x), training=True)
    y = layers.Dropout(0.3, seed=1)(layers.Dense(8, "relu")(y), training=True)
    model = keras.Model(x, layers.Dense(3, "softmax")(y))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("method", ["exact", "fisher"])
def test_a_scan_goes_on_from_the_changed_layer_and_leaves_all_states(method, monkeypatch):
    model, parts = in_training_mode(), []
    computed = resuming._Part._computed
    monkeypatch.setattr(
        resuming._Part, "_computed", lambda *args: parts.append(args) or computed(*args)
    )
    x = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    before = [np.array(ops.convert_to_numpy(v.value)) for v in model.variables]
    data = x if method == "fisher" else (x, np.arange(40) % 3)
    found = smh.sensitivity_scan(model, data, [0.5, 0.9], method=method, verbose=0)
    assert len(found.rows) == 6 and parts
    for v, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v.value), was, err_msg=v.path)


def test_where_second_order_is_zero_what_was_measured_stands():
    np.testing.assert_array_equal(second_order.corrected(np.zeros(3), {2: 1.5}), [0, 0, 1.5])


def test_a_suggestion_and_a_compressed_model():
    model = smh.compress(trained(), 0.5, seed=0)
    x = inputs(64)
    found = smh.sensitivity_scan(model, (x, np.zeros(64)), [0.3, 0.6], method="fisher", verbose=0)
    assert len(found.paths) == 2, "the factors of the pool"
    smh.prune(model, found.suggest(budget=0.4))
    assert "divergence" in str(found)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"method": "hessian"}, "method must be one of exact, fisher"),
        ({"method": "fisher", "metric": "accuracy"}, "takes no metric"),
        ({"method": "fisher", "higher_is_better": True}, "no higher_is_better"),
        ({"method": "fisher", "evaluate": lambda model: 1.0}, "calls no function"),
        ({"method": "fisher", "evaluate": inputs(4)[..., :1]}, "cannot be called on these data"),
        ({"method": "fisher", "evaluate": inputs(0)}, "one example or more"),
    ],
)
def test_wrong_arguments_change_nothing(arguments, match):
    model = trained()
    evaluate = arguments.pop("evaluate", inputs(4))
    before = [np.array(ops.convert_to_numpy(v.value)) for v in model.variables]
    with pytest.raises(ArgumentError, match=match):
        smh.sensitivity_scan(model, evaluate, [0.5], verbose=0, **arguments)
    for v, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v.value), was)


@pytest.mark.parametrize("together", [1.0, -1.0])
def test_what_two_numbers_do_together_counts(together):
    """Two inputs that are always alike: what leaves with both adds up, or cancels out."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0], [together]])
    x = np.random.default_rng(0).normal(size=(512, 1)).astype("float32").repeat(2, axis=1)
    (variable,) = model.trainable_variables
    off = np.array([[-0.1, -0.1 * together], [-0.4, -0.4 * together]], "float32")
    (found,) = second_order.SecondOrder(model, x).divergences([[(variable, off)]])
    moved = x @ off.T  # `[examples, levels]`
    spread = model.predict(x[:32], verbose=0).std() or 1.0
    wanted = 0.5 * np.square(moved / spread).mean(0)
    np.testing.assert_allclose(found, wanted, rtol=0.5, atol=1e-12)
    one = keras.Input((1,))  # the same as two layers that change together
    both = [layers.Dense(1, use_bias=False) for _ in range(2)]
    apart = keras.Model(one, layers.add([layer(one) for layer in both]))
    both[1].kernel.assign([[together]])
    both[0].kernel.assign([[1.0]])
    group = [(layer.kernel, off[:, i : i + 1]) for i, layer in enumerate(both)]
    again = second_order.SecondOrder(apart, x[:, :1]).divergences([group])[0]
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-12)
