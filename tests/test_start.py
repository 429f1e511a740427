"""Outcome: how `compress` starts: deviations, waste, few replicas, balanced rows."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import mlp, pools_of

import smh
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic

INITIALIZERS = ["glorot_uniform", "he_normal", "lecun_uniform", "orthogonal", "random_normal"]


def lenet(initializer):
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(300, kernel_initializer=initializer),
            layers.Dense(100, kernel_initializer=initializer),
            layers.Dense(10, kernel_initializer=initializer),
        ]
    )


@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("replicas", [3, 16])
def test_every_weight_starts_with_the_deviation_of_its_own_initializer(initializer, replicas):
    model = lenet(initializer)
    before = {v.path: ops.convert_to_numpy(v).std() for v in model.trainable_variables}
    fraction = replicas * 2.02 * math.sqrt(266_200) / 266_200
    smh.compress(model, fraction, seed=2)
    assert pools_of(model)[0].core_variables[0].shape[1] == replicas
    for virtual in virtual_variables(model):
        std = ops.convert_to_numpy(virtual.value).std()
        if math.prod(virtual.shape) > 1000:
            assert std == pytest.approx(before[virtual.path], rel=0.1), virtual.path
        (scale,) = virtual.parametrization.parts
        assert float(ops.convert_to_numpy(scale)) == pytest.approx(before[virtual.path], rel=1e-4)


def test_scales_that_are_trained_as_logarithms_start_at_the_same_deviations():
    models = []
    for modifier in ("initial_std_modifier", "initial_std_log_scale_modifier"):
        model = lenet(keras.initializers.GlorotUniform(seed=5))
        modifier = getattr(smh.modifiers, modifier)
        models.append(smh.compress(model, 0.1, apply_to=".*", modifier=modifier, seed=2))
    for one, other in zip(*map(virtual_variables, models), strict=True):
        if "bias" in one.path:  # zeros have no logarithm
            assert ops.convert_to_numpy(one.value).any() == 0
            (part,) = other.parametrization.parts
            assert float(ops.exp(part)) == pytest.approx(0.01)
        else:
            values = [ops.convert_to_numpy(v.value) for v in (one, other)]
            np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


def test_rows_of_the_product_are_even_also_with_three_replicas():
    model = smh.compress(lenet("glorot_uniform"), 0.012, seed=2)
    left, right = (ops.convert_to_numpy(v) for v in pools_of(model)[0].core_variables)
    assert left.shape[1] == 3
    rms = np.sqrt(np.mean((left @ right) ** 2, axis=1))
    np.testing.assert_allclose(rms, 1.0, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(left, axis=1), 1.0, rtol=1e-5)
    gram = right @ right.T / right.shape[1]
    np.testing.assert_allclose(gram, np.eye(3), atol=1e-4)


def test_the_published_pool_is_uneven_with_three_replicas():
    """What the default improves on (0.08 to 2.1 times the mean in the published start)."""
    pool = smh.ProductVariablePool(True, 266_200, 0.012, seed=2)
    left, right = (ops.convert_to_numpy(v) for v in pool.core_variables)
    rms = np.sqrt(np.mean((left @ right) ** 2, axis=1))
    assert rms.min() < 0.4 < 1.6 < rms.max()


def test_less_than_one_percent_of_the_pool_is_wasted():
    for model in (lenet("he_normal"), mlp(width=333), mlp(width=1000, inputs=17)):
        smh.compress(model, 0.5)
        (pool,) = pools_of(model)
        used = sum(math.prod(v.shape) for v in virtual_variables(model))
        assert pool.status == used
        assert (pool.pool_size - used) / pool.pool_size < 0.01


def test_constant_and_zero_weights_keep_their_magnitude():
    model = keras.Sequential(
        [
            keras.Input((40,)),
            layers.Dense(40, kernel_initializer="ones"),
            layers.Dense(40, kernel_initializer="zeros"),
        ]
    )
    smh.compress(model, 0.5, seed=1)
    ones, zeros = (ops.convert_to_numpy(v.value) for v in virtual_variables(model))
    assert np.sqrt(np.mean(ones**2)) == pytest.approx(1.0, rel=0.1)
    np.testing.assert_array_equal(zeros, 0.0)
    model.compile("adam", "mse")
    model.fit(np.ones((8, 40)), np.ones((8, 40)), epochs=2, verbose=0)
    assert np.abs(ops.convert_to_numpy(model.layers[1].kernel)).max() > 0


def test_no_two_rows_of_the_left_factor_start_alike():
    left = ops.convert_to_numpy(
        pools_of(smh.compress(lenet("glorot_uniform"), 0.062, seed=2))[0].core_variables[0]
    )
    replicas = left.shape[1]
    # Directions drawn evenly: every replica has the same share, and none is mixed with another.
    np.testing.assert_allclose(left.T @ left / len(left), np.eye(replicas) / replicas, atol=0.02)
