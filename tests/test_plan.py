"""Outcome: `smh.plan` says what `smh.compress` would give, and changes and computes nothing."""

import csv

import keras
import numpy as np
import pytest
from keras import layers
from models import SOME_CASES, TwoLayers, by_name, mlp, numpy_of, pools_of

import smh
from smh.errors import ArgumentError, SelectionError, UnbuiltModelError
from smh.sizes.multiply_adds import count_multiply_adds

pytestmark = pytest.mark.backend_agnostic


@pytest.mark.parametrize("case", SOME_CASES)
def test_it_foretells_what_compress_gives(case):
    model = case.build()
    planned = smh.plan(model, [case.fraction], input_shape=case.shape)
    (row,) = planned.rows
    assert planned.bytes == smh.report(model).bytes
    assert planned.trained == smh.report(model).trained_params
    assert planned.selected == sum(v.size for v in map(numpy_of, matrices(model)))

    sizes = smh.report(smh.compress(model, case.fraction, seed=0))
    assert (row.trained, row.bytes) == (sizes.trained_params, sizes.bytes)
    for bits, foretold in ((8, row.bytes_8_bits), (4, row.bytes_4_bits)):
        smh.quantize_factors(model, bits, granularity="tensor")
        assert smh.report(model).packed - foretold == 2 * 4  # the two factors' scales


def matrices(model):
    return [v for v in model.trainable_variables if len(v.shape) > 1 and v.name != "bias"]


def test_nothing_is_changed():
    model = by_name["attention"].build()
    x, _ = by_name["attention"].data()
    before = [numpy_of(v) for v in model.variables]
    state = attributes(model)
    smh.plan(model)
    assert attributes(model) == state
    for a, b in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(a, numpy_of(b))
    assert model.predict(x, verbose=0).shape == (32, 3)


def attributes(model):
    """All attributes of all layers, but for Keras' mark of what has been called by anyone."""
    return [
        {k: list(v) if isinstance(v, list) else v for k, v in vars(x).items() if k != "_called"}
        for x in model._flatten_layers()
    ]


def test_the_smallest_fraction_works_and_no_smaller_one():
    model = mlp(100)
    smallest = smh.plan(model).smallest
    assert [row.fraction for row in smh.plan(model).rows] == [
        f for f in (0.5, 0.25, 0.1, 0.05, 0.02, 0.01) if f >= smallest
    ]
    assert smh.plan(model, [smallest]).rows[0].replicas == 1
    for call in (smh.compress, lambda m, f: smh.plan(m, [f])):
        with pytest.raises(ArgumentError, match="is too small: it leaves the pool 0 replicas"):
            call(model, smallest * 0.999)
    smh.compress(model, smallest)


LAYERS = {
    "dense": (lambda: layers.Dense(7), (5, 4), 5 * 4 * 7),
    "conv": (lambda: layers.Conv2D(6, 3, strides=2, padding="same"), (8, 8, 3), 16 * 9 * 3 * 6),
    "grouped": (lambda: layers.Conv1D(6, 3, groups=2), (8, 4), 6 * 3 * 2 * 6),
    "transposed": (lambda: layers.Conv2DTranspose(5, 3), (4, 4, 2), 16 * 9 * 2 * 5),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 3), 16 * 9 * 6),
    "separable": (lambda: layers.SeparableConv2D(8, 3), (6, 6, 3), 16 * (9 * 3 + 3 * 8)),
    "einsum": (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (5, 4), 5 * 4 * 6),
    "einsum with dots": (lambda: layers.EinsumDense("...x,xy->...y", 3), (5, 4), 5 * 4 * 3),
    "lstm": (lambda: layers.LSTM(10), (5, 6), 5 * (6 * 40 + 10 * 40)),
    "gru, two ways": (
        lambda: layers.Bidirectional(layers.GRU(10)),
        (5, 6),
        2 * 5 * (6 * 30 + 10 * 30),
    ),
    "stacked cells": (
        lambda: layers.RNN([layers.SimpleRNNCell(4), layers.LSTMCell(3)]),
        (5, 6),
        5 * (6 * 4 + 4 * 4 + 4 * 12 + 3 * 12),
    ),
    "each step": (lambda: layers.TimeDistributed(layers.Dense(7)), (5, 4), 5 * 4 * 7),
    "embedding": (lambda: layers.Embedding(50, 12), (7,), 0),
    "nested": (
        lambda: keras.Sequential([layers.Dense(7), layers.Dense(2)]),
        (5,),
        5 * 7 + 7 * 2,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_multiply_adds_of_a_layer(name):
    make, shape, expected = LAYERS[name]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make()(inputs))
    cost = count_multiply_adds(model)
    assert (cost.multiply_adds, cost.not_counted) == (expected, ())


def test_multiply_adds_of_attention():
    queries, values = keras.Input((6, 12)), keras.Input((9, 12))
    size = 8 if keras.backend.backend() == "jax" else 5  # Keras on JAX fails where they differ
    attention = layers.MultiHeadAttention(2, 8, value_dim=size)
    model = keras.Model([queries, values], attention(queries, values))
    projections = 12 * 2 * (6 * 8 + 9 * 8 + 9 * size + 6 * size)
    assert count_multiply_adds(model).multiply_adds == projections + 2 * 6 * 9 * (8 + size)
    model = keras.Model([queries, values], layers.Attention()([queries, values]))
    assert count_multiply_adds(model).multiply_adds == 6 * 9 * 24


def test_a_layer_that_is_called_twice_counts_twice():
    model = by_name["shared layer"].build()
    assert count_multiply_adds(model).multiply_adds == 2 * 12 * 12 + 12 * 3


def test_a_compressed_model_takes_what_the_dense_one_does():
    model = by_name["conv"].build()
    before = count_multiply_adds(model)
    assert count_multiply_adds(smh.compress(model, 0.5)) == before
    with pytest.raises(SelectionError, match="its weights are computed already"):
        smh.plan(model)


def test_what_is_not_counted_is_named():
    planned = smh.plan(by_name["custom layer"].build())
    assert planned.multiply_adds == 16 * 3
    assert planned.rows[0].product_in_examples is None  # a share of a part says nothing
    assert planned.remark == "Not counted in it: own_weights."
    assert "Not counted in it: own_weights." in str(planned)


def test_a_free_axis_or_a_subclassed_model_needs_a_shape():
    inputs = keras.Input((None, 6))
    model = keras.Model(inputs, layers.LSTM(10)(inputs))
    planned = smh.plan(model, [0.5])
    assert planned.multiply_adds is None and planned.rows[0].product_in_examples is None
    assert "Pass input_shape=" in planned.remark and "?" in str(planned)
    assert smh.plan(model, input_shape=(5, 6)).multiply_adds == 5 * (6 * 40 + 10 * 40)
    subclassed = TwoLayers()
    subclassed(np.zeros((2, 12), "float32"))
    assert smh.plan(subclassed, input_shape=(12,)).multiply_adds == 12 * 24 + 24 * 3
    with pytest.raises(ArgumentError, match="cannot be called on symbolic tensors"):
        smh.plan(subclassed, input_shape=(13,))
    with pytest.raises(ArgumentError, match="has 1 inputs, got 2 shapes"):
        smh.plan(model, input_shape=[(5, 6), (5, 6)])


def test_the_product_is_set_against_the_models_own_cost():
    planned = smh.plan(by_name["conv"].build(), [0.5])
    (row,) = planned.rows
    assert planned.multiply_adds == 36 * 27 * 8 + 36 * 8 * 3
    left, right = pools_of(smh.compress(by_name["conv"].build(), 0.5))[0].factor_shapes()
    assert row.product == left[0] * left[1] * right[1]
    assert row.product_in_examples == row.product / planned.multiply_adds


def test_the_table_fits_80_columns_and_the_csv_has_every_number(tmp_path):
    model = smh.zoo.resnet_18()
    planned = smh.plan(model)
    lines = str(planned).splitlines()
    assert max(map(len, lines)) <= 80
    assert "smallest fraction" in str(planned) and "G" in lines[4]
    planned.to_csv(tmp_path / "plan.csv")
    with open(tmp_path / "plan.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trained"]) for row in rows] == [row.trained for row in planned.rows]
    assert [float(row["fraction"]) for row in rows] == [row.fraction for row in planned.rows]


def test_resnet_18_takes_what_is_published():
    # He et al. say 1.8e9 for 224 x 224 images with a stem of stride 4; on 32 x 32 images without
    # such a stem it is 0.56e9, the figure that is commonly given.
    assert count_multiply_adds(smh.zoo.resnet_18()).multiply_adds == pytest.approx(0.56e9, rel=0.01)


@pytest.mark.parametrize(
    "fractions, text", [([0], "above 0"), ([1.5], "at most 1"), (["a"], "'a'")]
)
def test_wrong_fractions_are_refused(fractions, text):
    with pytest.raises(ArgumentError, match=text):
        smh.plan(mlp(), fractions)


def test_an_unbuilt_model_and_no_model_are_refused():
    with pytest.raises(UnbuiltModelError, match="is not built, so it has no weights yet"):
        smh.plan(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ArgumentError, match="must be a Keras 3 model or layer, got str"):
        smh.plan("model.keras")
