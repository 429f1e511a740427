"""Every example trains, from the factors, and from the variables that it says and no others."""

import functools
import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

import smh
from smh import variable_factory, variable_pool

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))  # as Python does for a script: they share a file
FACTORS = ["ProductVariablePool/variable_left", "ProductVariablePool/variable_right"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

# What is trained beside the factors: a compressed layer must have nothing of its own left here.
BESIDE_THE_FACTORS = {
    "toy_keras": [],
    "toy_keras_kernels_only": ["conv/bias", "dense/bias"],
    "toy_keras_one_layer": ["dense/kernel", "dense/bias"],
    "toy_slim": [],
    "toy_slim_conv_only": [
        "SMH/ToyNetwork/fully_connected/weights",
        "SMH/ToyNetwork/fully_connected/biases",
    ],
    "compress_one_call": [
        f"sequential/{layer}/{variable}"
        for layer in ("conv", "hidden", "out")
        for variable in ("kernel/scale", "bias")
    ],
}
BIASES = ["conv/bias", "dense/bias"]
PARTS_OF_MODIFIERS = {
    "constant_fanout_scale": [],
    "variable_fanout_scale": ["conv/kernel/scale", "dense/kernel/scale"],
    "variable_scale": ["conv/kernel/scale", "dense/kernel/scale"],
    "relu": [],
    "sign_fw": [],
    "chain": ["conv/kernel/scale", "dense/kernel/scale"],
    "function": [],
    "class": ["conv/kernel/mix", "dense/kernel/mix"],
}


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@functools.cache
def run(name):
    return load(name).main()


def factor_gradients(result):
    """The gradient of every factor, where training left off or from a fresh start."""
    if "loss" in result:  # a tensor of a TF1 graph
        with result["loss"].graph.as_default(), tf.compat.v1.Session() as session:
            gradients = tf.gradients(result["loss"], result["pool"].core_variables)
            session.run(tf.compat.v1.global_variables_initializer())
            return session.run(gradients)
    model = result["model"]
    factors = [v.value for v in model.trainable_variables if v.path in FACTORS]
    images = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images) ** 2)
    return [gradient.numpy() for gradient in tape.gradient(loss, factors)]


def check_that_it_trained(result, beside_the_factors):
    assert sorted(result["trained"]) == sorted([*FACTORS, *beside_the_factors])
    assert result["losses"][-1] < 0.7 * result["losses"][0]
    for before, after in zip(result["before"], result["after"], strict=True):
        assert (before != after).mean() > 0.8
    gradients = factor_gradients(result)
    assert len(gradients) == 2
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", BESIDE_THE_FACTORS)
def test_example_trains(name):
    check_that_it_trained(run(name), BESIDE_THE_FACTORS[name])


@pytest.fixture(scope="module")
def modifiers_example():
    return load("modifiers")


def test_every_modifier_has_its_line_here(modifiers_example):
    assert list(modifiers_example.MODIFIERS) == list(PARTS_OF_MODIFIERS)


@pytest.mark.parametrize("name", PARTS_OF_MODIFIERS)
def test_example_trains_with_modifier(name, modifiers_example):
    result = modifiers_example.train(name)
    check_that_it_trained(result, [*BIASES, *PARTS_OF_MODIFIERS[name]])


def test_the_plain_model_of_one_call_predicts_the_same():
    result = run("compress_one_call")
    assert result["difference"] < 1e-4
    paths = [variable.path for variable in result["plain"].variables]
    assert len(paths) == 6 and not any("Pool" in path or "scale" in path for path in paths)


def test_the_tutorial_as_written_on_a_batch_of_images():
    """`toy_network_tf2(images)` with images at hand: the layers are built and called at once."""
    assert tf.compat.v2.keras.layers.Conv2D is keras.layers.Conv2D
    pool = variable_pool.ProductVariablePool(trainable=True, pool_size=7e5, fraction=0.4)
    factory = variable_factory.VariableFactory(
        variable_pool=pool, apply_to=".*", modifier=variable_factory.fanout_scale_modifier
    )
    images = np.random.default_rng(0).normal(size=(2, 128, 128, 3)).astype("float32")
    with tf.GradientTape() as tape, tf.variable_creator_scope(factory.custom_getter_tf2):
        logits = load("toy_keras").toy_network_tf2(images)
    assert logits.shape == (2, 10)
    assert pool.status == 656_586  # the total of the tutorial's table
    for gradient in tape.gradient(logits, [factor.value for factor in pool.core_variables]):
        assert np.abs(gradient).max() > 0


def toy_network_tf1(images, scope="ToyNetwork"):
    """As the tutorial has it, with the relu that slim puts behind the logits."""
    with tf.compat.v1.variable_scope(scope, "ToyNetwork"):
        net = slim.conv2d(images, 16, [5, 5], scope="conv")
        net = slim.max_pool2d(net, [2, 2], 2, scope="pool")
        net = slim.flatten(net)
        logits = slim.fully_connected(net, 10, scope="fully_connected")

    return logits


@pytest.mark.parametrize("apply_to, weights", [(".*", 656_586), (".*conv.*", 1216)])
def test_the_tutorial_as_written_in_a_graph(apply_to, weights):
    pool = variable_pool.ProductVariablePool(trainable=True, pool_size=7e5, fraction=0.4)
    factory = variable_factory.VariableFactory(
        variable_pool=pool, apply_to=apply_to, modifier=variable_factory.fanout_scale_modifier
    )
    images = np.random.default_rng(0).normal(size=(2, 128, 128, 3)).astype("float32")
    with tf.Graph().as_default():
        with tf.compat.v1.variable_scope("SMH", custom_getter=factory.custom_getter):
            logits = toy_network_tf1(tf.constant(images))
        assert pool.status == weights
        gradients = tf.gradients(logits, pool.core_variables)
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            assert all(np.abs(gradient).max() > 0 for gradient in session.run(gradients))


def test_the_profile_names_the_parts_of_a_step(tmp_path):
    options = ["--model", "lenet_5", "--batch", "4", "--steps", "1", "--out", str(tmp_path)]
    dense, compressed = load("profile_step").main(options).values()
    ours = {"pool: smh_product", "pool: smh_split"}
    assert ours <= set(compressed) and not ours & set(dense)
    for table in (dense, compressed):
        assert {"Conv2D", "Dense", "optimizer"} <= set(table)
    forward, backward = compressed["pool: smh_product"]
    assert forward > 0 and backward > 0
    assert len(list(tmp_path.rglob("*.xplane.pb"))) == 2


@pytest.mark.slow
def test_deep_compression_and_smh_side_by_side(tmp_path):
    results = load("deep_compression").main(["--epochs", "6", "--out", str(tmp_path)])
    dense, pruned, shared, retrained, huffman, smh_16, smh_4 = results
    assert pruned.kept < dense.kept / 11 and pruned.kept == shared.kept
    assert pruned.times > 15 and shared.times > 30 and smh_16.times > 30 and smh_4.times > 90
    assert abs(huffman.bytes / retrained.bytes - 1) < 0.05
    assert all(row.test_error < 0.15 for row in results)
    assert len(list(tmp_path.glob("*.smh"))) == 7 and len(list(tmp_path.glob("*.csv"))) == 1


def test_the_examples_folder_holds_what_is_tested_here():
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    assert files == {
        *BESIDE_THE_FACTORS,
        "modifiers",
        "deep_compression",
        "demo",
        "demo_ways",  # its last table
        "distributed",
        "mnist_curve",  # tests/test_mnist_curve.py, as its parts and what draws its results
        "mnist_images",
        "mnist_points",
        "mnist_tables",
        "mnist_training",
        "plot_slim_curve",
        "plot_mnist_curve",
        "numpy_lenet",
        "toy_training",  # what the toy examples share
        "profile_step",
        "slim_curve",  # tests/test_mnist_curve.py
    }


def test_lenet_runs_on_numpy_as_on_keras(tmp_path, capsys):
    model = smh.compress(smh.zoo.lenet_5(), 0.1, seed=0)
    smh.save(model, tmp_path / "m.smh")
    images = np.random.default_rng(0).normal(size=(5, 28, 28, 1)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    example = load("numpy_lenet")
    expected = keras.ops.convert_to_numpy(model(images))
    got = example.logits(smh.runtime.load(tmp_path / "m.smh"), images)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    example.main(tmp_path / "m.smh", tmp_path / "images.npy")
    assert capsys.readouterr().out.split() == [str(n) for n in expected.argmax(axis=-1)]
