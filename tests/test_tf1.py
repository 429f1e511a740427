"""The TF1 door: `VariableFactory.custom_getter` in a `tf.compat.v1.variable_scope`."""

import fresh_process
import keras
import numpy as np
import pytest
import tensorflow as tf
from graphs import (
    FACTORS,
    POOLS,
    data,
    names,
    network,
    product,
    product_pool,
    regression,
    scope,
    started,
    v1,
)

from smh import modifiers, variable_factory, variable_pool
from smh.errors import ArgumentError, GraphModeError, PoolExhaustedError, SelectionError, SmhWarning

SHAPES = [(3, 4), (7,), (), (5, 5, 2, 3), (1, 300), (2,)]
STORES = [
    (kind, store)
    for kind in POOLS
    for store in ("basic", "cyclic", "padding")
    if (kind, store) != ("hash", "padding")  # there is none
]


def cut(flat, begin, length, store):
    index = np.arange(begin, begin + length)
    if store == "cyclic":
        return flat[index % len(flat)]
    padded = np.concatenate([flat, np.full(10_000, 0.01, "float32")])
    return padded[index]


@pytest.mark.parametrize("kind, store", STORES)
def test_values_are_slices_of_what_the_factors_compute(kind, store):
    build, entries = POOLS[kind]
    pool = build(index_store_type=store)
    shapes = SHAPES if store == "basic" else [*SHAPES, (40, 9), (2800,), (11, 3)]
    with tf.Graph().as_default(), scope(pool):
        given = [v1.get_variable(f"w{i}", shape) for i, shape in enumerate(shapes)]
        with started() as session:
            values, factors = session.run([given, pool.core_variables])
    flat, begin = entries(factors, pool.pool_size), 0
    for value, shape in zip(values, shapes, strict=True):
        length = int(np.prod(shape))
        assert value.shape == shape
        expected = cut(flat, begin, length, store).reshape(shape)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
        begin += length


def test_the_map_names_the_range_of_each_variable():
    factory = variable_factory.VariableFactory(product_pool(), ".*kernel")
    with tf.Graph().as_default():
        with v1.variable_scope("net", custom_getter=factory.custom_getter):
            network(tf.zeros([1, 8]), depth=1, width=5)
    assert factory.layer_name_variable_index_map == {
        "net/layer0/kernel": (0, 40),
        "net/layer0/bias": None,
        "net/out/kernel": (40, 45),
    }


@pytest.mark.parametrize("kind", POOLS)
def test_trains(kind):
    pool = POOLS[kind][0]()
    with tf.Graph().as_default():
        with scope(pool, modifier=modifiers.variable_fanout_scale_modifier):
            loss = regression(width=16)  # fills most of the pool
        gradients = tf.gradients(loss, v1.trainable_variables())
        step = v1.train.AdamOptimizer(0.02).minimize(loss)
        with started() as session:
            before = session.run(pool.core_variables)
            for gradient in session.run(gradients):
                assert np.abs(gradient).max() > 0
            losses = [session.run([loss, step])[0] for _ in range(60)]
            after = session.run(pool.core_variables)
    assert losses[-1] < 0.5 * losses[0]
    assert all((a != b).mean() > 0.5 for a, b in zip(before, after, strict=True))


def test_only_factors_scales_and_unselected_variables_exist():
    pool = product_pool()
    with tf.Graph().as_default():
        with scope(pool, ".*kernel", modifiers.variable_scale_modifier):
            given = v1.get_variable("kernel", [3, 4])
            network(tf.zeros([1, 8]), depth=2)
        assert isinstance(given, tf.Tensor) and given.name == "net/kernel/virtual:0"
        expected = [
            *FACTORS,
            "net/kernel/scale:0",
            "net/layer0/kernel/scale:0",
            "net/layer0/bias:0",
            "net/layer1/kernel/scale:0",
            "net/layer1/bias:0",
            "net/out/kernel/scale:0",
        ]
        assert names() == expected
        assert names(v1.trainable_variables()) == expected
        assert names(pool.core_variables) == FACTORS


def test_a_pool_that_is_not_trained_keeps_its_factors_out_of_the_trainable_ones():
    pool = variable_pool.ProductVariablePool(False, 1000, 0.4)
    with tf.Graph().as_default():
        with scope(pool):
            v1.get_variable("w", [3])
        assert (names(), names(v1.trainable_variables())) == (FACTORS, [])


def test_the_saver_stores_factors_and_restores_equal_outputs(tmp_path):
    def build(seed):
        pool = variable_pool.ProductVariablePool(True, 1000, 0.4, seed=seed)
        with scope(pool, ".*kernel", modifiers.variable_scale_modifier):
            return network(tf.constant(data()[0]), depth=2)

    path = str(tmp_path / "model")
    with tf.Graph().as_default():
        out = build(seed=1)
        stored = {v.op.name: v.shape.as_list() for v in v1.global_variables()}
        with started() as session:
            before = session.run(out)
            v1.train.Saver().save(session, path)
    assert v1.train.NewCheckpointReader(path).get_variable_to_shape_map() == stored
    with tf.Graph().as_default():
        out = build(seed=2)
        with started() as session:
            assert np.abs(session.run(out) - before).max() > 0.01
            v1.train.Saver().restore(session, path)
            np.testing.assert_array_equal(session.run(out), before)


@pytest.mark.parametrize("again", [True, v1.AUTO_REUSE])
def test_reuse_gives_the_same_tensor(again):
    pool, modifier = product_pool(), modifiers.variable_scale_modifier
    with tf.Graph().as_default():
        with scope(pool, modifier=modifier, regularizer=tf.nn.l2_loss) as first:
            w = v1.get_variable("w", [3, 4])
        with v1.variable_scope(first, reuse=again):
            assert v1.get_variable("w", [3, 4]) is w
        assert names() == [*FACTORS, "net/w/scale:0"]
        assert pool.status == 12
        assert len(v1.get_collection(v1.GraphKeys.REGULARIZATION_LOSSES)) == 1


def test_errors_of_reuse():
    with tf.Graph().as_default():
        with scope(product_pool()) as first:
            v1.get_variable("w", [3, 4])
            with pytest.raises(SelectionError, match="net/w already exists.*reuse=True"):
                v1.get_variable("w", [3, 4])
        with v1.variable_scope(first, reuse=True):
            with pytest.raises(SelectionError, match=r"net/w .*\(3, 4\).*asked.*\(4, 3\)"):
                v1.get_variable("w", [4, 3])
            with pytest.raises(SelectionError, match="net/w .*float32.*asked.*float16"):
                v1.get_variable("w", [3, 4], tf.float16)
            with pytest.raises(ValueError, match="net/new does not exist"):
                v1.get_variable("new", [3, 4])


def test_reuse_finds_a_variable_made_without_smh():
    with tf.Graph().as_default():
        with v1.variable_scope("net"):
            dense = v1.get_variable("w", [3])
        with scope(product_pool(), reuse=True):
            assert v1.get_variable("w", [3]) is dense


def test_regularizers_act_on_the_computed_weight():
    pool = product_pool()
    with tf.Graph().as_default():
        with scope(pool, ".*a", lambda weight: 3 * weight, regularizer=tf.nn.l2_loss):
            a = v1.get_variable("a", [3, 4])
            v1.get_variable("b", [2], initializer=tf.ones_initializer())
            v1.get_variable("a_without", [2], regularizer=lambda weight: None)
        penalties = v1.get_collection(v1.GraphKeys.REGULARIZATION_LOSSES)
        with started() as session:
            values, weight = session.run([[tf.convert_to_tensor(p) for p in penalties], a])
    np.testing.assert_allclose(values, [np.sum(weight**2) / 2, 1.0], rtol=1e-5)


def test_what_is_not_trained_or_no_float_stays_a_variable():
    pool = product_pool()
    with tf.Graph().as_default(), scope(pool):
        stays = [
            v1.get_variable("step", [], tf.int64, tf.zeros_initializer()),
            v1.get_variable("mean", [4], trainable=False),
            v1.get_variable("sum", [4], synchronization=tf.VariableSynchronization.ON_READ),
            v1.get_variable("count", initializer=3),
        ]
        assert all(isinstance(variable, tf.Variable) for variable in stays)
        assert stays[3].dtype.base_dtype == tf.int32
        assert pool.status == 0 and not pool.core_variables[0].name.startswith("net")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_float_types(dtype):
    pool = product_pool()
    with tf.Graph().as_default(), scope(pool):
        w, same = v1.get_variable("w", [3, 4], dtype), v1.get_variable("same", [3, 4])
        assert w.dtype.name == dtype
        with started() as session:
            w, flat = session.run([tf.cast(w, "float64"), pool.core_variables])
    expected = product(flat, 1000)[:12].reshape(3, 4)
    np.testing.assert_allclose(
        w, expected, atol={"float16": 3e-3, "bfloat16": 2e-2}.get(dtype, 1e-6)
    )
    assert same.dtype == tf.float32


@pytest.mark.parametrize("resource", [True, False])
def test_the_scope_decides_the_kind_of_variable(resource):
    with tf.Graph().as_default(), scope(product_pool(), use_resource=resource):
        v1.get_variable("w", [3])
        kinds = {hasattr(variable, "handle") for variable in v1.global_variables()}
    assert kinds == {resource}


def test_apply_to_may_be_a_function_of_what_is_asked_for():
    with tf.Graph().as_default(), scope(product_pool(), lambda asked: len(asked.shape) == 2):
        network(tf.zeros([1, 8]), depth=1)
        assert names() == [*FACTORS, "net/layer0/bias:0"]


def test_nested_scopes_with_a_pool_each():
    """The factors of the inner pool are not cut out of the outer one."""
    outer, inner = product_pool(), product_pool()
    with tf.Graph().as_default():
        with scope(outer), scope(inner, ".*kernel", modifiers.variable_scale_modifier):
            loss = regression(1)
        assert (outer.status, inner.status) == (9, 8 * 9 + 9)
        assert names() == [
            *FACTORS,
            "net/net/layer0/kernel/scale:0",
            "ProductVariablePool_1/variable_left:0",
            "ProductVariablePool_1/variable_right:0",
            "net/net/out/kernel/scale:0",
        ]
        gradients = tf.gradients(loss, v1.trainable_variables())
        with started() as session:
            assert all(np.abs(gradient).max() > 0 for gradient in session.run(gradients))


def test_two_factories_may_share_a_pool():
    pool = product_pool()
    with tf.Graph().as_default():
        for name in ("one", "two"):
            with scope(pool, name=name):
                v1.get_variable("w", [5])
        assert names() == FACTORS and pool.status == 10


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_factory_without_a_pool_changes_nothing():
    with tf.Graph().as_default(), scope(None):
        assert isinstance(v1.get_variable("w", [5]), tf.Variable)


def test_a_constraint_is_dropped_with_a_warning():
    with tf.Graph().as_default(), scope(product_pool()):
        with pytest.warns(SmhWarning, match="constraint of 'net/w' is dropped"):
            v1.get_variable("w", [5], constraint=tf.nn.relu)


def test_get_slice_in_a_graph_comes_from_the_same_product():
    pool = product_pool()
    with tf.Graph().as_default() as graph, scope(pool):
        v1.get_variable("w", [5])
        piece = pool.get_slice([3, 4])
        with started() as session:
            piece, factors = session.run([piece, pool.core_variables])
        assert [op.type for op in graph.get_operations()].count("MatMul") == 1
    np.testing.assert_allclose(piece, product(factors, 1000)[5:17].reshape(3, 4), rtol=1e-6)


def test_eager_mode_is_an_error():
    with scope(product_pool()), pytest.raises(GraphModeError, match=r"tf.Graph\(\).as_default"):
        v1.get_variable("w", [5])


def test_a_second_graph_is_an_error():
    pool = product_pool()
    with tf.Graph().as_default(), scope(pool):
        v1.get_variable("w", [5])
    with tf.Graph().as_default(), scope(pool):
        with pytest.raises(GraphModeError, match="another graph.*one pool per graph"):
            v1.get_variable("w", [5])
    assert pool.status == 5


def test_a_pool_of_a_keras_model_is_an_error():
    pool = product_pool()
    factory = variable_factory.VariableFactory(pool)
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with tf.Graph().as_default(), scope(pool):
        with pytest.raises(GraphModeError, match="a Keras model.*one pool per graph"):
            v1.get_variable("w", [5])


def test_a_full_pool_names_the_variable_and_changes_nothing():
    pool = product_pool(size=100)
    with tf.Graph().as_default():
        with scope(pool):
            with pytest.raises(PoolExhaustedError, match=r"net/big.*\(11, 11\).*pool_size.*121"):
                v1.get_variable("big", [11, 11])
        assert (names(), pool.status) == ([], 0)


def test_an_unknown_shape_is_an_error():
    with tf.Graph().as_default(), scope(product_pool()):
        with pytest.raises(SelectionError, match=r"net/w.*\(None, 3\)"):
            v1.get_variable("w", [None, 3])


def test_a_modifier_that_changes_the_shape_is_an_error():
    with tf.Graph().as_default(), scope(product_pool(), modifier=tf.reduce_sum):
        with pytest.raises(SelectionError, match=r"net/w.*\(\), expected \(3,\)"):
            v1.get_variable("w", [3])


OLD_BEHAVIOUR = """
import numpy as np, tensorflow as tf
from smh import variable_factory, variable_pool
v1 = tf.compat.v1
v1.disable_v2_behavior()
pool = variable_pool.ProductVariablePool(True, pool_size=1000, fraction=0.4)
factory = variable_factory.VariableFactory(pool, modifier=variable_factory.variable_scale_modifier)
with v1.variable_scope("net", custom_getter=factory.custom_getter):
    first, last = v1.get_variable("first", [8, 9]), v1.get_variable("last", [9, 1])
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
loss = tf.reduce_mean((tf.tanh(x @ first) @ last - x[:, :1]) ** 2)
step = v1.train.AdamOptimizer(0.01).minimize(loss)
with v1.Session() as session:
    session.run(v1.global_variables_initializer())
    losses = [session.run([loss, step])[0] for _ in range(50)]
assert losses[-1] < 0.5 * losses[0], losses
print("trained")
"""


def test_a_program_that_disables_v2_behaviour():
    done = fresh_process.run(OLD_BEHAVIOUR)
    assert done.stdout.strip() == "trained", done.stderr[-2000:]


def test_a_pool_too_large_for_one_tensor_is_refused():
    pool = variable_pool.ProductVariablePool(True, pool_size=3e9, fraction=1e-4)
    factory = variable_factory.VariableFactory(pool)
    with tf.Graph().as_default() as graph:
        with tf.compat.v1.variable_scope("net", custom_getter=factory.custom_getter):
            with pytest.raises(ArgumentError, match="at most 2,147,483,647"):
                tf.compat.v1.get_variable("w", [3])
        assert not graph.get_operations()
