"""The law of `smh.slim`: a smaller network that gives the same as the masked one."""

import keras
import numpy as np
import pytest
from keras import layers
from slim_models import CASES, Case, randomize

import smh
from smh.errors import ArgumentError, SelectionError
from smh.sizes.multiply_adds import count_multiply_adds
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic
table = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def outputs(model, data):
    flat = keras.tree.flatten(model(data if len(data) > 1 else data[0], training=False))
    return [np.asarray(keras.ops.convert_to_numpy(y)) for y in flat]


def assert_equal(model, small, data):
    for expected, got in zip(outputs(model, data), outputs(small, data), strict=True):
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(got, expected, atol=1e-5 * scale, rtol=0)


@table
@pytest.mark.parametrize("level", [0.3, 0.6])
def test_slim_gives_what_the_masked_model_gives(case, level, tmp_path):
    model, data = case.build(), case.data()
    smh.prune(model, level, structure="channels")
    small, report = smh.slim(model, return_report=True)
    assert_equal(model, small, data)
    assert not virtual_variables(small)
    assert small.count_params() < model.count_params() * (1 - 0.4 * level)
    assert report.numbers == (model.count_params(), small.count_params())
    shrunk = {row.layer for row in report.rows if row.after != row.before}
    # A layer that could lose channels did, but for one whose few are all worth more.
    assert len(shrunk) >= 0.5 * sum(may_lose(model, row.layer) for row in report.rows)
    if level == 0.6:
        trains(small, data)
        small.save(tmp_path / "small.keras")
        assert_equal(small, keras.saving.load_model(tmp_path / "small.keras"), data)


def may_lose(model, path):
    masked = {v.path.rpartition("/")[0] for v in virtual_variables(model)}
    return path in masked


def trains(model, data):
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    model.compile("sgd", "mse", run_eagerly=True)
    targets = keras.tree.map_structure(
        lambda y: np.ones(y.shape, "float32"), model(data if len(data) > 1 else data[0])
    )
    model.train_on_batch(data if len(data) > 1 else data[0], targets)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    assert sum((a != b).any() for a, b in zip(before, after, strict=True)) > len(before) / 2
