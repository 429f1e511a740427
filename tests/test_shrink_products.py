"""Each rule against the layer itself: rows times matrices is what it computes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from smh.shrinking.products import MOST, Diagonal, products_of

pytestmark = pytest.mark.backend_agnostic

CASES = {
    "dense": (lambda: layers.Dense(4), (3, 5)),
    "einsum, two summed": (lambda: layers.EinsumDense("abcd,cde->abe", (None, 6)), (5, 3, 2)),
    "einsum, two outputs": (lambda: layers.EinsumDense("abc,cde->abde", (None, 3, 2)), (5, 4)),
    "einsum, dots": (lambda: layers.EinsumDense("...c,ce->...e", (5, 3)), (5, 4)),
    "conv": (lambda: layers.Conv2D(4, 3), (7, 6, 3)),
    "conv, same": (lambda: layers.Conv2D(4, 3, padding="same"), (7, 6, 3)),
    "conv, strides": (lambda: layers.Conv2D(4, (3, 2), strides=2, padding="same"), (7, 6, 3)),
    "conv, valid strides": (lambda: layers.Conv2D(4, 3, strides=(2, 3)), (8, 9, 3)),
    "conv, dilated": (lambda: layers.Conv2D(4, 3, dilation_rate=2, padding="same"), (7, 6, 3)),
    "conv, groups": (lambda: layers.Conv2D(4, 3, groups=2), (7, 6, 6)),
    "conv 1-D, causal": (lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (9, 3)),
    "conv 3-D": (lambda: layers.Conv3D(4, 2, padding="same"), (4, 3, 5, 2)),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3, strides=2), (5, 4, 3)),
    "transposed, same": (
        lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
        (5, 4, 3),
    ),
    "transposed, same, even": (
        lambda: layers.Conv2DTranspose(4, 4, strides=2, padding="same"),
        (5, 4, 3),
    ),
    "transposed, wide": (lambda: layers.Conv2DTranspose(4, 2, strides=3), (5, 4, 3)),
    "transposed 1-D": (lambda: layers.Conv1DTranspose(4, 5, strides=2, padding="same"), (5, 3)),
    "transposed, output padding": (
        lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1),
        (5, 4, 3),
    ),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (7, 6, 3)),
    "depthwise, strides": (
        lambda: layers.DepthwiseConv2D(3, strides=2, padding="same"),
        (7, 6, 3),
    ),
    "depthwise 1-D": (lambda: layers.DepthwiseConv1D(3, padding="same"), (7, 3)),
    "separable": (lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2), (7, 6, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_times_matrices_are_the_layers_output(name):
    make, shape = CASES[name]
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    layer = make()
    expected = ops.convert_to_numpy(layer(x))
    product = products_of(layer)[-1]
    assert product.whole
    matrices = product.to_matrices(ops.convert_to_numpy(product.variable.value))
    assert np.array_equal(
        product.from_matrices(matrices), ops.convert_to_numpy(product.variable.value)
    )
    places = np.arange(product.count(x))
    found = product.rows(x, places) @ matrices  # [groups, rows, outputs]
    found = found.transpose(1, 0, 2).reshape(-1)
    np.testing.assert_allclose(found, expected.reshape(-1), rtol=1e-4, atol=1e-5)
    some = np.array([5, 0, 3])
    np.testing.assert_array_equal(product.rows(x, some), product.rows(x, places)[:, some])


def test_channels_first():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow on CPU has no channels_first convolution")
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 6)).astype("float32")
    layer = layers.Conv2D(4, 3, data_format="channels_first")
    expected = np.moveaxis(ops.convert_to_numpy(layer(x)), 1, -1)
    (product,) = products_of(layer)
    matrices = product.to_matrices(ops.convert_to_numpy(layer.kernel.value))
    found = product.rows(x, np.arange(product.count(x))) @ matrices
    np.testing.assert_allclose(found.reshape(-1), expected.reshape(-1), rtol=1e-4, atol=1e-5)


def test_an_embedding_counts_its_tokens():
    layer = layers.Embedding(5, 3)
    tokens = np.array([[0, 2, 2], [4, 2, 0]])
    layer(tokens)
    (product,) = products_of(layer)
    moments = product.moments(tokens, np.arange(product.count(tokens)))
    assert moments.ravel().tolist() == [2, 0, 3, 0, 1]
    assert product.to_matrices(np.zeros((5, 3))).shape == (5, 1, 3)


def test_a_wide_layer_keeps_only_the_diagonal():
    layer = layers.Dense(2)
    x = np.random.default_rng(0).normal(size=(3, MOST + 1)).astype("float32")
    layer(x)
    (product,) = products_of(layer)
    assert isinstance(product, Diagonal)
    weight = ops.convert_to_numpy(layer.kernel.value)
    assert np.array_equal(product.from_matrices(product.to_matrices(weight)), weight)
    np.testing.assert_allclose(
        product.moments(x, np.arange(3)).ravel(), np.square(x).sum(0), rtol=1e-5
    )


def test_the_moments_are_those_of_the_rows():
    layer = layers.Conv2D(4, 3, groups=2, strides=2)
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 6)).astype("float32")
    layer(x)
    (product,) = products_of(layer)
    rows = product.rows(x, np.arange(product.count(x)))
    expected = np.zeros((2, rows.shape[-1], rows.shape[-1]))
    for group in range(2):
        for row in rows[group]:
            expected[group] += np.outer(row, row)
    found = product.moments(x, np.arange(product.count(x)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell])
def test_a_cell_multiplies_its_input_and_its_state(make):
    cell = make(4)
    cell.build((2, 3))
    first, second = products_of(cell)
    assert first.variable is cell.kernel and first.argument == 0 and not first.whole
    assert second.variable is cell.recurrent_kernel and second.argument == 1
