"""Outcome: a table of wrong calls, the message each gives, and the model unchanged after it."""

import importlib
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import TwoLayers, mlp

import smh
from smh.errors import (
    ArgumentError,
    GraphModeError,
    PoolExhaustedError,
    SelectionError,
    UnbuiltModelError,
)

pytestmark = pytest.mark.backend_agnostic


def pool(size=500):
    return smh.ProductVariablePool(True, pool_size=size, fraction=0.5)


def fails(tensor):
    raise RuntimeError("boom")


WRONG = {
    "nothing given": (
        {},
        ArgumentError,
        r"exactly one of fraction, target_params and pool, .*smh.compress\(model, fraction=0.1\)",
    ),
    "two given": ({"fraction": 0.1, "target_params": 5}, ArgumentError, "exactly one of"),
    "fraction zero": ({"fraction": 0}, ArgumentError, "above 0 and at most 1, got 0"),
    "fraction above one": ({"fraction": 1.2}, ArgumentError, "above 0 and at most 1, got 1.2"),
    "fraction nan": ({"fraction": float("nan")}, ArgumentError, "above 0 and at most 1"),
    "fraction no number": (
        {"fraction": "10%"},
        ArgumentError,
        "at most 1, got '10%'",
    ),
    "fraction too small": (
        {"fraction": 0.01},
        ArgumentError,
        r"fraction=0.01 is too small: .* 0 replicas. The smallest fraction .* is 0.106",
    ),
    "target too small": (
        {"target_params": 30},
        ArgumentError,
        "target_params=30 is too small: .* one replica of the pool need 67",
    ),
    "target too large": ({"target_params": 10**6}, ArgumentError, "more than the 387 that"),
    "target no integer": ({"target_params": 1.5}, ArgumentError, "a whole number, got 1.5"),
    "seed no integer": (
        {"fraction": 0.5, "seed": 1.5},
        ArgumentError,
        "seed must be .*1.5",
    ),
    "seed negative": ({"fraction": 0.5, "seed": -1}, ArgumentError, "at least 0, or None, got -1"),
    "bad regex": (
        {"fraction": 0.5, "apply_to": "(kernel"},
        ArgumentError,
        r"apply_to='\(kernel' is not a regular expression: missing \)",
    ),
    "bad exclude": ({"fraction": 0.5, "exclude": 3}, ArgumentError, "exclude must be a path"),
    "nothing selected": (
        {"fraction": 0.5, "apply_to": "conv"},
        SelectionError,
        r"(?s)Nothing was selected in 'sequential'.*dense/kernel \(12, 24\) float32.*dense_1/bias",
    ),
    "all excluded": ({"fraction": 0.5, "exclude": ".*"}, SelectionError, "Nothing was selected"),
    "pool and fraction": (
        {"pool": pool(), "fraction": 0.5},
        ArgumentError,
        "fraction is decided by `pool` already",
    ),
    "no pool": ({"pool": 0.1}, ArgumentError, "pool must be a VariablePool, got float"),
    "full pool": (
        {"pool": pool(300)},
        PoolExhaustedError,
        "360 entries asked for, 0 of 324 used, 324 free. The smallest pool_size .* is 360",
    ),
    "modifier no function": (
        {"fraction": 0.5, "modifier": 2.0},
        ArgumentError,
        "a function of one tensor, a smh.Modifier or None, got float",
    ),
    "modifier fails": (
        {"fraction": 0.5, "modifier": fails},
        ArgumentError,
        r"modifier failed on a tensor of shape \(24, 3\): boom",
    ),
    "modifier starts below zero": (
        {"fraction": 0.5, "modifier": smh.modifiers.LogScaleModifier(lambda spec: -1)},
        ArgumentError,
        r"scale of '.*kernel' cannot start from -1: it is trained as its logarithm",
    ),
    "modifier changes the shape": (
        {"fraction": 0.5, "modifier": lambda tensor: tensor[0]},
        SelectionError,
        r"returned shape \(3,\), expected \(24, 3\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_message_and_model_unchanged(name):
    kwargs, error, message = WRONG[name]
    model = mlp()
    x = np.ones((2, 12), "float32")
    variables, before = [id(v) for v in model.variables], ops.convert_to_numpy(model(x))
    position = kwargs["pool"].status if hasattr(kwargs.get("pool"), "status") else None
    with pytest.raises(error, match=message):
        smh.compress(model, **kwargs)
    assert [id(v) for v in model.variables] == variables
    assert type(model.layers[0].kernel) is keras.Variable
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), before)
    if position is not None:
        assert kwargs["pool"].status == position
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((2, 3)), verbose=0)


@pytest.mark.parametrize(
    "model", [TwoLayers(), keras.Sequential([layers.Dense(3)]), keras.Sequential([])]
)
def test_unbuilt_models_say_how_to_build(model):
    with pytest.raises(UnbuiltModelError, match=r"keras.Input\(shape\), call model.build"):
        smh.compress(model, 0.5)


def test_a_model_without_weights():
    model = keras.Sequential([keras.Input((4,)), layers.ReLU()])
    with pytest.raises(SelectionError, match=r"\(no variables\)"):
        smh.compress(model, 0.5)


def test_no_model_at_all():
    for call in (smh.compress, smh.report, smh.materialize):
        with pytest.raises(ArgumentError, match="must be a Keras 3 model or layer, got str"):
            call("model")


def test_compressing_twice_says_so_and_changes_nothing():
    model = smh.compress(mlp(), 0.5)
    before = model.get_weights()
    with pytest.raises(SelectionError, match="its weights are computed already"):
        smh.compress(model, 0.3)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_layers_are_not_selected():
    model = mlp()
    model.layers[0].trainable = False
    smh.compress(model, 0.9)
    assert type(model.layers[0].kernel) is keras.Variable
    model.layers[0].trainable = True
    frozen = mlp()
    frozen.trainable = False
    with pytest.raises(SelectionError, match="not trainable"):
        smh.compress(frozen, 0.5)


def test_one_element_zero_filter_nan_and_float16_weights():
    one = keras.Sequential([keras.Input((1,)), layers.Dense(1), layers.Dense(40), layers.Dense(40)])
    smh.compress(one, 0.5)
    assert one.predict(np.ones((2, 1)), verbose=0).shape == (2, 40)

    keras.config.set_dtype_policy("float16")
    half = mlp()
    smh.compress(half, 0.5)
    assert half.layers[0].kernel.dtype == "float16"
    output = half(np.ones((2, 12), "float16"))
    assert keras.backend.standardize_dtype(output.dtype) == "float16"
    keras.config.set_dtype_policy("float32")

    spoiled = mlp()
    spoiled.layers[0].kernel.assign(np.full((12, 24), np.nan))
    with pytest.raises(SelectionError, match=r"dense\w*/kernel' has weights that are not finite"):
        smh.compress(spoiled, 0.5)
    smh.compress(spoiled, 0.5, modifier=None)


def test_a_constructor_error_names_the_variable_factory_argument():
    with pytest.raises(SelectionError, match="variable_pool must be a VariablePool or None"):
        smh.VariableFactory("pool", ".*")
    with pytest.raises(ArgumentError, match="is not a regular expression"):
        smh.VariableFactory(pool(), "*")


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="works there")
@pytest.mark.parametrize("name", ["custom_getter_tf2", "custom_getter", "tf_slim_compat"])
def test_what_needs_tensorflow_says_so_before_anything_is_changed(name):
    variable_pool, loaded = pool(), set(sys.modules)
    factory = smh.VariableFactory(variable_pool, ".*")
    with pytest.raises(GraphModeError, match=f"{name} needs Keras on TensorFlow.*smh.compress"):
        importlib.import_module(f"smh.{name}") if "slim" in name else getattr(factory, name)
    assert variable_pool.status == 0 and not variable_pool.built
    assert not factory.layer_name_variable_index_map
    assert not {m for m in set(sys.modules) - loaded if m.startswith(("tensorflow", "tf_keras"))}
