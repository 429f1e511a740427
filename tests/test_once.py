"""Law: computed once per outermost call, by one product and one split."""

import keras
import numpy as np
import pytest
from keras import layers
from models import mlp, pools_of

import smh
from smh.virtual_variable import virtual_variables

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TF graphs")


def deep(depth=50):
    x = inputs = keras.Input((9,))
    for _ in range(depth):
        x = layers.Dense(9, activation="relu")(x)
    return keras.Model(inputs, x)


def all_ops(graph):
    """Operations of a function's graph and of all functions (loop bodies) it calls."""
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes.extend(function.node_def)
    return nodes


def traced(model, x):
    return tf.function(lambda v: model(v, training=True)).get_concrete_function(
        tf.TensorSpec((None, *x.shape[1:]), x.dtype)
    )


def train_graph(model, x):
    """The graph of forward and backward pass together."""

    @tf.function
    def gradients(v):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(v, training=True))
        return tape.gradient(loss, model.trainable_variables)

    return gradients.get_concrete_function(tf.TensorSpec((None, *x.shape[1:]), x.dtype)).graph


def products(graph, pool):
    """Nodes that multiply rows of `L` by `R [m, n]`, told apart from the layers' own products."""
    right = tuple(pool.core_variables[1].shape)
    return [
        op
        for op in graph.get_operations()
        if op.type == "MatMul" and tuple(op.inputs[1].shape) == right
    ]


def count(nodes, kind):
    return sum(node.op == kind for node in nodes)


def test_fifty_layers_one_product_one_split():
    model, x = deep(), np.zeros((2, 9), "float32")
    dense_nodes = all_ops(traced(model, x).graph)
    smh.compress(model, 0.3)
    graph = traced(model, x).graph
    nodes = all_ops(graph)
    assert count(dense_nodes, "MatMul") == 50
    assert count(nodes, "MatMul") == 51
    assert len(products(graph, pools_of(model)[0])) == 1
    assert count(nodes, "SplitV") == 1


def test_the_gradient_is_one_concatenation_and_two_products():
    model, x = deep(), np.zeros((2, 9), "float32")
    dense = all_ops(train_graph(model, x))
    smh.compress(model, 0.3)
    graph = train_graph(model, x)
    nodes = all_ops(graph)
    assert count(nodes, "MatMul") == count(dense, "MatMul") + 3  # M; dL, dR
    size = pools_of(model)[0].pool_size
    whole_pool = [
        op.type
        for op in graph.get_operations()
        for out in op.outputs
        if out.shape.rank == 1 and out.shape[0] == size
    ]
    assert sorted(whole_pool) == ["ConcatV2", "Reshape"]  # the split's gradient; M flattened
    assert not any(op in ("Pad", "StridedSliceGrad") for op in (n.op for n in nodes))


@pytest.mark.parametrize("make", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_recurrent_layer_computes_its_kernels_outside_the_loop(make):
    rnn = keras.Sequential([keras.Input((20, 6)), make(10), layers.Dense(3)])
    x = np.zeros((2, 20, 6), "float32")
    dense = count(all_ops(traced(rnn, x).graph), "MatMul")
    smh.compress(rnn, 0.5)
    graph = traced(rnn, x).graph
    # One more product in all graphs together, and it is at the top: none is in the loop's body.
    assert len(products(graph, pools_of(rnn)[0])) == 1
    assert count(all_ops(graph), "MatMul") == dense + 1
    assert count(all_ops(graph), "SplitV") == 1


def test_a_model_called_three_times_in_one_call_computes_once():
    twin = smh.compress(mlp(), 0.5)
    inputs = [keras.Input((12,)) for _ in range(3)]
    siamese = keras.Model(inputs, layers.Concatenate()([twin(i) for i in inputs]))
    spec = tf.TensorSpec((None, 12), "float32")
    function = tf.function(lambda a, b, c: siamese([a, b, c]))
    graph = function.get_concrete_function(spec, spec, spec).graph
    assert len(products(graph, pools_of(twin)[0])) == 1


def test_the_getter_door_has_one_product_too():
    pool = smh.ProductVariablePool(True, pool_size=5000, fraction=0.3)
    factory = smh.VariableFactory(pool, "kernel")
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        model = deep()
    graph = traced(model, np.zeros((2, 9), "float32")).graph
    assert len(products(graph, pool)) == 1
    assert count(all_ops(graph), "SplitV") == 1


def test_nothing_is_kept_between_two_calls():
    model = smh.compress(mlp(), 0.5)
    computed = []
    pool = pools_of(model)[0]
    entries = pool.entries
    pool.__dict__["entries"] = lambda *args: computed.append(1) or entries(*args)
    x = np.zeros((2, 12), "float32")
    for calls in (1, 2, 3):
        model(x)
        assert len(computed) == calls
    assert len(virtual_variables(model)) == 2


def test_one_layer_computes_only_the_rows_it_needs():
    model = smh.compress(mlp(width=200), 0.3)
    pool = pools_of(model)[0]
    left, right = pool.core_variables
    asked = []
    entries = pool.entries
    pool.__dict__["entries"] = lambda f, a, b: asked.append((a, b)) or entries(f, a, b)
    model.layers[1](np.zeros((2, 200), "float32"))
    ((start, stop),) = asked
    cols = right.shape[1]
    assert start == 2400 // cols * cols and stop == -(-3000 // cols) * cols
    assert stop - start < 0.4 * left.shape[0] * cols
