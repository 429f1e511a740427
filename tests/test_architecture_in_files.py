"""Outcome: a file leaves out of an architecture what follows, and gives it back exactly."""

import json

import keras
import numpy as np
import pytest
from models import CASES

import smh
from smh.artifact import saving
from smh.artifact.layout.architecture import brief_architecture, whole_architecture
from smh.errors import ArtifactError
from smh.virtual_variable.inside_keras.rebuilding import dense_config

pytestmark = pytest.mark.backend_agnostic


def text(value):
    return json.dumps(value, sort_keys=True)


def embedded():
    tokens = keras.Input((7,), dtype="int32")
    x = keras.layers.Embedding(9, 4)(tokens)
    x = keras.layers.Conv1D(4, 3, padding="same")(x) + x
    x = keras.layers.Concatenate()([x, x])
    return keras.Model(tokens, keras.layers.GRU(3)(x, training=False))


def nested():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.ReLU()])
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4)
    return keras.Model(inputs, shared(inner(shared(inputs))))


def in_half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return keras.applications.MobileNet((32, 32, 3), weights=None)
    finally:
        keras.config.set_dtype_policy(before)


MODELS = {
    "resnet_8": smh.zoo.resnet_8,
    "resnet_20": smh.zoo.resnet_20,
    "lenet_5": smh.zoo.lenet_5,
    "mobilenet": lambda: keras.applications.MobileNetV2((32, 32, 3), weights=None),
    "densenet": lambda: keras.applications.DenseNet121(input_shape=(32, 32, 3), weights=None),
    "half precision": in_half_precision,
    "embedded": embedded,
    "nested": nested,
    **{case.name: case.build for case in CASES},
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_left_out_comes_back(name):
    config = dense_config(MODELS[name]())
    before = text(config)
    brief = brief_architecture(config)
    assert text(config) == before  # nothing is changed in place
    assert len(text(brief)) <= len(before) + len('{"architecture": }')
    read = json.loads(text(brief))  # as a file's JSON is: by keys in order
    assert text(whole_architecture(read)) == before


@pytest.mark.parametrize("name", ["resnet_20", "mobilenet", "densenet"])
def test_functional_models_take_a_fifth_less(name):
    config = dense_config(MODELS[name]())
    assert list(brief_architecture(config)) == ["network"]
    assert len(text(brief_architecture(config))) < 0.8 * len(text(config))


def test_files_of_before_and_of_now_load_alike(tmp_path, monkeypatch):
    model, x = embedded(), np.arange(14).reshape(2, 7) % 9
    expected = model.predict(x, verbose=0)
    now, before = tmp_path / "now.smh", tmp_path / "before.smh"
    smh.save(model, now)
    monkeypatch.setattr(saving, "brief_architecture", lambda config: {"architecture": config})
    smh.save(model, before)
    assert now.stat().st_size < before.stat().st_size
    for path in (now, before):
        np.testing.assert_array_equal(smh.load(path).predict(x, verbose=0), expected)


ODD = {
    "keys of ours": {"layers": [{"class_name": "A", "config": {}, "lacks": [1], "shape": [2]}]},
    "a tensor that looks like ours": {
        "layers": [
            {"class_name": "A", "config": {}, "inbound_nodes": [{"args": [{"from": "b"}]}]},
            {"class_name": "A", "config": {}, "inbound_nodes": []},
        ]
    },
    "no layers": {"layers": [1, {"a": {}}], "other": None},
    "names that are none": {
        "layers": [
            {"class_name": "A", "config": {"name": None}, "name": 3},
            {"class_name": "A", "config": {}},
            {"class_name": "A", "config": {}, "name": "x", "build_config": None},
        ]
    },
    "nothing": None,
    "a tuple": {"layers": ({"class_name": "A", "config": {"size": (1, 2)}},)},
}


@pytest.mark.parametrize("name", ODD)
def test_what_keras_never_wrote_comes_back_too(name):
    brief = brief_architecture(ODD[name])
    assert text(whole_architecture(json.loads(text(brief)))) == text(ODD[name])


def test_a_short_text_does_not_become_a_long_one():
    tensor = {"dtype": "x" * 1000, "keras_history": ["a", 0, 0], "shape": list(range(1000))}
    node = {
        "args": [{"class_name": "__keras_tensor__", "config": tensor}],
        "kwargs": {"y": "z" * 1000},
    }
    layer = {"class_name": "A", "config": {"name": "a"}, "name": "a", "inbound_nodes": [node]}
    for first in (layer, {**layer, "build_config": {"input_shape": list(range(1000))}}):
        short = {"class_name": "A", "config": {"name": "a"}}
        network = {"layers": [first] + [short] * 1000}
        assert len(text(whole_architecture({"network": network}))) < 8 * len(text(network))


@pytest.mark.parametrize("place", ["name", "shape", "kwargs", "from"])
def test_nor_a_nested_one(place):
    inner = "x"
    for _ in range(12):
        tensor = {"from": inner if place == "from" else "a", "dtype": "float32"}
        tensor["shape"] = inner if place == "shape" else [3]
        node = {"args": [tensor], "kwargs": inner if place == "kwargs" else {}}
        config = {"name": inner if place == "name" else "a"}
        first = {"class_name": "A", "config": config, "name": "a", "inbound_nodes": [node]}
        first["build_config"] = None
        second = {"class_name": "A", "config": {"name": "b"}}
        inner = {"layers": [first, second, second]}
    network = {"network": inner}
    assert len(text(whole_architecture(network))) < 10 * len(text(network))


WRONG = {
    "both": {"network": {}, "architecture": {}},
    "lacks": {"network": {"layers": [{"class_name": "A", "config": {}, "lacks": 3}]}},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_an_error(name):
    with pytest.raises(ArtifactError):
        whole_architecture(WRONG[name])
