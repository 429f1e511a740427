"""The examples in the docstrings run, and print what they say where they say it."""

import contextlib
import doctest
import importlib
import io
from types import SimpleNamespace

import keras
import pytest
from models import mlp

import smh

MODULES = [
    "coding",
    "container",
    "data_parallel",
    "datasets.augmentation",
    "datasets.loading",
    "datasets.pipeline",
    "datasets.scikit_digits",
    "doors.compression",
    "doors.kmeans",
    "doors.materialization",
    "plots",
    "pools.base",
    "progress",
    "recipes.distillation",
    "recipes.losses",
    "recipes.penalty",
    "recipes.rates",
    "recipes.recipe",
    "report_page",
    "tables.markup",
    "shrinking.searching.by_drop",
    "shrinking.searching.by_size",
    "sensitivity.picture",
    "sensitivity.result",
    "sensitivity.scan",
    "sizes.multiply_adds",
    "sizes.planning",
    "sizes.size_report",
    "tables.text",
    "training.config",
    "variable_factory",
    "virtual_variable.parametrizing",
    "zoo.alexnets",
    "zoo.building",
    "zoo.lenet",
    "zoo.vgg",
]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shows TensorFlow's shapes")
@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"smh.{name}")
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert found
    for test in found:
        rows = [
            SimpleNamespace(bytes=size, accuracy=0.9, fraction=fraction)
            for size, fraction in ((1000, None), (100, 0.1))
        ]
        measured = [
            smh.sensitivity.ScanRow(f"sequential/{path}/kernel", 0.1 * i, size, 32, {"loss": loss})
            for path, size, loss in (("dense", 3000, 0.5), ("dense_1", 1000, 0.1))
            for i in (5, 9)
        ]
        names = vars(smh.variable_factory) | {
            "accuracy": lambda model: 0.9,
            "result": smh.ScanResult("m", "sparsity", "loss", False, {"loss": 0}, measured, 4),
            "keras": keras,
            "smh": smh,
            "tf": tf,
            "model": mlp(width=300),
            "rows": rows,
            "ProductVariablePool": smh.ProductVariablePool,
        }
        for example in test.examples:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(example.source, test.name, "single"), names)
            if example.want:
                assert printed.getvalue() == example.want, test.name
