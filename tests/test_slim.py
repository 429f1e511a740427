"""tf_slim networks through the TF1 door, and what makes its `batch_norm` work."""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
import tensorflow as tf

from smh import variable_factory, variable_pool

if keras.backend.backend() != "tensorflow":
    pytest.skip("needs TensorFlow, and says so", allow_module_level=True)

import smh.tf_slim_compat  # noqa: E402, F401

slim = pytest.importorskip("tf_slim")

from tf_slim.layers.optimizers import optimize_loss  # noqa: E402
from tf_slim.nets import inception_v3, resnet_v2, vgg  # noqa: E402
from tf_slim.ops.variables import global_variable  # noqa: E402

v1 = tf.compat.v1
FACTORS = ["ProductVariablePool/variable_left", "ProductVariablePool/variable_right"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def toy(images):
    net = slim.conv2d(images, 16, [5, 5], scope="conv", normalizer_fn=slim.batch_norm)
    net = slim.max_pool2d(net, [2, 2], 2, scope="pool")
    return slim.fully_connected(slim.flatten(net), 10, scope="fully_connected")


@dataclass(frozen=True)
class Net:
    """A network, the smallest images that it takes, and a pool that suits it."""

    build: Callable
    side: int
    pool_size: float
    store: str = "basic"
    arg_scope: Callable = dict
    batch: int = 2
    weights: int = field(kw_only=True)  # trainable numbers of the dense network


NETS = {
    "toy": Net(toy, 16, 2e4, weights=5 * 5 * 3 * 16 + 16 + 8 * 8 * 16 * 10 + 10),
    "vgg_a": Net(
        lambda images: vgg.vgg_a(images, 10)[0],
        224,
        1e7,
        "cyclic",  # 129 million weights: give every entry of the pool out 13 times
        vgg.vgg_arg_scope,
        1,
        weights=132_863_336 - 990 * 4097,  # published for 1000 classes, 4097 for each
    ),
    "resnet_v2_50": Net(
        lambda images: resnet_v2.resnet_v2_50(images, 10)[0],
        64,
        2.5e7,
        arg_scope=resnet_v2.resnet_arg_scope,
        weights=23_519_360 + 2049 * 10,  # published without the classifier
    ),
    "inception_v3": Net(
        lambda images: inception_v3.inception_v3(images, 10, depth_multiplier=0.25)[0],
        107,
        2e6,
        arg_scope=inception_v3.inception_v3_arg_scope,
        weights=1_393_048,  # counted on the network that slim builds without smh
    ),
}


def images(net, seed=0):
    shape = (net.batch, net.side, net.side, 3)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "inception_v3" else n for n in NETS]
)
def test_a_network_trains_one_step(name, tmp_path):
    net = NETS[name]
    pool = variable_pool.ProductVariablePool(
        True, net.pool_size, 0.02, seed=0, index_store_type=net.store
    )
    factory = variable_factory.VariableFactory(pool, ".*", variable_factory.fanout_scale_modifier)
    with tf.Graph().as_default():
        scope = v1.variable_scope("SMH", custom_getter=factory.custom_getter)
        with scope, slim.arg_scope(net.arg_scope()):
            logits = tf.reshape(net.build(tf.constant(images(net))), [net.batch, 10])
        # With logits of a hundred, and dropout that no seed reaches, a cross entropy is often
        # certain, and its slope zero. A squared error has a slope wherever it is wrong.
        loss = v1.losses.mean_squared_error(tf.eye(net.batch, 10), logits)
        optimizer = v1.train.GradientDescentOptimizer(1e-6)
        gradients = optimizer.compute_gradients(loss, pool.core_variables)
        step = optimizer.apply_gradients(gradients)
        variables = [v.op.name for v in v1.global_variables()]
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            before = session.run(pool.core_variables)
            slopes, _ = session.run([[g for g, _ in gradients], step])
            after = session.run(pool.core_variables)
            saved = v1.train.Saver().save(session, str(tmp_path / "net"))
        assert [v.op.name for v in v1.trainable_variables()] == FACTORS
    ranges = filter(None, factory.layer_name_variable_index_map.values())
    assert sum(stop - start for start, stop in ranges) == net.weights
    assert all(np.isfinite(slope).all() and np.abs(slope).max() > 0 for slope in slopes)
    for old, new, slope in zip(before, after, slopes, strict=True):
        np.testing.assert_allclose(new, old - 1e-6 * slope, rtol=1e-4, atol=1e-6)
    # Beside the factors only the moving statistics of batch normalisation are variables.
    assert all(v.split("/")[-1].startswith("moving_") for v in variables if v not in FACTORS)
    assert set(v1.train.NewCheckpointReader(saved).get_variable_to_shape_map()) == set(variables)


def test_batch_norm_normalises_and_keeps_statistics():
    net = NETS["toy"]
    x = 3 + 2 * images(net)
    pool = variable_pool.ProductVariablePool(True, 100, 0.5)
    getter = variable_factory.VariableFactory(pool, ".*gamma").custom_getter
    with tf.Graph().as_default():
        with v1.variable_scope("SMH", custom_getter=getter):
            out = slim.batch_norm(tf.constant(x), decay=0.9, epsilon=1e-5, scale=True, scope="bn")
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        variables = {v.op.name: v for v in v1.global_variables()}
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            out, factors = session.run([out, pool.core_variables])
            session.run(updates)
            mean = session.run(variables["SMH/bn/moving_mean"])
    gamma = (factors[0] @ factors[1]).reshape(-1)[:3]
    centre, spread = x.mean((0, 1, 2)), x.std((0, 1, 2))
    np.testing.assert_allclose(out, gamma * (x - centre) / spread, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(mean, 0.1 * centre, rtol=1e-4)
    dense = ["SMH/bn/beta", "SMH/bn/moving_mean", "SMH/bn/moving_variance"]
    assert set(variables) == {*FACTORS, *dense}


def test_weight_decay_acts_on_the_computed_weights():
    net = NETS["toy"]
    pool = variable_pool.ProductVariablePool(True, 2e4, 0.1)
    getter = variable_factory.VariableFactory(pool, ".*weights").custom_getter
    with tf.Graph().as_default():
        decay = slim.l2_regularizer(0.5)
        with slim.arg_scope([slim.conv2d, slim.fully_connected], weights_regularizer=decay):
            with v1.variable_scope("SMH", custom_getter=getter):
                toy(tf.constant(images(net)))
        penalties = v1.losses.get_regularization_losses()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            penalties, (left, right) = session.run([penalties, pool.core_variables])
    flat = (left @ right).reshape(-1)
    conv, dense = np.split(flat[: 1200 + 10240], [1200])
    np.testing.assert_allclose(penalties, [(w**2).sum() / 4 for w in (conv, dense)], rtol=1e-4)


def looked_up(module):
    """The `(module, name)` that the source of a module of tf_slim looks up in other modules."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        names = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        place = getattr(module, node.id, None) if isinstance(node, ast.Name) else None
        for name in names:
            if isinstance(place, types.ModuleType):
                yield place, name
                place = getattr(place, name, None)


def test_every_name_that_tf_slim_looks_up_is_there():
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(slim.__path__, "tf_slim.")
        if not found.name.endswith(("_test", "test_utils"))
    ]
    asked = {(place, name) for module in modules for place, name in looked_up(module)}
    assert len(asked) > 300
    assert not {f"{p.__name__}.{name}" for p, name in asked if not hasattr(p, name)}


def batch_norm(**arguments):
    return lambda x: slim.batch_norm(x, scale=True, **arguments)


def training(x):
    loss = tf.reduce_mean(slim.fully_connected(x, 3) ** 2)
    weights = v1.trainable_variables()[-1]
    step = slim.learning.create_train_op(
        loss,
        v1.train.GradientDescentOptimizer(0.1),
        gradient_multipliers={weights: tf.constant(0.5)},
        clip_gradient_norm=1.0,
    )
    return step


CALLS = {
    "batch norm": batch_norm(),
    "batch norm, not fused": batch_norm(fused=False),
    "batch norm, in training or not": lambda x: batch_norm(
        is_training=v1.placeholder_with_default(True, [])
    )(x),
    "batch norm behind a layer": lambda x: slim.fully_connected(
        x, 3, normalizer_fn=slim.batch_norm
    ),
    "layer norm": slim.layer_norm,
    "dropout": lambda x: slim.dropout(x, is_training=v1.placeholder_with_default(True, [])),
    "training": training,
    "optimising": lambda x: optimize_loss(
        tf.reduce_mean(slim.fully_connected(x, 3) ** 2),
        slim.get_or_create_global_step(),
        tf.constant(0.1),
        "SGD",
        gradient_noise_scale=0.1,
    ),
    "a variable": lambda x: x + global_variable(1.0),
}


@pytest.mark.parametrize("shape", [(4, 6), (4, 5, 5, 6)], ids=["matrices", "images"])
@pytest.mark.parametrize("name", CALLS)
def test_calls_that_need_a_moved_name(name, shape):
    pool = variable_pool.ProductVariablePool(True, 100, 0.5, seed=0)
    getter = variable_factory.VariableFactory(pool, ".*(weights|gamma)").custom_getter
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    with tf.Graph().as_default():
        with v1.variable_scope("SMH", custom_getter=getter):
            out = CALLS[name](tf.constant(x))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            assert np.isfinite(session.run(out)).all()


def test_model_variables_are_enough_to_restore_a_network(tmp_path):
    """With the factors, scales and statistics: all that the outputs depend on."""

    def build(seed):
        pool = variable_pool.ProductVariablePool(True, 2e4, 0.1, seed=seed)
        factory = variable_factory.VariableFactory(
            pool, ".*weights", variable_factory.variable_scale_modifier
        )
        with v1.variable_scope("SMH", custom_getter=factory.custom_getter):
            return toy(tf.constant(images(NETS["toy"])))

    with tf.Graph().as_default():
        out = build(seed=1)
        assert set(slim.get_model_variables()) == set(v1.global_variables())
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            before = session.run(out)
            path = v1.train.Saver(slim.get_model_variables()).save(session, str(tmp_path / "net"))
    with tf.Graph().as_default():
        out = build(seed=2)
        restore = slim.assign_from_checkpoint_fn(path, slim.get_model_variables())
        with v1.Session() as session:
            restore(session)
            np.testing.assert_array_equal(session.run(out), before)


IN_A_NEW_PROCESS = """
import os
import keras, tensorflow as tf
before = dict(os.environ)
import smh.tf_slim_compat
assert dict(os.environ) == before
import tf_slim as slim
with tf.Graph().as_default():
    print(slim.batch_norm(tf.ones([2, 4, 4, 3])).shape)
"""


@pytest.mark.parametrize("legacy", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_sets_no_environment_variable_and_works_in_both_keras_modes(legacy):
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS],
        env={**os.environ, "TF_USE_LEGACY_KERAS": legacy},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "(2, 4, 4, 3)", done.stderr[-2000:]
