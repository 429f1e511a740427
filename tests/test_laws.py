"""The laws that every parametrization obeys, over the table in `parametrizations.py`."""

import math

import keras
import numpy as np
import pytest
from models import numpy_of
from parametrizations import PARAMETRIZATIONS, SOME_PARAMETRIZATIONS, inputs, network

import smh
from smh.virtual_variable import VirtualVariable, virtual_variables

pytestmark = [
    pytest.mark.backend_agnostic,
    pytest.mark.parametrize("name", SOME_PARAMETRIZATIONS),
]


def parts_of(model):
    """Every stored variable that some virtual variable is computed from, each once."""
    parts = {}

    def add(variable):
        if isinstance(variable, VirtualVariable):
            source = variable.parametrization.source
            for part in (
                *variable.parametrization.parts,
                *(source.core_variables if source else ()),
            ):
                add(part)
        else:
            parts[id(variable)] = variable

    for virtual in virtual_variables(model):
        add(virtual)
    return list(parts.values())


def trained_parts(model):
    """Those of them that are trained: no mask, no index."""
    return [part for part in parts_of(model) if part.trainable]


def test_same_shape_and_dtype_as_the_variable_replaced(name):
    before = [(v.path, tuple(v.shape), v.dtype) for v in network().trainable_variables]
    keras.utils.clear_session()
    model = PARAMETRIZATIONS[name](network(), seed=1)
    known = {path: (shape, dtype) for path, shape, dtype in before}
    virtuals = virtual_variables(model)
    assert len(virtuals) == 4
    for virtual in virtuals:
        value = virtual.value
        shape, dtype = known[virtual.path]
        assert tuple(value.shape) == tuple(virtual.shape) == shape
        assert keras.backend.standardize_dtype(value.dtype) == virtual.dtype == dtype


def test_training_reaches_every_trained_part(name):
    model = PARAMETRIZATIONS[name](network(), seed=1)
    parts = trained_parts(model)
    tracked = [id(v) for v in model.trainable_variables]
    assert all(tracked.count(id(part)) == 1 for part in parts)
    before = [numpy_of(part) for part in parts]
    # Steps of a bounded size: backends draw other factors from one seed, some of them steep.
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    x = inputs()
    y = np.stack([x.mean((1, 2, 3)), x[:, 0, 0, 0], x[:, 1, 1, 1]], axis=1)
    losses = model.fit(x, y, batch_size=len(x), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for part, old in zip(parts, before, strict=True):
        assert np.any(numpy_of(part) != old), part.path


def test_changing_a_trained_part_changes_the_output_at_once(name):
    model, x = PARAMETRIZATIONS[name](network(), seed=1), inputs()
    model.predict(x, verbose=0)
    for part in trained_parts(model):
        before = numpy_of(model(x)), model.predict(x, verbose=0)
        value = numpy_of(part)
        part.assign(-1.5 * value if value.any() else value + 0.5)
        assert np.abs(numpy_of(model(x)) - before[0]).max() > 1e-6, part.path
        assert np.abs(model.predict(x, verbose=0) - before[1]).max() > 1e-6, part.path


def test_nothing_is_counted_twice(name):
    model = PARAMETRIZATIONS[name](network(), seed=1)
    ids = [id(v) for v in model.variables]
    assert len(ids) == len(set(ids))
    dense = sum(math.prod(v.shape) for v in model.variables if v.name == "bias")
    parts = sum(math.prod(part.shape) for part in parts_of(model))
    assert model.count_params() == dense + parts
    trained = dense + sum(math.prod(part.shape) for part in trained_parts(model))
    pruned = {v.path: v for v in parts_of(model) if v.name == "mask"}
    zeros = sum(np.count_nonzero(~numpy_of(mask)) for mask in pruned.values())
    assert smh.report(model).trained_params == trained - zeros


def test_materialize_gives_the_same_predictions(name):
    model, x = PARAMETRIZATIONS[name](network(), seed=1), inputs()
    expected = model.predict(x, verbose=0)
    atol = 1e-4 * np.abs(expected).max()  # unscaled slices make large, cancelling activations
    np.testing.assert_allclose(smh.materialize(model).predict(x, verbose=0), expected, atol=atol)
