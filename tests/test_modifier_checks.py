"""A modifier of the user's own is checked before anything is changed, at every door alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from graphs import names, product, product_pool, scope, started, v1

import smh
from smh import modifiers, variable_factory
from smh.errors import ArgumentError, SelectionError


class Own(modifiers.Modifier):
    """Starts its variables from `given`, and does `does`."""

    def __init__(self, given, does=lambda tensor, parts: tensor):
        self.given, self.does = given, does

    def parts(self, spec):
        return self.given

    def apply(self, tensor, parts):
        return self.does(tensor, parts)


def layers():
    return [keras.Input((3,)), keras.layers.Dense(4, use_bias=False)]


def compressed(modifier, pool):
    model = keras.Sequential(layers())
    before = model.weights
    try:
        smh.compress(model, pool=pool, modifier=modifier)
    finally:
        assert [v is w for v, w in zip(model.weights, before, strict=False)] == [not pool.status]
    return [v.path for v in model.trainable_variables]


def built_in_the_scope(modifier, pool):
    factory = variable_factory.VariableFactory(pool, "kernel", modifier)
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        return [v.path for v in keras.Sequential(layers()).trainable_variables]


def asked_for_in_a_graph(modifier, pool):
    with tf.Graph().as_default():
        try:
            with scope(pool, modifier=modifier):
                v1.get_variable("w", [3, 4])
        finally:
            assert bool(names()) == bool(pool.status)
        return names()


# A refused layer stays dense, so nothing of its scope was compressed.
pytestmark = pytest.mark.filterwarnings("ignore:apply_to=")
DOORS = [compressed, built_in_the_scope, asked_for_in_a_graph]


def fails(tensor, parts):
    raise ZeroDivisionError("boom")


REFUSED = {
    "no dict": (Own(["a"]), ArgumentError, r"Own.parts\(\) must return a dict.*got \['a'\]"),
    "nothing": (Own(None), ArgumentError, r"Own.parts\(\) must return a dict.*got None"),
    "a space": (Own({"a b": 1.0}), ArgumentError, "a name of letters.*got 'a b'"),
    "no name": (Own({"": 1.0}), ArgumentError, "a name of letters.*got ''"),
    "a number as name": (Own({3: 1.0}), ArgumentError, "a name of letters.*got 3"),
    "no value": (Own({"a": None}), ArgumentError, "'a' of .* a number.*got None"),
    "text": (Own({"a": "1"}), ArgumentError, "'a' of .* a number.*got '1'"),
    "a ragged list": (Own({"a": [[1], [1, 2]]}), ArgumentError, "'a' of .* a number.*got"),
    "complex": (Own({"a": 1j}), ArgumentError, "'a' of .* a number.*got 1j"),
    "not finite": (Own({"a": np.nan}), SelectionError, "not finite.*starts its 'a'"),
    "too large": (Own({"a": 1e300}), SelectionError, "not finite.*starts its 'a'"),
    "failing": (Own({}, fails), ArgumentError, r"failed on a tensor of shape \(3, 4\): boom"),
    "another shape": (
        Own({"a": np.float32(1), "b": np.zeros(2)}, lambda tensor, parts: tensor[:1]),
        SelectionError,
        r"returned shape \(1, 4\), expected \(3, 4\)",
    ),
    "no tensor": (Own({}, lambda tensor, parts: None), ArgumentError, "failed on a tensor"),
    "broadcast": (
        Own({"a": np.ones((2, 3, 4))}, lambda tensor, parts: tensor * parts["a"]),
        SelectionError,
        r"returned shape \(2, 3, 4\)",
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_before_anything_is_changed(name, door):
    modifier, error, message = REFUSED[name]
    pool = product_pool()
    for _ in range(2):
        with pytest.raises(error, match=message):
            door(modifier, pool)
        assert pool.status == 0
    assert len(door(None, pool)) == 2 and pool.status == 12  # the pool is as new


TAKEN = {
    "a float": 1.0,
    "an int": 2,
    "a list": [1, 2],
    "integers": np.ones(4, int),
    "double precision": np.ones((3, 4)),
    "half": np.float16(1),
    "nothing": np.zeros((0,)),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", TAKEN)
def test_numbers_of_every_kind_are_taken(name, door):
    paths = door(Own({"a/b.c-d": TAKEN[name]}), product_pool())
    assert sum("a/b.c-d" in path for path in paths) == 1


def in_a_scope(name):
    with v1.variable_scope(name, "inner"):
        return v1.get_variable("s", [], initializer=v1.ones_initializer())


ONES = v1.ones_initializer()
# Functions that make a variable of their own, from ones, in a TF1 graph; and what it is called.
CREATING = {
    "a number": (lambda: v1.get_variable("s", [], initializer=ONES), "net/s"),
    "of the shape": (lambda: v1.get_variable("s", [3, 4], initializer=ONES), "net/s"),
    "of half precision": (
        lambda: tf.cast(v1.get_variable("s", [4], tf.float16, ONES), "float32"),
        "net/s",
    ),
    "from a value": (lambda: v1.get_variable("s", initializer=np.float32(1)), "net/s"),
    "selected": (lambda: v1.get_variable("w", [4], initializer=ONES), "net/w"),
    "in a scope": (lambda: in_a_scope("inner"), "net/inner/s"),
    "in a scope without a name": (lambda: in_a_scope(None), "net/inner/s"),
    "penalised": (
        lambda: v1.get_variable("s", [], None, ONES, regularizer=tf.nn.l2_loss),
        "net/s",
    ),
    "a tf.Variable": (lambda: tf.Variable(1.0, name="s"), "net/w/s"),
    "an old Variable": (lambda: v1.Variable(lambda: 1.0, name="s"), "net/w/s"),
}


@pytest.mark.parametrize("kind", CREATING)
def test_a_function_may_create_variables_of_its_own_in_a_graph(kind):
    make, name = CREATING[kind]
    pool = product_pool()
    with tf.Graph().as_default() as graph, scope(pool, ".*w", modifier=lambda w: w * make()):
        w = v1.get_variable("w", [3, 4])
        own = v1.trainable_variables()[2:]
        assert names(own) == names()[2:] == [f"{name}:0"] and pool.status == 12
        assert len([op for op in graph.get_operations() if op.type == "VarHandleOp"]) == 3
        penalties = v1.get_collection(v1.GraphKeys.REGULARIZATION_LOSSES)
        assert len(penalties) == (kind == "penalised")
        (gradient,) = tf.gradients(tf.reduce_sum(w**2), own)
        with started() as session:
            w, gradient, factors = session.run([w, gradient, pool.core_variables])
    np.testing.assert_allclose(w, product(factors, 1000)[:12].reshape(3, 4), rtol=1e-5)
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("kind", CREATING)
def test_a_function_that_fails_has_created_nothing(kind):
    make, name = CREATING[kind]
    pool, fails = product_pool(), [True]

    def modifier(w):
        return (w * make())[:2] if fails else w * make()

    with tf.Graph().as_default() as graph, scope(pool, ".*w", modifier=modifier):
        with pytest.raises(SelectionError, match=r"returned shape \(2, 4\), expected \(3, 4\)"):
            v1.get_variable("w", [3, 4])
        assert not names() and not graph.get_operations() and pool.status == 0
        assert not v1.get_collection(v1.GraphKeys.REGULARIZATION_LOSSES)
        fails.clear()
        v1.get_variable("w", [3, 4])
        assert names()[2:] == [f"{name}:0"]  # as if it had never been asked for


def test_a_modifier_may_use_a_tensor_of_the_graph():
    with tf.Graph().as_default() as graph:
        scale = v1.get_variable("mine", [], trainable=False)
        constant = tf.constant(2.0)
        before = len(graph.get_operations())
        with scope(product_pool(), modifier=lambda tensor: tensor * scale * constant):
            w = v1.get_variable("w", [3, 4])
        assert w.graph is graph
        products = [op.name for op in graph.get_operations()[before:] if op.type == "Mul"]
        products = [name for name in products if "Initializer" not in name]
        assert products == ["net/w/mul", "net/w/mul_1"]  # of the weight, and none of a trial


def test_the_initial_value_is_looked_at_once():
    calls = []

    def initial(shape, dtype=None, **others):
        calls.append(shape)
        return np.ones(shape, "float32")

    with tf.Graph().as_default():
        with scope(product_pool(), modifier=modifiers.initial_std_modifier):
            v1.get_variable("w", [3, 4], initializer=initial)
    assert len(calls) == 1
