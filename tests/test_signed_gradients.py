"""Gradients of a model's outputs, and of tensors on the way to them, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from smh.sensitivity import gradients
from smh.sensitivity.gradients import Noticeable, signed_gradients
from smh.shrinking.taps import tapped

pytestmark = pytest.mark.backend_agnostic


class Counting(layers.Dense):
    """A dense layer that counts how often Python runs it."""

    calls = 0

    def call(self, x):
        type(self).calls += 1
        return super().call(x)


class Seeing(layers.Layer):
    """Has to see numbers: what no compiled function has."""

    def call(self, x):
        return x * (2.0 if float(ops.convert_to_numpy(ops.sum(x * 0))) == 0 else 3.0)


class Branching(layers.Layer):
    """Asks for a number, which Python's `if` may of one that no gradient needs to pass."""

    def call(self, x):
        return x * 3.0 if ops.max(x) > 1e9 else x * 2.0

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def sequential(*inner):
    return keras.Sequential([keras.Input((6,)), *inner])


def two_outputs():
    x = keras.Input((6,))
    y = layers.Dense(5, activation="relu")(x)
    return keras.Model(x, [layers.Dense(3, activation="softmax")(y), layers.Dense(2)(y)])


def over_time():
    x = keras.Input((6,))
    y = layers.Dense(4, activation="tanh")(layers.Reshape((3, 2))(x))
    return keras.Model(x, layers.Dense(2)(layers.LSTM(4)(y)))


def normalised():
    return sequential(
        layers.Dense(5, use_bias=False), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)
    )


MODELS = {
    "dense": lambda: sequential(layers.Dense(5, activation="tanh"), layers.Dense(3)),
    "normalised": normalised,
    "two outputs": two_outputs,
    "recurrent": over_time,
    "a branch": lambda: sequential(layers.Dense(5), Branching(), layers.Dense(3)),
    "seen by Python": lambda: sequential(layers.Dense(5), Seeing(), layers.Dense(3)),
}
# On JAX no gradient passes through what Python has seen.
UNKNOWN = {("jax", "seen by Python")}


def found_in(model, batches):
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    scale = Noticeable.of(model, batches[0])

    def products(inside):
        return tapped(dense, lambda layer, y: inside(id(layer), y))

    runs = signed_gradients(model, model.trainable_variables, batches, scale, products)
    return dense, [(count, every, by_layer) for count, every, by_layer in runs]


@pytest.mark.parametrize("kind", MODELS)
def test_compiled_or_not_they_are_the_same(kind, monkeypatch):
    """Also where batches differ in length, or nothing can be compiled."""
    if (keras.backend.backend(), kind) in UNKNOWN:
        pytest.skip("no gradient on JAX")
    keras.utils.set_random_seed(0)
    model, random = MODELS[kind](), np.random.default_rng(0)
    batches = [random.normal(size=(n, 6)).astype("float32") for n in (8, 8, 8, 8, 8, 3)]
    model(batches[0])  # what Python has to see is not built before
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    dense, found = found_in(model, batches)
    monkeypatch.setattr(gradients, "_WORTH_COMPILING", 99)
    _, expected = found_in(model, batches)
    for (count, every, inside), (n, others, inside_others) in zip(found, expected, strict=True):
        assert count == n and set(inside) == set(inside_others) == {id(layer) for layer in dense}
        pairs = [*zip(every, others, strict=True), *((inside[k], inside_others[k]) for k in inside)]
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert any(np.any(gradient) for gradient in found[0][1])
    for variable, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), was)


@pytest.mark.parametrize("kind", ["dense", "normalised"])
def test_those_of_a_product_make_those_of_its_kernel(kind):
    """`x' dy`, of the first layer, whose inputs are the model's."""
    model, random = MODELS[kind](), np.random.default_rng(1)
    batches = [random.normal(size=(8, 6)).astype("float32") for _ in range(5)]
    dense, found = found_in(model, batches)
    for x, (_, every, inside) in zip(batches, found, strict=True):
        np.testing.assert_allclose(x.T @ inside[id(dense[0])], every[0], rtol=1e-4, atol=1e-5)


def test_a_model_is_run_once_for_all_batches_that_are_alike_where_it_is_compiled():
    model = sequential(Counting(5), layers.Dense(3))
    batches = [np.ones((8, 6), "float32")] * 12
    scale = Noticeable.of(model, batches[0])
    Counting.calls = 0
    assert len(list(signed_gradients(model, model.trainable_variables, batches, scale))) == 12
    # On JAX once more, for shapes.
    assert Counting.calls == {"tensorflow": 1, "jax": 13}.get(keras.backend.backend(), 12)


def test_a_number_of_no_variables_has_no_gradient():
    model = sequential(layers.Dense(2))
    x = np.ones((2, 6), "float32")
    assert list(signed_gradients(model, [], [x], Noticeable.of(model, x))) == [(2, [], {})]
