"""Outcome: `init="fit"` starts at the best factors for the weights that a model has."""

import logging
import math
import tracemalloc
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from models import by_name, mlp, numpy_of, pools_of

import smh
from smh.errors import ArgumentError, SelectionError
from smh.pools.fit import fit_pool
from smh.pools.low_rank import best_basis
from smh.pools.shape import PoolShape, choose_sides
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic


@dataclass
class Blocks:
    """A matrix as `best_basis` reads it, of which the end of the last row may be hidden."""

    full: np.ndarray
    known: int

    rows = property(lambda self: self.full.shape[0])
    cols = property(lambda self: self.full.shape[1])

    def blocks(self):
        shown = self.full.copy()
        shown[-1, self.known :] = 0
        for begin in range(0, self.rows, 7):
            yield shown[begin : begin + 7].copy()


def noise(rows, cols, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, cols)).astype("float32")


def decaying(rows, cols):
    return noise(rows, 30) * 0.7 ** np.arange(30, dtype="float32") @ noise(30, cols, 1)


MATRICES = {
    "noise": (noise(120, 101), 101),
    "more columns": (noise(60, 131), 131),
    "fast decay": (decaying(90, 83), 83),
    "fewer ranks than asked for": (noise(50, 3) @ noise(3, 47, 1), 47),
    "zero": (np.zeros((20, 17), "float32"), 17),
    "tiny": (noise(4, 5), 2),
    "tail unknown": (decaying(90, 83), 20),
    "tail huge": (noise(60, 53) + 1e4 * (np.arange(60) == 59)[:, None] * (np.arange(53) > 9), 9),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("rank", [1, 4, 12])
def test_the_basis_is_as_good_as_that_of_the_svd(name, rank):
    full, known = MATRICES[name]
    full, rank = full.astype("float32"), min(rank, *full.shape)
    basis = best_basis(Blocks(full, known), rank, np.random.default_rng(0))

    np.testing.assert_allclose(basis @ basis.T, np.eye(rank), atol=1e-5)
    # What the last row adds is at most its known part; all other rows have to be fitted as well as
    # any basis could fit them.
    others, last = full[:-1].astype("float64"), full[-1, :known]
    best = (np.linalg.svd(others, compute_uv=False)[:rank] ** 2).sum()
    held = np.square(others @ basis.T).sum()
    assert held <= best * (1 + 1e-5)
    assert held >= best - np.square(last).sum() - 5e-3 * np.square(others).sum()


def trained_like(seed=0):
    """A model with weights as after training: every layer of another size and mean."""
    keras.utils.set_random_seed(seed)
    model = by_name["conv"].build()
    for i, variable in enumerate(model.trainable_variables):
        value = numpy_of(variable)
        variable.assign(10.0 ** (2 * i) * (value + (0.3 * value.std() if value.ndim > 1 else 0)))
    return model


@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.2])
def test_the_weights_are_fitted_as_well_as_the_svd_can(fraction):
    model = trained_like()
    before = [numpy_of(v) for v in model.trainable_variables if len(v.shape) > 1]
    smh.compress(model, fraction, init="fit", seed=0)
    (pool,) = pools_of(model)

    shape = pool.product.shape
    flat = np.concatenate([(w / np.sqrt(np.mean(np.square(w)))).ravel() for w in before])
    padded = np.zeros(shape.size)
    padded[: flat.size] = flat
    singular = np.linalg.svd(padded.reshape(shape.rows, shape.cols), compute_uv=False)
    best = np.square(singular[: shape.replicas]).sum() / np.square(flat).sum()
    assert pool.energy_kept >= best - 2e-3  # unused entries are free, so it may be more

    after = [numpy_of(v.value) for v in virtual_variables(model)]
    kept = [
        1 - np.square(a - b).sum() / np.square(b).sum() for a, b in zip(after, before, strict=True)
    ]
    sizes = [b.size for b in before]
    np.testing.assert_allclose(np.average(kept, weights=sizes), pool.energy_kept, atol=1e-4)
    for a, b in zip(after, before, strict=True):  # no other scale would fit better
        np.testing.assert_allclose(np.vdot(a, b) / np.vdot(a, a), 1, rtol=1e-4)


def test_a_weight_that_a_pool_made_is_found_again_exactly():
    # One, because the scales of several are not told apart in the rows where two of them meet.
    x = np.random.default_rng(0).normal(size=(8, 50)).astype("float32")
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(40)])
    plain = smh.materialize(smh.compress(model, 0.5, seed=3))
    wanted = plain.predict(x, verbose=0)
    smh.compress(plain, 0.5, init="fit")
    assert pools_of(plain)[0].energy_kept > 0.999999
    lost = np.linalg.norm(plain.predict(x, verbose=0) - wanted) / np.linalg.norm(wanted)
    assert lost < 2e-3  # a share of 1e-6 is 1e-3 of the weights' length


def test_all_weights_count_alike_whatever_their_size():
    def energies(factor):
        rng = np.random.default_rng(0)
        weights = [rng.normal(size=(40, 30)), factor * rng.normal(size=(30, 20))]
        shape = choose_sides([w.shape for w in weights], 600)
        return fit_pool(weights, ["a", "b"], shape).energies

    np.testing.assert_allclose(energies(1), energies(1e6), rtol=1e-3)


def test_it_starts_as_a_pool_at_random_does_and_trains():
    model = mlp(width=60)
    model.layers[-1].kernel.assign(np.zeros((60, 3)))  # nothing to divide by
    smh.compress(model, 0.5, init="fit")
    right = numpy_of(pools_of(model)[0].core_variables[1])
    np.testing.assert_allclose(np.square(right).mean(axis=1), 1, rtol=1e-4)
    x, y = by_name["sequential"].data()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    losses = model.fit(x, y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()


def test_random_is_the_default():
    def factors(**options):
        keras.utils.set_random_seed(0)
        (pool,) = pools_of(smh.compress(mlp(), 0.5, seed=1, **options))
        assert pool.energy_kept is None
        return numpy_of(pool.core_variables[0])

    np.testing.assert_array_equal(factors(), factors(init="random"))


def test_the_fit_does_not_depend_on_the_seed_and_is_logged(caplog):
    def kept(seed):
        keras.utils.set_random_seed(0)
        return pools_of(smh.compress(mlp(80), 0.3, seed=seed, init="fit"))[0].energy_kept

    with caplog.at_level(logging.INFO, logger="smh"):
        np.testing.assert_allclose(kept(1), kept(2), atol=2e-3)
    assert "% of the energy of 2 weights, from " in caplog.text


@pytest.mark.parametrize("kind", ["array", "variable"])
def test_memory_is_that_of_the_factors_and_small_blocks(kind):
    side = 1500
    shape = PoolShape(side, side, 20)
    value = np.random.default_rng(0).standard_normal((side, side), dtype="float32")
    weights = [value] if kind == "array" else [keras.Variable(value)]
    tracemalloc.start()
    try:
        fit_pool(weights, ["w"], shape)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    factors = 4 * shape.core_size
    blocks = 6 * 2**20  # the weights are 9 MB, the matrix in float64 would be 18
    assert peak < 6 * factors + blocks < value.nbytes * 0.9


WRONG = {
    "an unknown start": (dict(init="svd"), ArgumentError, "'random' or 'fit'.*got 'svd'"),
    "none": (dict(init=None), ArgumentError, "got None"),
    "no scale": (dict(modifier=None), ArgumentError, "one learned scale.*ChainModifier"),
    "a function": (dict(modifier=keras.ops.relu), ArgumentError, "got FunctionModifier"),
    "not finite": ({}, SelectionError, "dense/kernel' has weights that are not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_fitted_is_refused_and_nothing_changes(name):
    options, error, text = WRONG[name]
    model = mlp()
    if name == "not finite":
        model.layers[0].kernel.assign(np.full((12, 24), math.nan))
        options = {"modifier": smh.variable_factory.variable_scale_modifier}
    before = [id(v) for v in model.variables]
    with pytest.raises(error, match=text):
        smh.compress(model, 0.5, **{"init": "fit", **options})
    assert [id(v) for v in model.variables] == before and not virtual_variables(model)


def test_a_pool_of_ones_own_is_not_overwritten():
    pool = smh.ProductVariablePool(True, pool_size=1000, fraction=0.3, seed=1)
    with pytest.raises(ArgumentError, match="Give fraction= or target_params="):
        smh.compress(mlp(), pool=pool, init="fit")
    assert not pool.built


def test_a_learned_scale_of_another_start_is_fitted_too():
    scale = smh.variable_factory.variable_scale_modifier
    kept = []
    for modifier in ({}, {"modifier": scale}):
        keras.utils.set_random_seed(0)
        kept.append(pools_of(smh.compress(mlp(80), 0.3, init="fit", **modifier))[0].energy_kept)
    assert kept[0] == kept[1]
