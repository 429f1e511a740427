"""Outcome: `compress` and `variable_creator_scope` end in the same state."""

import gc
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from models import OwnWeights, TwoLayers, mlp, pools_of, sequential

import smh
from smh.errors import GraphModeError, PoolExhaustedError, SmhWarning
from smh.modifiers import initial_std_modifier
from smh.variable_factory import (
    VariableFactory,
    fanout_scale_modifier,
    variable_scale_modifier,
)
from smh.virtual_variable import virtual_variables

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="variable_creator_scope is TensorFlow's"
)


def lstm():
    return keras.Sequential([keras.Input((5, 6)), layers.LSTM(8), layers.Dense(3)])


def conv():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.SeparableConv2D(6, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def subclassed():
    model = TwoLayers()
    model(np.zeros((1, 12), "float32"))
    return model


def attention():
    x = keras.Input((6, 12))
    return keras.Model(x, layers.Dense(3)(layers.MultiHeadAttention(2, 8)(x, x)))


def branching():
    """Keras lists the two branches by depth, not in the order in which they are built."""
    x = keras.Input((12,))
    short = layers.Dense(8, name="short")(x)
    long = layers.Dense(8, name="long2")(layers.Dense(6, name="long1")(x))
    return keras.Model(x, layers.Dense(3, name="head")(short + long))


MODELS = {
    "branching": (branching, (12,)),
    "mlp": (mlp, (12,)),
    "conv": (conv, (8, 8, 3)),
    "lstm": (lstm, (5, 6)),
    "subclassed": (subclassed, (12,)),
    "attention": (attention, (6, 12)),
    "custom": (sequential(OwnWeights, lambda: layers.Dense(3)), (12,)),
}


def pool(**kwargs):
    return smh.ProductVariablePool(True, pool_size=9000, fraction=0.3, seed=4, **kwargs)


MODIFIERS = {"none": None, "fanout": fanout_scale_modifier, "initial std": initial_std_modifier}
# Each model, and each modifier of one model; the other pairs are slow together.
PAIRS = [
    pytest.param(
        name,
        modifier,
        id=f"{name}-{called}",
        marks=() if name == "mlp" or modifier is None else pytest.mark.slow,
    )
    for name in MODELS
    for called, modifier in MODIFIERS.items()
]


@pytest.mark.parametrize("name, modifier", PAIRS)
def test_equal_factors_slots_and_outputs(name, modifier):
    build, shape = MODELS[name]
    apply_to = ".*(kernel|mat)"

    def through_compress():
        return smh.compress(build(), pool=pool(), apply_to=apply_to, modifier=modifier)

    def through_scope():
        factory = VariableFactory(pool(), apply_to, modifier)
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            return build()

    models = []
    for door in (through_compress, through_scope):
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        models.append(door())
    a, b = models
    assert [v.path for v in a.variables] == [v.path for v in b.variables]
    assert [v.path for v in a.trainable_variables] == [v.path for v in b.trainable_variables]
    for one, other in zip(a.variables, b.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    slots = [[(v.path, v.parametrization.slot) for v in virtual_variables(m)] for m in models]
    assert slots[0] == slots[1] and slots[0]
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    np.testing.assert_array_equal(a(x), b(x))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_built_in_the_scope_trains_and_owns_no_kernel(name):
    build, shape = MODELS[name]
    factory = VariableFactory(pool(), ".*(kernel|mat)", fanout_scale_modifier)
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        model = build()
    assert not [v.path for v in model.variables if "kernel" in v.path or "mat" in v.path]
    x = np.random.default_rng(0).normal(size=(32, *shape)).astype("float32")
    y = np.zeros((32, *model(x).shape[1:]), "float32")
    before = [v.numpy() for v in pools_of(model)[0].core_variables]
    model.compile(keras.optimizers.Adam(0.01), "mse")
    losses = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, new in zip(before, pools_of(model)[0].core_variables, strict=True):
        assert np.abs(old - new.numpy()).max() > 1e-4


def test_full_path_and_bare_name_and_one_wrapped_layer():
    def mapped(apply_to):
        keras.utils.clear_session()
        factory = VariableFactory(pool(), apply_to)
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            keras.Sequential(
                [keras.Input((12,)), layers.Dense(8, name="a"), layers.Dense(8, name="b")],
                name="net",
            )
        return [k for k, v in factory.layer_name_variable_index_map.items() if v]

    assert mapped("kernel") == ["net/a/kernel", "net/b/kernel"]
    assert mapped("net/b/.*") == ["net/b/kernel", "net/b/bias"]
    assert mapped(None) == ["net/a/kernel", "net/a/bias", "net/b/kernel", "net/b/bias"]
    assert mapped(lambda v: v.shape[0] == 12) == ["net/a/kernel"]

    factory = VariableFactory(pool(), ".*")
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        wrapped = layers.Dense(8)
        x = wrapped(keras.Input((12,)))
    plain = layers.Dense(8)
    plain(x)
    assert len(virtual_variables(wrapped)) == 2 and not virtual_variables(plain)


def test_everything_that_is_not_a_trainable_float_passes_through():
    factory = VariableFactory(pool(), ".*")
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        model = keras.Sequential(
            [
                keras.Input((12,)),
                layers.Dense(8),
                layers.BatchNormalization(),
                layers.Dropout(0.5),
                OwnWeights(4),
            ]
        )
        frozen = layers.Dense(4, trainable=False)
        frozen.build((None, 12))
        assert not virtual_variables(frozen) and not frozen.trainable_variables
        model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
        model.fit(np.ones((8, 12)), np.zeros((8, 4)), verbose=0)
    virtual = {v.path.split("/", 1)[1] for v in virtual_variables(model)}
    assert virtual == {
        "dense/kernel",
        "dense/bias",
        "batch_normalization/gamma",
        "batch_normalization/beta",
        "own_weights/mat0",
        "own_weights/mat1",
        "own_weights/shift",
    }
    stored = {v.path.split("/", 1)[1] for v in model.non_trainable_variables}
    assert any("moving_mean" in p for p in stored) and any("count" in p for p in stored)


def test_a_model_built_outside_the_scope_is_not_silently_left_dense():
    factory = VariableFactory(pool(), ".*")
    with pytest.warns(SmhWarning, match="no layer was built inside it"):
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            model = TwoLayers()
        gc.collect()
    model(np.zeros((1, 12), "float32"))
    assert not virtual_variables(model)
    with pytest.warns(SmhWarning, match="apply_to='kernels' matched none .*dense.*/kernel"):
        with tf.variable_creator_scope(VariableFactory(pool(), "kernels").custom_getter_tf2):
            mlp()
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SmhWarning)
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            mlp()
        gc.collect()


def test_variables_without_an_initializer_are_warned_about():
    class FromValue(layers.Layer):
        def build(self, shape):
            self.table = keras.Variable(np.ones((12, 12), "float32"), name="table")

        def call(self, x):
            return x @ self.table

    factory = VariableFactory(pool(), ".*")
    with pytest.warns(SmhWarning, match="'table' was not made by a layer's add_weight"):
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            keras.Sequential([keras.Input((12,)), FromValue(), layers.Dense(3)])


def test_a_full_pool_names_the_variable_and_the_size_that_would_do():
    small = smh.ProductVariablePool(True, pool_size=100, fraction=0.5)
    with pytest.raises(
        PoolExhaustedError,
        match=r"No room for '.*dense_1/kernel' \(24, 3\).*72 entries asked for, 288 of 324 used, "
        "36 free.*pool_size .* is 360",
    ) as caught:
        medium = smh.ProductVariablePool(True, pool_size=324, fraction=0.5)
        with tf.variable_creator_scope(VariableFactory(medium, "kernel").custom_getter_tf2):
            mlp()
    assert small.status == 0 and "dense_1" in str(caught.value)


def test_a_scale_is_created_once_named_after_its_weight_and_trained():
    factory = VariableFactory(pool(), "kernel", variable_scale_modifier)
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        model = mlp()
    scales = [v for v in model.trainable_variables if v.name == "scale"]
    kernels = [v.path for v in virtual_variables(model)]
    assert [v.path for v in scales] == [f"{path}/scale" for path in kernels]
    before = [float(v.numpy()) for v in scales]
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(np.ones((8, 12)), np.ones((8, 3)), verbose=0)
    assert all(float(v.numpy()) != old for v, old in zip(scales, before, strict=True))


def test_a_pool_of_a_tf1_graph_is_refused_before_anything_changes():
    pool = smh.ProductVariablePool(True, pool_size=1000, fraction=0.5)
    getter = VariableFactory(pool, ".*").custom_getter
    with tf.Graph().as_default(), tf.compat.v1.variable_scope("net", custom_getter=getter):
        tf.compat.v1.get_variable("w", [3, 4])
    model = mlp()
    for use in (
        lambda: smh.compress(model, pool=pool),
        lambda: build_in_scope(VariableFactory(pool, ".*")),
    ):
        with pytest.raises(GraphModeError, match="has its factors in a TF1 graph"):
            use()
    assert type(model.layers[0].kernel) is keras.Variable


def build_in_scope(factory):
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        return mlp()
