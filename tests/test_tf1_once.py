"""The TF1 door: the pool is computed once, outside of loops, branches and functions."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from graphs import (
    FACTORS,
    POOLS,
    data,
    names,
    network,
    product_pool,
    regression,
    scope,
    started,
    v1,
)

from smh import modifiers, variable_factory


def sizes_by_type(operations):
    """For each type of operation, the largest output that one has."""
    largest = collections.defaultdict(int)
    for operation in operations:
        for out in operation.outputs:
            if out.shape.is_fully_defined():
                largest[operation.type] = max(largest[operation.type], out.shape.num_elements())
    return largest


@pytest.mark.parametrize("kind", POOLS)
def test_the_pool_is_computed_and_split_once(kind):
    """The cost of the law: neither pass holds a copy of the pool for each variable."""

    def big_operations(depth):
        pool = POOLS[kind][0]()
        with tf.Graph().as_default() as graph:
            with scope(pool):
                loss = regression(depth)
            forward = graph.get_operations()
            tf.gradients(loss, pool.core_variables)
            backward = graph.get_operations()[len(forward) :]
        # A concatenation of the blocks has the pool's size in the backward pass, once.
        splits = [op for op in forward if op.type == "SplitV"]
        products = [
            op for op in forward if "MatMul" in op.type and op.name.startswith(pool.scope_name)
        ]
        whole = [
            op
            for op in backward
            if any(out.shape.num_elements() == pool.pool_size for out in op.outputs)
        ]
        return len(splits), len(products), collections.Counter(op.type for op in whole)

    few, many = big_operations(2), big_operations(8)
    assert few == many
    assert few[:2] == (1, {"product": 1, "kronecker": 1, "hash": 0, "meta": 1}[kind])
    assert few[2]["ConcatV2"] == 1


def test_no_gradient_is_padded_to_the_size_of_the_pool():
    pool = product_pool(size=1024)
    with tf.Graph().as_default() as graph:
        with scope(pool):
            loss = regression(8)
        tf.gradients(loss, pool.core_variables)
        sizes = sizes_by_type(graph.get_operations())
    assert sizes["MatMul"] == sizes["ConcatV2"] == pool.pool_size == 1024
    assert max(sizes["StridedSliceGrad"], sizes["Pad"], sizes["PadV2"]) <= 1024 // 256
    assert max(sizes["ZerosLike"], sizes["AddN"]) <= 9 * 9


@pytest.fixture(params=["control flow v2", "control flow v1"])
def control_flow(request):
    if request.param == "control flow v1":
        v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


class Cell:
    """A recurrent cell that asks for its weights when it is called: in the loop's body."""

    output_size = state_size = 5

    def zero_state(self, batch, dtype):
        return tf.zeros([batch, 5], dtype)

    def __call__(self, x, state, scope=None):
        with v1.variable_scope(scope or "cell"):
            kernel = v1.get_variable("kernel", [x.shape[1] + 5, 5])
            out = tf.tanh(tf.concat([x, state], 1) @ kernel)
        return out, out


def test_first_asked_for_inside_a_loop(control_flow):
    x, pool = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32"), product_pool()
    with tf.Graph().as_default():
        with scope(pool, modifier=modifiers.variable_scale_modifier) as outer:
            with v1.name_scope("elsewhere"):
                out, _ = v1.nn.dynamic_rnn(Cell(), x, dtype=tf.float32)
        with v1.variable_scope(outer, reuse=True):
            kernel = v1.get_variable("rnn/cell/kernel", [8, 5])
        gradients = tf.gradients(tf.reduce_sum(out[:, -1] ** 2), v1.trainable_variables())
        assert names() == [*FACTORS, "net/rnn/cell/kernel/scale:0"]
        with started() as session:
            outs, weight, gradients = session.run([out, kernel, gradients])
    state = np.zeros([2, 5], "float32")
    for t in range(6):
        state = np.tanh(np.concatenate([x[:, t], state], 1) @ weight)
        np.testing.assert_allclose(outs[:, t], state, atol=1e-5)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_first_asked_for_inside_a_branch(control_flow):
    pool = product_pool()
    with tf.Graph().as_default(), scope(pool, reuse=v1.AUTO_REUSE):

        def branch(scale):
            return lambda: scale * v1.get_variable("w", [3])

        out = tf.cond(v1.placeholder_with_default(False, []), branch(2.0), branch(3.0))
        gradients = tf.gradients(out, pool.core_variables)
        with started() as session:
            out, w, gradients = session.run([out, v1.get_variable("w", [3]), gradients])
    np.testing.assert_allclose(out, 3 * w, rtol=1e-6)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_inside_a_wrapped_function():
    """The bridge that TensorFlow offers from TF1 code to eager code."""
    pool, x = product_pool(), data()[0]
    factory = variable_factory.VariableFactory(pool)

    def call(x):
        with v1.variable_scope("net", custom_getter=factory.custom_getter):
            out, _ = v1.nn.dynamic_rnn(Cell(), x[:, None], dtype=tf.float32)
            return network(out[:, -1])

    function = v1.wrap_function(call, [tf.TensorSpec([None, 8])])
    assert names(pool.core_variables) == FACTORS
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(function(x) ** 2)
    assert all(np.abs(g).max() > 0 for g in tape.gradient(loss, pool.core_variables))
    pool.core_variables[0].assign(tf.zeros_like(pool.core_variables[0]))
    assert not function(x).numpy().any()
