"""Outcome: `smh.report` and `smh.materialize`."""

import csv
import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SOME_CASES, TwoLayers, by_name, mlp, pools_of

import smh
from smh.errors import ArgumentError
from smh.virtual_variable import VirtualVariable, own_layers

pytestmark = pytest.mark.backend_agnostic


@pytest.mark.parametrize("case", SOME_CASES)
def test_materialize_predicts_the_same_and_has_no_smh_inside(case):
    model = smh.compress(case.build(), case.fraction)
    x, y = case.data()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    plain = smh.materialize(model)
    np.testing.assert_allclose(
        plain.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    assert type(plain) is type(case.build()) and plain is not model
    assert not {id(v) for v in plain.variables} & {id(v) for v in model.variables}
    for layer in plain._flatten_layers():
        assert not type(layer).__module__.startswith("smh.")
        for value in vars(layer).values():
            assert not getattr(type(value), "__module__", "").startswith("smh.")
            assert not isinstance(value, VirtualVariable)
    dense = case.build()
    assert [tuple(v.shape) for v in plain.weights] == [tuple(v.shape) for v in dense.weights]
    plain.compile("adam", "mse")
    before = model.predict(x, verbose=0)
    plain.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)  # nothing is shared


def test_materialize_keeps_lambda_layers_frozen_layers_and_seeds():
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Lambda(lambda x: x * 2),
            layers.Dense(24),
            layers.Dropout(0.5, seed=3),
            layers.Dense(3),
        ]
    )
    smh.compress(model, 0.5)
    model.layers[1].trainable = False
    plain = smh.materialize(model)
    assert [layer.trainable for layer in plain.layers] == [
        layer.trainable for layer in model.layers
    ]
    x = np.ones((2, 12), "float32")
    dropped = [ops.convert_to_numpy(m(x, training=True)) for m in (plain, model)]
    np.testing.assert_allclose(*dropped, rtol=1e-5, atol=1e-6)


def test_materialize_of_a_model_that_cannot_be_rebuilt_says_what_to_do():
    class NoConfig(TwoLayers):
        def __init__(self, layer_list):
            super().__init__(8)
            self.extra = layer_list

    model = NoConfig([layers.Dense(8)])
    model(np.zeros((1, 12), "float32"))
    smh.compress(model, 0.9)
    with pytest.raises(ArgumentError, match=r"get_config\(\)"):
        smh.materialize(model)


def test_report_rows_add_up():
    model = mlp()
    dense = smh.report(model)
    assert dense.trained_params == dense.original_params == model.count_params() == 387
    assert dense.bytes == dense.original_bytes == 4 * 387
    smh.compress(model, 0.5)
    report = smh.report(model)
    assert report.original_params == 387
    assert report.trained_params == model.count_params()
    assert report.bytes == 4 * model.count_params()
    assert [row.path.split("/")[-1] for row in report.rows] == [
        "kernel",
        "bias",
        "kernel",
        "bias",
        "variable_left",
        "variable_right",
    ]
    kernel = report.rows[0]
    assert (kernel.shape, kernel.stored, kernel.original) == ((12, 24), "pool 0:288", 288)
    assert (kernel.trained, kernel.bytes) == (1, 4)
    (pool,) = pools_of(model)
    assert sum(row.trained for row in report.rows if row.stored == "factor") == pool.core_size


def test_report_says_how_each_weight_is_stored_and_where_it_lies():
    model = smh.compress(mlp(), 0.5)
    model.layers[0].trainable = False
    report = smh.report(model)
    assert [row.kind for row in report.rows] == ["copy", "dense", "pool", "dense", *["factor"] * 2]
    (pool,) = pools_of(model)
    (drawn,) = report.pools
    assert (drawn.entries, drawn.columns) == (pool.pool_size, pool.factors()[1].shape[1])
    assert drawn.slots == (
        (report.rows[0].path, ((0, 288),)),
        (report.rows[2].path, ((288, 360),)),
    )
    dense = smh.prune(mlp(), 0.5)
    assert [row.kind for row in smh.report(dense).rows] == ["pruned", "dense"] * 2
    smh.cluster(dense, bits=2)
    assert [row.kind for row in smh.report(dense).rows] == ["shared", "dense"] * 2
    rounded = smh.quantize_weights(mlp(), bits=4)
    assert [row.kind for row in smh.report(rounded).rows] == ["rounded", "dense"] * 2


def test_report_counts_shared_things_once():
    case = by_name["shared layer"]
    model = smh.compress(case.build(), case.fraction)
    report = smh.report(model)
    assert report.trained_params == model.count_params()
    assert len({row.path for row in report.rows}) == len(report.rows)


def test_report_counts_batch_norm_statistics_as_stored_not_trained():
    model = by_name["conv with batch norm"].build()
    report = smh.report(smh.compress(model, 0.5))
    trained = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert report.trained_params == trained
    assert report.bytes == 4 * sum(math.prod(v.shape) for v in model.weights)


def test_report_prints_a_table_of_80_columns_and_writes_csv(tmp_path):
    model = smh.compress(by_name["attention"].build(), 0.5)
    report = smh.report(model)
    text = str(report)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{report.trained_params:,}" in text and "as a dense model" in text
    report.to_csv(tmp_path / "report.csv")
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert [row["path"] for row in rows] == [row.path for row in report.rows]
    assert sum(int(row["trained"]) for row in rows) == report.trained_params
    assert rows[0]["shape"] == "x".join(map(str, report.rows[0].shape))
    assert list(tmp_path.iterdir()) == [tmp_path / "report.csv"]


def test_report_of_a_model_keeps_the_model():
    model = smh.compress(mlp(), 0.5)
    layers_before = [id(layer) for layer in own_layers(model)]
    smh.report(model)
    assert [id(layer) for layer in own_layers(model)] == layers_before
