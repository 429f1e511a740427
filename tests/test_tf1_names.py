"""The TF1 door: a name has one weight, and whoever lists a graph's variables finds the factors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from graphs import FACTORS, POOLS, names, product_pool, scope, started, v1

from smh import modifiers, variable_factory
from smh.errors import ArgumentError, GraphModeError, SelectionError

SCALE = modifiers.variable_scale_modifier
WHO = ["pool", "same pool", "other pool", "not selecting", "no factory"]


class Asking:
    """One who asks for `net/w`, by a factory of a pool, by one that does not select it, or none."""

    def __init__(self, pool, apply_to=".*"):
        self.pool = pool
        self.factory = pool and variable_factory.VariableFactory(pool, apply_to, SCALE)

    def __call__(self, reuse=None, shape=(4,)):
        getter = self.factory and self.factory.custom_getter
        with v1.variable_scope("net", custom_getter=getter, reuse=reuse):
            return v1.get_variable("w", shape)


def asking():
    one = product_pool()
    askers = [Asking(one), Asking(one), Asking(product_pool())]
    return dict(zip(WHO, [*askers, Asking(product_pool(), "nothing"), Asking(None)], strict=True))


def state():
    return names(), [op.name for op in v1.get_default_graph().get_operations()]


@pytest.mark.parametrize("second", WHO)
@pytest.mark.parametrize("first", ["pool", "no factory"])
def test_a_name_is_given_out_once(first, second):
    with tf.Graph().as_default():
        ask = asking()
        ask[first]()
        before = state(), [asker.pool and asker.pool.status for asker in ask.values()]
        with pytest.raises(ValueError, match="net/w already exists"):
            ask[second]()
        assert before == (state(), [asker.pool and asker.pool.status for asker in ask.values()])


@pytest.mark.parametrize("reuse", [True, v1.AUTO_REUSE])
@pytest.mark.parametrize("second", WHO)
@pytest.mark.parametrize("first", ["pool", "no factory"])
def test_reuse_finds_what_has_the_name(first, second, reuse):
    """Only the slice of another pool is refused: a factory gives out slices of its own."""
    with tf.Graph().as_default():
        ask = asking()
        w = ask[first]()
        before = state()
        if (first, second) == ("pool", "other pool"):
            with pytest.raises(SelectionError, match="net/w already exists, as a slice of another"):
                ask[second](reuse)
        else:
            assert ask[second](reuse) is w
        assert state() == before


@pytest.mark.parametrize("second", ["same pool", "not selecting", "no factory"])
def test_a_computed_weight_is_shared_only_as_what_it_is(second):
    with tf.Graph().as_default():
        ask = asking()
        ask["pool"]()
        with pytest.raises(SelectionError, match=r"net/w .*\(4,\).*asked.*\(5,\)"):
            ask[second](True, shape=(5,))


def test_partitioned_variables_are_known_as_well():
    with tf.Graph().as_default():
        ask, halves = asking(), v1.fixed_size_partitioner(2)
        with v1.variable_scope("net", partitioner=halves):
            v1.get_variable("w", [4])
        with pytest.raises(SelectionError, match="net/w already exists"):
            ask["pool"]()
    with tf.Graph().as_default():
        ask = asking()
        ask["pool"]()
        with v1.variable_scope("net", partitioner=halves):
            with pytest.raises(SelectionError, match="net/w already exists"):
                v1.get_variable("w", [4])


def test_a_name_that_the_modifier_needs_may_be_taken():
    with tf.Graph().as_default():
        with v1.variable_scope("net/w"):
            v1.get_variable("scale", [])
        before, ask = state(), asking()["pool"]
        with pytest.raises(SelectionError, match="net/w/scale already exists.*modifier of 'net/w'"):
            ask()
        assert state() == before and ask.pool.status == 0


def test_graphs_have_names_of_their_own():
    for _ in range(2):
        with tf.Graph().as_default():
            assert isinstance(asking()["pool"](), tf.Tensor)


def test_what_tf1_does_by_name_sees_the_variables_alone(tmp_path):
    """`init_from_checkpoint` goes through TF1's own store; a computed weight is not to be there."""

    def build():
        with scope(product_pool(), ".*w", SCALE):
            v1.get_variable("w", [4])
            return v1.get_variable("b", [4])

    with tf.Graph().as_default():
        dense = build()
        with started() as session:
            before = session.run(dense)
            path = v1.train.Saver().save(session, str(tmp_path / "net"))
    with tf.Graph().as_default():
        dense = build()
        v1.train.init_from_checkpoint(path, {"net/": "net/"})
        with started() as session:
            np.testing.assert_array_equal(session.run(dense), before)


@pytest.mark.parametrize("second", ["pool", "same pool", "not selecting"])
def test_each_factory_maps_what_it_saw(second):
    with tf.Graph().as_default():
        ask = asking()
        ask["pool"]()
        ask[second](True)
    seen = {"net/w": None if second == "not selecting" else (0, 4)}
    assert ask[second].factory.layer_name_variable_index_map == seen


@pytest.mark.parametrize("reuse", [None, v1.AUTO_REUSE])
def test_a_refused_name_is_not_in_the_map(reuse):
    with tf.Graph().as_default():
        ask = asking()
        ask["pool"]()
        with pytest.raises(SelectionError):
            ask["other pool"](reuse)
    assert ask["other pool"].factory.layer_name_variable_index_map == {}


# Who lists variables.


@pytest.mark.parametrize("kind", POOLS)
def test_collections_hold_what_a_weight_is_computed_from(kind):
    pool = POOLS[kind][0]()
    with tf.Graph().as_default(), scope(pool, modifier=SCALE):
        v1.get_variable("plain", [3])
        v1.get_variable("a", [3], collections=["mine", "mine"])
        v1.get_variable("b", [3], collections=("mine", "others", v1.GraphKeys.GLOBAL_VARIABLES))
        factors = names(pool.core_variables)
        scales = ["net/a/scale:0", "net/b/scale:0"]
        assert names(v1.get_collection("mine")) == [*factors, *scales]
        assert names(v1.get_collection("others")) == [*factors, scales[1]]
        assert names() == [*factors, "net/plain/scale:0", *scales]


@pytest.mark.parametrize("collections", ["mine", 5])
def test_collections_are_a_list(collections):
    pool = product_pool()
    with tf.Graph().as_default(), scope(pool):
        with pytest.raises(ArgumentError, match="collections= of 'net/w' must be a list"):
            v1.get_variable("w", [3], collections=collections)
        assert not names() and pool.status == 0


@pytest.mark.parametrize("kind", POOLS)
def test_a_checkpoint_of_the_pool_holds_its_factors(kind, tmp_path):
    """Under the same keys as that of a pool of a Keras model, so that either reads the other's."""
    with tf.Graph().as_default():
        pool = POOLS[kind][0]()
        with scope(pool):
            v1.get_variable("w", [3])
        checkpoint = tf.train.Checkpoint(pool=pool)
        with started().as_default() as session:
            session.run(checkpoint.save_counter.initializer)
            before = session.run(pool.core_variables)
            path = checkpoint.save(str(tmp_path / "pool"))
    built = POOLS[kind][0]()
    for factor in built.core_variables:
        factor.assign(tf.zeros_like(factor))
    tf.train.Checkpoint(pool=built).restore(path).assert_consumed()
    for factor, value in zip(built.core_variables, before, strict=True):
        np.testing.assert_array_equal(factor, value)


def test_the_factors_are_no_variables_of_the_layer():
    pool = product_pool()
    with tf.Graph().as_default(), scope(pool):
        v1.get_variable("w", [3])
        assert pool.variables == [] and names(pool.core_variables) == FACTORS


@pytest.mark.filterwarnings("ignore:apply_to=")
def test_a_pool_gives_slices_in_its_own_graph_alone():
    pool = product_pool()
    with tf.Graph().as_default() as graph, scope(pool):
        v1.get_variable("w", [3])
    for elsewhere in (tf.Graph().as_default(), tf.init_scope()):
        with elsewhere, pytest.raises(GraphModeError, match="factors in a TF1 graph"):
            pool.get_slice([2])
    with graph.as_default():
        assert pool.status == 3 and pool.get_slice([2]).graph is graph
    with pytest.raises(GraphModeError, match="factors in a TF1 graph"):
        with tf.variable_creator_scope(variable_factory.VariableFactory(pool).custom_getter_tf2):
            keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
