"""Small TF1 graphs for tests: networks, pools, and what the pools compute, in NumPy."""

import numpy as np
import tensorflow as tf

from smh import variable_factory, variable_pool

v1 = tf.compat.v1
FACTORS = ["ProductVariablePool/variable_left:0", "ProductVariablePool/variable_right:0"]


def product_pool(size=1000, fraction=0.4, **kwargs):
    return variable_pool.ProductVariablePool(True, size, fraction, seed=1, **kwargs)


def scope(pool, apply_to=".*", modifier=None, name="net", **kwargs):
    getter = variable_factory.VariableFactory(pool, apply_to, modifier).custom_getter
    return v1.variable_scope(name, custom_getter=getter, **kwargs)


def names(variables=None):
    return [v.name for v in (v1.global_variables() if variables is None else variables)]


def started(graph=None):
    session = v1.Session(graph=graph)
    session.run(v1.global_variables_initializer())
    return session


def data(samples=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 8)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2]).astype("float32")


def network(x, depth=3, width=9):
    for i in range(depth):
        with v1.variable_scope(f"layer{i}"):
            kernel = v1.get_variable("kernel", [x.shape[1], width])
            bias = v1.get_variable("bias", [width])
            x = tf.tanh(x @ kernel + bias)
    with v1.variable_scope("out"):
        return x @ v1.get_variable("kernel", [width, 1])


def regression(depth=3, width=9):
    """The loss of `network`, fed by constants."""
    x, y = (tf.constant(part) for part in data())
    return tf.reduce_mean(tf.square(network(x, depth, width) - y))


# What the pools compute, in NumPy.


def product(factors, size):
    left, right = factors
    return (left @ right).reshape(-1)[:size]


def kronecker(factors, size):
    return sum(np.kron(a, b) for a, b in zip(*factors, strict=True)).reshape(-1)[:size]


def hashed(factors, size):
    return factors[0][np.arange(size) % len(factors[0])]


def meta(factors, size):
    return product(factors[:2], size) + hashed(factors[2:], size)


POOLS = {
    "product": (lambda **k: product_pool(**k), product),
    "kronecker": (lambda **k: product_pool(use_kronecker_product=True, **k), kronecker),
    "hash": (lambda **k: variable_pool.HashVariablePool(True, 1.0, 1000, 0.3, **k), hashed),
    "meta": (lambda **k: variable_pool.MetaVariablePool(True, 1.0, 1000, 0.5, **k), meta),
}
