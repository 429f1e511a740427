"""Rounding in order, its statistics and gradients, against plain NumPy."""

import keras
import numpy as np
import pytest

from smh.shrinking import rounding
from smh.shrinking.gradients import squared_gradients
from smh.shrinking.rounding import DAMPING, Inputs, Price, round_in_order

pytestmark = pytest.mark.backend_agnostic


def correlated(n, groups=1, seed=0):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(groups, 4 * n, n)) @ random.normal(size=(groups, n, n))
    return rows.transpose(0, 2, 1) @ rows / (4 * n)


def damped(moments):
    mean = np.diagonal(moments).mean()
    return moments + DAMPING * mean * np.eye(len(moments))


def cost(error, moments):
    return np.einsum("gnm,gnk,gkm->", error, moments, error)


def test_the_factor_is_that_of_the_inverse_and_the_level_the_determinants():
    moments = correlated(7, groups=2)
    inputs = Inputs.of(moments)
    for g in range(2):
        own = inputs.order[g]
        expected = damped(moments[g])[np.ix_(own, own)]
        upper = inputs.factor[g].astype(np.float64)
        assert np.array_equal(upper, np.triu(upper))
        np.testing.assert_allclose(np.linalg.inv(upper.T @ upper), expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(inputs.level[g], np.linalg.det(expected) ** (1 / 7), rtol=1e-4)
        assert (np.diff(np.diagonal(moments[g])[own]) <= 0).all()


def test_inputs_that_are_never_there_do_no_harm():
    inputs = Inputs.of(np.zeros((2, 3, 3)))
    assert np.isfinite(inputs.factor).all() and (inputs.level > 0).all()


def test_alone_and_for_free_each_number_is_rounded_to_the_nearest():
    weights = np.random.default_rng(0).normal(size=(1, 9, 4)) * 5
    found = round_in_order(weights, Inputs.of(np.eye(9)[None]), np.full(4, 0.5), np.ones(4), 0.0)
    np.testing.assert_array_equal(found, np.rint(weights / 0.5))


@pytest.mark.parametrize("n, groups", [(6, 1), (6, 3), (150, 1)])
def test_errors_are_made_good(n, groups):
    moments = correlated(n, groups)
    weights = np.random.default_rng(1).normal(size=(groups, n, 5))
    found = round_in_order(weights, Inputs.of(moments), np.full(5, 0.7), np.ones(5), 0.0)
    by_order = cost(found * 0.7 - weights, moments)
    by_nearest = cost(np.rint(weights / 0.7) * 0.7 - weights, moments)
    assert by_order < 0.8 * by_nearest


def test_of_two_numbers_the_second_makes_good_the_first_exactly():
    """`w2` moves by `H12 / H22` times the error of `w1` before it is rounded itself."""
    moments = np.array([[[4.0, 1.5], [1.5, 1.0]]])
    weights = np.array([[[0.4], [1.3]]])
    found = round_in_order(weights, Inputs.of(moments), np.ones(1), np.ones(1), 0.0).ravel()
    h = damped(moments[0])
    assert found.tolist() == [0, np.rint(1.3 + h[0, 1] / h[1, 1] * 0.4)]


def test_blocks_change_nothing(monkeypatch):
    moments, weights = correlated(150), np.random.default_rng(1).normal(size=(1, 150, 5))
    arguments = weights, Inputs.of(moments), np.full(5, 0.5), np.ones(5), 0.02
    in_blocks = round_in_order(*arguments)
    monkeypatch.setattr(rounding, "_BLOCK", 1000)
    whole = round_in_order(*arguments)
    assert (in_blocks != whole).mean() < 0.02  # sums in another order tip a number now and then


def test_dearer_bits_are_fewer_and_cost_error():
    moments, weights = correlated(30), np.random.default_rng(1).normal(size=(1, 30, 20))
    inputs, bits, errors = Inputs.of(moments), [], []
    for multiplier in (0.0, 2.0, 20.0, 1e9):
        found = round_in_order(weights, inputs, np.full(20, 0.4), np.ones(20), multiplier)
        bits.append(float(Price(found)(found).sum()))
        errors.append(float(cost(found * 0.4 - weights, moments)))
    assert bits == sorted(bits, reverse=True) and errors == sorted(errors)
    assert not found.any()


def test_what_is_not_kept_is_zero():
    keep = np.random.default_rng(2).random((1, 9, 4)) < 0.5
    weights = np.random.default_rng(0).normal(size=(1, 9, 4)) * 5
    found = round_in_order(weights, Inputs.of(correlated(9)), np.ones(4), np.ones(4), 0.1, keep)
    assert not found[~keep].any() and found[keep].any()


def test_squared_gradients_are_those_of_the_outputs():
    """Of one linear output, whose sign does not matter: the squared inputs over the variance."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    outputs = np.asarray(keras.ops.convert_to_numpy(model(x)))
    batches = [x, *(x[i : i + 1] for i in range(8))]
    (found,) = squared_gradients(model, [model.layers[0].kernel], batches[1:2])
    assert found.shape == (3, 1)
    np.testing.assert_allclose(found[:, 0], np.square(x[0]), rtol=1e-5)  # one output has no spread
    (found,) = squared_gradients(model, [model.layers[0].kernel], [x] * 400)
    expected = np.square(x).mean(0) / outputs.var()
    np.testing.assert_allclose(found[:, 0], expected, rtol=0.35)
