"""Layers that recompute a part of themselves for the gradient, or assign to their weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numpy_of

import smh
from smh.errors import SelectionError, VirtualVariableError
from smh.parametrizations.masked import Masked
from smh.virtual_variable import parametrize, virtual_variables

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.recompute_grad"
)
agnostic = pytest.mark.backend_agnostic

DOORS = {
    "compress": lambda model, **k: smh.compress(model, 0.7, seed=0, **k),
    "prune": lambda model, **k: smh.prune(model, 0.5, **k),
    "cluster": lambda model, **k: smh.cluster(model, 3, **k),
    "quantize_weights": lambda model, **k: smh.quantize_weights(model, 4, **k),
    "compress, then few bits": lambda model, **k: smh.quantize_factors(
        smh.compress(model, 0.7, seed=0, **k), 4
    ),
}
doors = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


class Recomputing(layers.Layer):
    """Computes its output in functions that are run again for the gradient.

    `how` says what they read: a weight, a sublayer, or both, one in a function inside the other.
    """

    def __init__(self, how, recompute):
        super().__init__()
        self.how, self.recompute = how, recompute
        self.inner = layers.Dense(6, activation="tanh")

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 6), name="kernel")
        self.inner.build((*input_shape[:-1], 6))

    def call(self, x):
        outer = self.recompute if self.how != "plain" else lambda function: function
        if self.how == "layer":
            return outer(lambda x: self.inner(x))(ops.matmul(x, self.kernel))
        if self.how == "weight":
            return self.inner(outer(lambda x: ops.matmul(x, self.kernel))(x))
        return outer(lambda x: outer(lambda y: self.inner(y))(ops.matmul(x, self.kernel)))(x)


def network(how, recompute=keras.remat):
    keras.utils.set_random_seed(5)
    layer = Recomputing(how, recompute)
    return keras.Sequential([keras.Input((4,)), layers.Dense(4), layer, layers.Dense(2)])


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")


def changes_of_a_step(model):
    """What one step of plain gradient descent adds to each trained variable: the gradients."""
    before = [numpy_of(v).astype("float64") for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(*data(), batch_size=8, epochs=1, verbose=0, shuffle=False)
    after = [numpy_of(v) for v in model.trainable_variables]
    return [new - old for new, old in zip(after, before, strict=True)]


@agnostic
@doors
@pytest.mark.parametrize(
    "how", ["nested", *(pytest.param(how, marks=pytest.mark.slow) for how in ("weight", "layer"))]
)
def test_what_is_recomputed_gets_the_same_gradient(door, how):
    expected = changes_of_a_step(door(network("plain")))
    found = changes_of_a_step(door(network(how)))
    assert all(np.abs(change).max() > 0 for change in expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@tensorflow_only
@doors
@pytest.mark.parametrize("eager", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_tape_of_a_users_own_sees_the_same(door, eager):
    import tensorflow as tf

    def gradients(model):
        def of(x, y):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            return tape.gradient(loss, model.trainable_variables)

        return (of if eager else tf.function(of))(*map(tf.constant, data()))

    found = gradients(door(network("nested", tf.recompute_grad)))
    expected = gradients(door(network("plain", tf.recompute_grad)))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


class Projected(layers.Layer):
    """Assigns a projection of its weight to it, by a function outside of the class."""

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1], 3), name="w")

    def call(self, x):
        _project(self.w)
        return ops.matmul(x, self.w)


def _project(variable):
    variable.assign(ops.clip(variable, -1.0, 1.0))


class Own(layers.SpectralNormalization):
    """A class derived from Keras' own."""

    def call(self, x, training=False):
        return super().call(x, training=training) + 0.0


class TwoInputs(layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 3)
        self.out = layers.SpectralNormalization(layers.Dense(2))

    def call(self, query, value):
        return self.out(self.attention(query, value))


def stack(*all_layers, shape=(4,), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *all_layers])


def two_inputs():
    x = keras.Input((5, 4))
    return keras.Model(x, TwoInputs()(x, x))


ASSIGNING = {  # a model, and which of its weights are assigned to
    "dense": (lambda: stack(layers.SpectralNormalization(layers.Dense(3))), "kernel"),
    "conv": (
        lambda: stack(layers.SpectralNormalization(layers.Conv2D(3, 2)), shape=(5, 5, 2)),
        "kernel",
    ),
    "embedding": (
        lambda: stack(
            layers.SpectralNormalization(layers.Embedding(9, 4)), shape=(3,), dtype="int32"
        ),
        "embeddings",
    ),
    "derived": (lambda: stack(Own(layers.Dense(3))), "kernel"),
    "of a user's own": (lambda: stack(Projected()), "w"),
    "nested": (lambda: stack(stack(Projected())), "w"),
    "inside a layer of two inputs": (two_inputs, "kernel"),
}
CALLS = {
    **DOORS,
    "sensitivity_scan": lambda m: smh.sensitivity_scan(m, lambda m: 1.0, [0.5], verbose=0),
    "bits_scan": lambda m: smh.bits_scan(m, lambda m: 1.0, [4], verbose=0),
    "plan": lambda m: smh.plan(m, [0.5]),
    "shrink": lambda m: smh.shrink(m, quality=50),
}


def _one_of_each():
    """All cases for the first call, all calls for the first case; the rest is slow."""
    for i, (name, call) in enumerate(CALLS.items()):
        for j, (what, case) in enumerate(ASSIGNING.items()):
            marks = pytest.mark.slow if i and j else ()
            yield pytest.param(call, case, id=f"{name}-{what}", marks=marks)


@agnostic
@pytest.mark.parametrize("call, case", _one_of_each())
def test_a_weight_that_is_assigned_to_is_refused(call, case):
    build, name = case
    model = build()
    before = [(v.path, numpy_of(v)) for v in model.variables]
    with pytest.raises(SelectionError, match=f"exclude='.*{name}'"):
        call(model)
    assert not virtual_variables(model)
    assert [path for path, _ in before] == [v.path for v in model.variables]
    assert all((numpy_of(v) == was).all() for v, (_, was) in zip(model.variables, before, strict=1))


@agnostic
@doors
def test_left_out_it_trains_on(door):
    model = stack(layers.Dense(4), layers.SpectralNormalization(layers.Dense(3)), layers.Dense(2))
    path = model.layers[1].layer.kernel.path
    with pytest.raises(SelectionError) as refused:
        door(model)
    assert f"exclude={path!r}" in str(refused.value)  # what the message says works
    door(model, exclude=path)
    assert len(virtual_variables(model)) == 2
    model.compile("adam", "mse")
    losses = model.fit(*data(), epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


@agnostic
def test_a_level_for_another_weight_is_no_reason_to_refuse():
    model = stack(layers.SpectralNormalization(layers.Dense(3)), layers.Dense(2, name="last"))
    smh.prune(model, [(".*last/kernel", 0.5)])
    assert [v.path for v in virtual_variables(model)] == [model.layers[1].kernel.path]


@agnostic
def test_a_parametrization_of_a_users_own_is_refused_too():
    model = stack(layers.SpectralNormalization(layers.Dense(3)))
    kernel = model.layers[0].layer.kernel
    masked = Masked.of(kernel.path, numpy_of(kernel), np.ones(kernel.shape, bool))
    with pytest.raises(SelectionError, match="SpectralNormalization"):
        parametrize(model, [(kernel, masked)])
    assert not virtual_variables(model)


@tensorflow_only
def test_the_published_door_refuses_it_while_it_is_built():
    import tensorflow as tf

    def build(apply_to):
        pool = smh.variable_pool.ProductVariablePool(True, 1000, 0.5)
        factory = smh.variable_factory.VariableFactory(pool, apply_to)
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            normalised = layers.SpectralNormalization(layers.Dense(9, name="normalised"))
            return stack(normalised, layers.Dense(9, name="plain"))

    with pytest.raises(SelectionError, match=r"normalised/kernel'.*Spectral.*apply_to"):
        build(".*")
    model = build(".*plain/kernel")
    assert [v.path for v in virtual_variables(model)] == [model.layers[1].kernel.path]


@agnostic
def test_what_layers_count_and_average_is_no_reason_to_refuse():
    class Counting(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1], 3), name="w")
            self.seen = self.add_weight((2, 2), trainable=False, name="seen")

        def call(self, x):
            self.seen.assign_add(ops.ones((2, 2)))
            return ops.matmul(x, self.w)

    model = stack(Counting(), layers.BatchNormalization(), layers.Dense(2))
    before = numpy_of(model.layers[0].seen)
    smh.prune(model, 0.5, apply_to=".*")
    assert (numpy_of(model.layers[0].seen) == before).all()  # looking did not count
    assert len(virtual_variables(model)) == 5


@agnostic
@doors
def test_the_message_of_an_assignment_that_could_not_be_foreseen(door):
    """Also while a function is traced, where a description cannot read a mask."""

    class Hidden(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1], 3), name="w")

        def call(self, x):
            getattr(self.w, "ass" + "ign")(ops.clip(self.w, -1.0, 1.0))
            return ops.matmul(x, self.w)

    model = door(stack(Hidden(), layers.Dense(2)))
    model.compile("sgd", "mse")
    # Keras on JAX builds first, and wraps what that raises.
    with pytest.raises(
        (VirtualVariableError, RuntimeError), match=r"hidden.*/w' is a virtual .*`exclude=`"
    ):
        model.fit(*data(), verbose=0)
