"""Outcome: a parametrization of a user's own goes into any built model in one checked call."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import by_name, mlp, numpy_of
from parametrizations import Gated, inputs, network

import smh
from smh.errors import ArgumentError, DeployedModelError
from smh.virtual_variable import Parametrization, VirtualVariable, parametrize, stored_variable

pytestmark = pytest.mark.backend_agnostic


class Offset(Parametrization):
    """A frozen weight plus a slice of a pool."""

    def __init__(self, variable, pool, slot=None):
        self.weight = stored_variable(f"{variable.path}/weight", numpy_of(variable), False)
        self.source, self.slot = pool, slot or pool.allocate(variable.shape)

    @property
    def parts(self):
        return (self.weight,)

    def value(self, piece):
        return self.weight.value + ops.reshape(piece, self.weight.shape)

    def describe(self):
        return "offset"


class Borrowing(layers.Layer):
    """Multiplies by another layer's kernel, which it tracks as well."""

    def __init__(self, lender):
        super().__init__()
        self.lend = lambda: lender.kernel

    def build(self, input_shape):
        self.kernel = self.lend()

    def call(self, x):
        return x @ self.kernel


def kernels(model):
    return [variable for variable in model.trainable_variables if variable.name == "kernel"]


def test_a_model_that_predicted_and_trained_before_computes_its_new_weights():
    model, x = network(), inputs()
    y = np.zeros((len(x), 3), "float32")
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    before = model.predict(x, verbose=0)
    dense = {v.path: numpy_of(v) for v in kernels(model)}

    assert parametrize(model, [(kernel, Gated.of(kernel)) for kernel in kernels(model)]) is model
    plain = smh.materialize(model)
    for variable in kernels(plain):  # a layer that is called twice has its weight once
        np.testing.assert_allclose(numpy_of(variable), 0.5 * dense.pop(variable.path), rtol=1e-6)
    assert not dense
    now = model.predict(x, verbose=0)
    np.testing.assert_allclose(now, plain.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    assert np.abs(now - before).max() > 1e-3
    gates = [v for v in model.trainable_variables if v.name == "gate"]
    model.fit(x, y, verbose=0)  # as compiled before
    assert len(gates) == 4 and all(numpy_of(gate) != 0.5 for gate in gates)


def test_every_layer_that_has_the_variable_gets_it_and_the_pool_is_built():
    first = layers.Dense(12, use_bias=False)
    second = Borrowing(first)
    model = keras.Sequential([keras.Input((12,)), first, second])
    pool = smh.ProductVariablePool(True, pool_size=144, fraction=0.9, seed=0)
    x = np.eye(12, dtype="float32")
    parametrize(model, [(first.kernel, Offset(first.kernel, pool))])
    assert first.kernel is second.kernel and isinstance(second.kernel, VirtualVariable)
    kernel = numpy_of(first.kernel.parametrization.weight) + numpy_of(
        ops.reshape(pool.piece(first.kernel.parametrization.slot), (12, 12))
    )
    np.testing.assert_allclose(numpy_of(model(x)), kernel @ kernel, rtol=1e-4, atol=1e-5)
    assert {v.name for v in model.trainable_variables} == {"variable_left", "variable_right"}


class WrongShape(Gated):
    def value(self, piece):
        return ops.transpose(super().value(piece))


class WrongType(Gated):
    def value(self, piece):
        return ops.cast(super().value(piece), "float16")


class Broken(Gated):
    def value(self, piece):
        raise ZeroDivisionError


def twice(model):
    return [(kernels(model)[0], Gated.of(kernels(model)[0]))] * 2


def itself(model):
    kernel = kernels(model)[0]
    return [(kernel, Gated(kernel, Gated.of(kernel).gate))]


def same_names(model):
    gated = Gated.of(kernels(model)[0])
    return [(kernels(model)[0], Gated(gated.weight, gated.weight))]


def no_slot(model):
    kernel = kernels(model)[0]
    offset = Offset(kernel, smh.ProductVariablePool(True, 10_000, 0.5, seed=0))
    offset.slot = None
    return [(kernel, offset)]


def last(kind):
    """All weights but the last one would do."""
    return lambda model: [
        (v, (kind if v is kernels(model)[-1] else Gated).of(v)) for v in kernels(model)
    ]


MISTAKES = {
    "none": (lambda model: [], "pairs must be"),
    "no pair": (lambda model: kernels(model), "pairs must be"),
    "another model's": (lambda model: [(kernels(mlp())[0], "x")], "is no trainable variable of"),
    "no parametrization": (lambda model: [(kernels(model)[0], "x")], "needs a Parametrization"),
    "twice": (twice, "A variable is in two"),
    "itself": (itself, "cannot be a part of what replaces it"),
    "same names": (same_names, "need different names"),
    "no slot": (no_slot, "has a source and no slot"),
    "shape": (last(WrongShape), r"must be of shape \(\d+, 3\) and dtype float32, got \(3, \d+\)"),
    "dtype": (last(WrongType), "got .* and float16 from WrongType.value"),
    "broken": (last(Broken), None),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_after_a_mistake_the_model_is_as_it_was(name):
    model, (make, message) = network(), MISTAKES[name]
    pairs, before = make(model), [numpy_of(v) for v in model.variables]
    with pytest.raises(ZeroDivisionError if name == "broken" else ArgumentError, match=message):
        parametrize(model, pairs)
    assert not any(isinstance(v, VirtualVariable) for v in kernels(model))
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, numpy_of(variable))
    assert model.predict(inputs(), verbose=0).shape == (16, 3)


def test_a_computed_weight_and_a_deployed_model_are_refused():
    model = by_name["mlp"].build() if "mlp" in by_name else mlp()
    kernel = kernels(model)[0]
    gated = Gated.of(kernel)
    smh.compress(model, 0.5)
    with pytest.raises(ArgumentError, match="is computed already, from pool"):
        parametrize(model, [(kernel, gated)])
    smh.deploy(model, "cached")
    with pytest.raises(DeployedModelError, match="before its weights"):
        parametrize(model, [(kernel, gated)])
