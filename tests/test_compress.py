"""Outcome: `smh.compress` on any built Keras 3 model, in place."""

import keras
import numpy as np
import pytest
from models import SOME_CASES, by_name, mlp, pools_of

import smh
from smh.virtual_variable import VirtualVariable, own_layers, virtual_variables

pytestmark = pytest.mark.backend_agnostic


def selected_numbers(model):
    weights = [v for v in model.trainable_variables if len(v.shape) >= 2 and v.name != "bias"]
    return sum(int(np.prod(v.shape)) for v in weights)


@pytest.mark.parametrize("case", SOME_CASES)
def test_trains_in_place_with_fit_unmodified(case):
    model = case.build()
    layers_before = [id(layer) for layer in own_layers(model)]
    total = selected_numbers(model)

    assert smh.compress(model, case.fraction, seed=0) is model

    assert [id(layer) for layer in own_layers(model)] == layers_before
    (pool,) = pools_of(model)
    replica = sum(pool.core_variables[0].shape[:1]) + pool.core_variables[1].shape[1]
    assert case.fraction * total - replica < pool.core_size <= case.fraction * total
    assert not any(isinstance(v, VirtualVariable) for v in model.variables)
    assert sum(v is pool.core_variables[0] for v in model.trainable_variables) == 1
    factors = {id(v) for v in pool.core_variables}
    rest = [v for v in model.trainable_variables if id(v) not in factors]
    assert all(len(v.shape) < 2 or v.name == "bias" for v in rest)

    x, y = case.data()
    before = [keras.ops.convert_to_numpy(v) for v in pool.core_variables]
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = model.fit(x, y, batch_size=16, epochs=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    for old, new in zip(before, pool.core_variables, strict=True):
        assert np.all(
            np.any(
                old != keras.ops.convert_to_numpy(new), axis=1 if old.shape[0] > old.shape[1] else 0
            )
        )
    eager = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(model.predict(x, verbose=0), eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [200, 300, 500])
def test_target_params_is_reached_from_below_within_one_replica(target):
    model = smh.compress(mlp(width=48), target_params=target)
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    (pool,) = pools_of(model)
    left, right = pool.core_variables
    assert target - (left.shape[0] + right.shape[1]) < trained <= target


def test_every_weight_is_its_slice_of_the_product():
    model = by_name["conv"].build()
    smh.compress(model, 0.5, modifier=None, seed=3)
    (pool,) = pools_of(model)
    left, right = (np.array(v) for v in pool.core_variables)
    flat, begin = (left @ right).reshape(-1), 0
    for virtual in virtual_variables(model):
        stop = begin + int(np.prod(virtual.shape))
        expected = flat[begin:stop].reshape(virtual.shape)
        np.testing.assert_allclose(np.array(virtual), expected, rtol=1e-5, atol=1e-6)
        begin = stop


def test_selectors_match_full_path_bare_name_function_and_list():
    def compressed(**kwargs):
        model = keras.Sequential(
            [
                keras.Input((12,)),
                keras.layers.Dense(24, name="first"),
                keras.layers.Dense(24, name="second"),
            ],
            name="net",
        )
        smh.compress(model, 0.9, **kwargs)
        return [v.path for v in virtual_variables(model)]

    both = ["net/first/kernel", "net/second/kernel"]
    assert compressed() == both
    assert compressed(apply_to="kernel") == both
    assert compressed(apply_to="net/second/ker") == both[1:]
    assert compressed(apply_to=".*second.*") == [both[1], "net/second/bias"]
    assert compressed(apply_to=lambda v: v.shape[0] == 12) == both[:1]
    assert compressed(apply_to=["net/first/kernel", "net/second/kernel"]) == both
    assert compressed(exclude="net/first") == both[1:]
    assert compressed(apply_to="kernel", exclude=lambda v: "first" in v.path) == both[1:]


def test_two_layers_that_share_a_weight_still_share_it():
    class Tied(keras.layers.Layer):
        def __init__(self, table, **kwargs):
            super().__init__(**kwargs)
            self.table = table  # the embedding's own variable, tracked here as well

        def call(self, x):
            return keras.ops.matmul(x, keras.ops.transpose(self.table))

    tokens = keras.Input((5,), dtype="int32")
    embedding = keras.layers.Embedding(30, 8)
    hidden = embedding(tokens)
    model = keras.Model(tokens, Tied(embedding.embeddings)(hidden))
    smh.compress(model, 0.5)
    assert len(virtual_variables(model)) == 1
    assert model.layers[-1].table is embedding.embeddings
    ids = np.array([[1, 2, 3, 4, 5]])
    table = np.array(embedding.embeddings)
    np.testing.assert_allclose(model.predict(ids, verbose=0), table[ids] @ table.T, rtol=1e-4)


def test_two_models_share_one_pool():
    pool = smh.ProductVariablePool(True, pool_size=1000, fraction=0.3, seed=1)
    first, second = mlp(), mlp()
    smh.compress(first, pool=pool)
    smh.compress(second, pool=pool)
    x = np.ones((4, 12), "float32")
    before = second.predict(x, verbose=0)
    first.compile(keras.optimizers.Adam(0.1), "mse")
    first.fit(x, np.ones((4, 3)), epochs=2, verbose=0)
    assert np.abs(second.predict(x, verbose=0) - before).max() > 1e-3
    joint = keras.Model((i := keras.Input((12,))), first(i) + second(i))
    assert sum(v is pool.core_variables[0] for v in joint.trainable_variables) == 1


def test_submodels_see_the_same_weights():
    model = by_name["conv"].build()
    part = keras.Model(model.inputs, model.layers[0].output)
    smh.compress(model, 0.5)
    x, y = by_name["conv"].data()
    before = part.predict(x, verbose=0)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, epochs=1, verbose=0)
    assert np.abs(part.predict(x, verbose=0) - before).max() > 1e-3
    assert pools_of(model)[0].core_variables[0] is next(
        v for v in part.trainable_variables if v.name == "variable_left"
    )


def test_compiled_and_trained_models_can_be_compressed():
    model = mlp()
    x, y = by_name["sequential"].data()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, epochs=1, verbose=0)
    smh.compress(model, 0.5)
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_compressing_the_rest_later_uses_a_second_pool():
    model = mlp()
    x = np.ones((4, 12), "float32")
    smh.compress(model, 0.5, apply_to=".*dense/kernel")
    smh.compress(model, 0.7, apply_to=".*dense_1/kernel")
    assert len(pools_of(model)) == 2
    assert len(virtual_variables(model)) == 2
    model.compile("adam", "mse")
    model.fit(x, np.ones((4, 3)), verbose=0)


def test_seed_repeats_bit_for_bit_and_only_then():
    x, y = by_name["sequential"].data()

    def run(seed):
        keras.utils.clear_session()
        keras.utils.set_random_seed(5)
        model = smh.compress(mlp(), 0.5, seed=seed)
        model.compile("adam", "mse")
        model.fit(x, y, epochs=2, verbose=0)
        return model.predict(x, verbose=0)

    one = run(1)
    np.testing.assert_array_equal(one, run(1))
    assert np.abs(one - run(2)).max() > 1e-3
    np.testing.assert_array_equal(run(None), run(None))
