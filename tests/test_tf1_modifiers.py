"""The TF1 door: what modifiers do to a slice, and the variables that they own."""

import numpy as np
import pytest
import tensorflow as tf
from graphs import names, product, product_pool, scope, started, v1

from smh import modifiers


class Mixture(modifiers.Modifier):
    """Two variables of its own, one of the weight's shape."""

    def parts(self, spec):
        return {"mix": np.float32(0.25), "bias": np.full(spec.shape, 2.0, "float32")}

    def apply(self, tensor, parts):
        return parts["mix"] * tensor + parts["bias"]


MODIFIERS = {
    "none": (None, lambda w: w),
    "relu": (modifiers.relu_modifier, lambda w: np.maximum(w, 0)),
    "sign": (modifiers.sign_fw_modifier, np.sign),
    "fan-out": (modifiers.fanout_scale_modifier, lambda w: w / 2),
    "trained fan-out": (modifiers.variable_fanout_scale_modifier, lambda w: w / 2),
    "trained logarithm": (modifiers.LogScaleModifier(lambda spec: 0.5), lambda w: w / 2),
    "trained": (modifiers.variable_scale_modifier, lambda w: w),
    "own": (Mixture(), lambda w: 0.25 * w + 2),
    "function": (lambda w: w + 1, lambda w: w + 1),
    "chain": (
        modifiers.modifier_factory([modifiers.fanout_scale_modifier, Mixture(), tf.square]),
        lambda w: (w / 8 + 2) ** 2,
    ),
}


@pytest.mark.parametrize("kind", MODIFIERS)
def test_modifiers(kind):
    modifier, expected = MODIFIERS[kind]
    pool = product_pool()
    with tf.Graph().as_default(), scope(pool, modifier=modifier):
        w = v1.get_variable("w", [3, 4])
        gradients = tf.gradients(tf.reduce_sum(w**3), v1.trainable_variables())
        with started() as session:
            w, factors, gradients = session.run([w, pool.core_variables, gradients])
    plain = product(factors, 1000)[:12].reshape(3, 4)
    np.testing.assert_allclose(w, expected(plain), rtol=1e-4, atol=1e-5)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_a_modifiers_variables_are_named_after_the_weight():
    chain = modifiers.modifier_factory([modifiers.variable_scale_modifier, Mixture()])
    with tf.Graph().as_default():
        with scope(product_pool(), modifier=chain):
            v1.get_variable("w", [3])
        assert names(v1.trainable_variables())[2:] == [
            "net/w/scale:0",
            "net/w/mix:0",
            "net/w/bias:0",
        ]


@pytest.mark.parametrize(
    "asked",
    [
        dict(shape=[60, 50], initializer=tf.random_normal_initializer(stddev=0.2)),
        dict(shape=[60, 50], initializer=v1.random_normal_initializer(stddev=0.2)),
        dict(initializer=np.random.default_rng(0).normal(0, 0.2, (60, 50)).astype("float32")),
        dict(initializer=lambda: tf.random.normal([60, 50], stddev=0.2)),
        dict(shape=[60, 50]),
    ],
    ids=["v2", "v1", "array", "function", "default"],
)
def test_a_scale_can_start_at_the_networks_own_deviation(asked):
    pool = product_pool(4000)
    with tf.Graph().as_default(), scope(pool, modifier=modifiers.initial_std_modifier):
        v1.get_variable("w", **asked)
        scale = v1.global_variables()[-1]
        with started() as session:
            value = session.run(scale)
    glorot = np.sqrt(2 / (60 + 50))
    np.testing.assert_allclose(value, glorot if "initializer" not in asked else 0.2, rtol=0.05)


def test_a_scale_can_start_at_the_deviation_of_a_given_tensor():
    with tf.Graph().as_default():
        initial = tf.constant([1.0, 3.0])
        with scope(product_pool(), modifier=modifiers.initial_std_modifier):
            v1.get_variable("w", initializer=initial)
        with started() as session:
            assert session.run(v1.global_variables()[-1]) == 1.0
