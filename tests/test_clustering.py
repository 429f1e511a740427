"""Outcome: `smh.cluster`, `smh.Quantizer`. The laws run over it as well."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SOME_CASES, mlp, numpy_of, pools_of

import smh
from smh.doors.kmeans import INITS
from smh.errors import ArgumentError, DeployedModelError, SelectionError
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.masked import Masked
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic


def data(count=64):
    x = np.random.default_rng(0).normal(size=(count, 12)).astype("float32")
    return x, x[:, :3] ** 2


def distinct(variable):
    return np.unique(numpy_of(variable.value).astype("float32")).size


@pytest.mark.parametrize("case", SOME_CASES)
def test_every_kind_of_model_shares_values_and_trains_on(case):
    model = case.build()
    x, y = case.data()
    model.compile("adam", "mse")
    smh.cluster(model, 2)
    before = [numpy_of(v.value).copy() for v in virtual_variables(model)]
    model.fit(x, y, verbose=0)
    for virtual, was in zip(virtual_variables(model), before, strict=True):
        assert distinct(virtual) <= 4
        assert (numpy_of(virtual.value) != was).mean() > 0.9
    plain = smh.materialize(model)
    np.testing.assert_allclose(
        plain.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("init", INITS)
def test_each_number_takes_the_nearest_value(init):
    model = mlp()
    before = numpy_of(model.layers[0].kernel.value).copy()
    assert smh.cluster(model, 3, init=init, seed=5) is model
    kernel = model.layers[0].kernel
    codebook = numpy_of(kernel.parametrization.codebook.value)
    assert codebook.shape == (8,) and (np.diff(codebook) > 0).all()
    nearest = np.abs(before[..., None] - codebook).min(axis=-1)
    np.testing.assert_allclose(np.abs(before - numpy_of(kernel.value)), nearest, atol=1e-6)
    for value in codebook:  # each is the mean of its members
        members = before[numpy_of(kernel.value) == value]
        assert members.mean() == pytest.approx(value, abs=1e-5)


def test_the_gradient_of_a_value_is_the_sum_of_its_members():
    model = mlp()
    x, y = data()
    plain = keras.models.clone_model(smh.materialize(smh.cluster(model, 2)))
    plain.set_weights(smh.materialize(model).get_weights())
    rate = 1e-2
    kernel = model.layers[0].kernel
    index = numpy_of(kernel.parametrization.index.value)
    before = numpy_of(kernel.parametrization.codebook.value).copy()
    dense = numpy_of(plain.layers[0].kernel.value).copy()
    for m in (model, plain):
        m.compile(keras.optimizers.SGD(rate), "mse")
        m.train_on_batch(x, y)
    steps = numpy_of(plain.layers[0].kernel.value) - dense
    expected = [steps[index == i].sum() for i in range(4)]
    moved = numpy_of(kernel.parametrization.codebook.value) - before
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_zeros_stay_zero_and_take_no_value():
    model = smh.prune(mlp(), 0.75)
    zero = [numpy_of(v.value) == 0 for v in virtual_variables(model)]
    smh.cluster(model, 2)
    model.compile("adam", "mse")
    model.fit(*data(), epochs=3, verbose=0)
    for virtual, was in zip(virtual_variables(model), zero, strict=True):
        assert virtual.parametrization.pruned
        assert virtual.parametrization.codebook.shape == (4,)
        np.testing.assert_array_equal(numpy_of(virtual.value) == 0, was)
        assert distinct(virtual) == 5


def test_again_and_back():
    model = smh.cluster(smh.prune(mlp(), 0.5), 4)
    model.compile("adam", "mse")
    model.fit(*data(), verbose=0)
    values = [numpy_of(v.value).copy() for v in virtual_variables(model)]
    smh.cluster(model, 2)
    assert all(v.parametrization.codebook.shape == (4,) for v in virtual_variables(model))
    model.fit(*data(), verbose=0)
    again = [numpy_of(v.value).copy() for v in virtual_variables(model)]
    for was, now in zip(values, again, strict=True):
        np.testing.assert_array_equal(was == 0, now == 0)
    smh.cluster(model, None)
    assert all(isinstance(v.parametrization, Masked) for v in virtual_variables(model))
    for was, virtual in zip(again, virtual_variables(model), strict=True):
        np.testing.assert_array_equal(was, numpy_of(virtual.value))
    model.fit(*data(), verbose=0)
    assert distinct(model.layers[0].kernel) > 50
    smh.prune(model, 0.8)
    smh.cluster(model, 2)
    assert distinct(model.layers[0].kernel) == 5
    assert len(model.trainable_variables) == 4  # two codebooks, two biases


def test_quantizer_by_path():
    model = mlp()
    paths = [layer.kernel.path for layer in model.layers]
    smh.Quantizer(options=[(paths[0], 3), (paths[1], 1)]).quantize(model)
    assert [distinct(layer.kernel) for layer in model.layers] == [8, 2]


def test_of_a_compressed_model_the_factors_share_values():
    model = smh.compress(mlp(), 0.5, seed=1)
    smh.cluster(model, 4)
    model.compile("adam", "mse")
    model.fit(*data(), verbose=0)
    (pool,) = pools_of(model)
    for factor in pool.core_variables:
        assert isinstance(factor.parametrization, Clustered) and distinct(factor) == 16
    with pytest.raises(ArgumentError, match="shares its values"):
        smh.quantize_factors(model, 4)
    with pytest.raises(ArgumentError, match="quantize_factors"):
        smh.cluster(smh.quantize_factors(smh.compress(mlp(), 0.5), 4), 4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16"])
def test_other_dtypes(dtype):
    layer = layers.Dense(20, dtype=dtype)
    model = keras.Sequential([keras.Input((12,)), layer])
    kind = layer.kernel._dtype
    smh.cluster(model, 2)
    assert distinct(layer.kernel) == 4 and layer.kernel._dtype == kind
    assert np.isfinite(numpy_of(model(data()[0])).astype("float32")).all()


def test_few_values_zero_filters_and_one_element():
    one, three = layers.Dense(1, use_bias=False), layers.Dense(6)
    zero = layers.Dense(4)
    model = keras.Sequential([keras.Input((1,)), one, three, zero])
    three.kernel.assign(np.array([[1, 2, 2, 3, 3, 3]], "float32"))
    zero.kernel.assign(np.zeros((6, 4), "float32"))
    smh.cluster(model, 4)
    assert one.kernel.parametrization.codebook.shape == (1,)
    np.testing.assert_array_equal(numpy_of(three.kernel.value), [[1, 2, 2, 3, 3, 3]])
    np.testing.assert_array_equal(numpy_of(zero.kernel.value), np.zeros((6, 4)))
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
    model.layers[0].kernel.assign(np.eye(3, 4))
    smh.prune(model, 0.99)  # nothing is left
    smh.cluster(model, 4)
    np.testing.assert_array_equal(numpy_of(model.layers[0].kernel.value), np.zeros((3, 4)))


@pytest.mark.parametrize("coder", ["range", "huffman"])
@pytest.mark.parametrize("bits", [1, 4, 9])
def test_the_file_holds_symbols_within_three_percent_of_their_entropy(tmp_path, bits, coder):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((300,)), layers.Dense(500)])
    smh.cluster(smh.prune(model, 0.9), bits, init="density")
    kernel = model.layers[0].kernel
    index = numpy_of(kernel.parametrization.index.value).ravel()
    shares = np.bincount(index) / index.size
    shares = shares[shares > 0]
    entropy = -(shares * np.log2(shares)).sum() * index.size / 8
    smh.save(model, tmp_path / "m.smh", coder=coder)
    (section,) = [p for p in smh.inspect(tmp_path / "m.smh").parts if p.numbers == index.size]
    limit = 1.03 if coder == "range" else 1.25  # Huffman: whole bits, and a bit per place at least
    table = (2**bits + 1) * 4
    assert entropy * 0.99 < section.bytes < limit * entropy + 64 + table
    again = smh.load(tmp_path / "m.smh")
    np.testing.assert_array_equal(numpy_of(again.layers[0].kernel.value), numpy_of(kernel.value))
    weights = smh.runtime.load(tmp_path / "m.smh")
    np.testing.assert_array_equal(weights[kernel.path], numpy_of(kernel.value))


WRONG = {
    "zero": (dict(bits=0), ArgumentError, "1 to 12"),
    "float": (dict(bits=2.5), ArgumentError, "1 to 12"),
    "many": (dict(bits=13), ArgumentError, "1 to 12"),
    "init": (dict(init="best"), ArgumentError, "linear"),
    "no fit": (dict(bits=[("nowhere", 2)]), ArgumentError, "fits no weight"),
    "nothing": (dict(apply_to="nowhere"), SelectionError, "There are:"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_change_nothing(name):
    arguments, error, match = WRONG[name]
    model = mlp()
    with pytest.raises(error, match=match):
        smh.cluster(model, **arguments)
    assert not virtual_variables(model)


def test_models_that_cannot_share_values():
    with pytest.raises(DeployedModelError):
        smh.cluster(smh.deploy(smh.compress(mlp(), 0.5), "stream"), 2)
    model = mlp()
    kernel = model.layers[1].kernel
    kernel.assign(ops.full(kernel.shape, np.inf))
    with pytest.raises(SelectionError, match="not finite"):
        smh.cluster(model, 2)
    assert not virtual_variables(model)
    for options in ([], [("a", 2, 1)], ["ab"], [("a", 20)]):
        with pytest.raises(ArgumentError):
            smh.Quantizer(options)


def test_a_value_kept_at_zero_stays_there_and_others_are_trained():
    model = smh.cluster(mlp(), 3, zero=True)
    kernel = model.layers[0].kernel
    zeros = numpy_of(kernel.value) == 0
    assert zeros.any() and np.unique(numpy_of(kernel.value)).size == 8
    before = numpy_of(kernel.value).copy()
    model.compile("sgd", "mse")
    model.fit(*data(), verbose=0)
    after = numpy_of(kernel.value)
    assert (after[zeros] == 0).all() and (after[~zeros] != before[~zeros]).any()
    one_bit = smh.cluster(mlp(), 1, zero=True).layers[0].kernel
    assert np.unique(numpy_of(one_bit.value)).size == 2 and (numpy_of(one_bit.value) != 0).all()
