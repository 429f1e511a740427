"""Outcome: a file leaves out of an architecture what follows, and gives it back exactly."""

import json

import keras
import numpy as np
import plain_networks
import pytest
from models import CASES

import smh
from smh import container
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


@pytest.mark.parametrize("name", MODELS)
def test_a_reader_without_smh_reads_it_from_a_file(name, tmp_path):
    model = MODELS[name]()
    config = dense_config(model)
    smh.save(model, tmp_path / "model.smh")
    (entry,) = container.read(tmp_path / "model.smh").meta["models"]
    functional = config["class_name"] == "Functional"  # nine of the table; others say all
    assert (text(entry["network"]) != text(config)) == functional
    assert text(plain_networks.architecture(entry)) == text(config)


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


def of_my_own(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2)


AROUND = {
    "functional": lambda inner: keras.Model(*(lambda x: (x, inner(x)))(keras.Input((3, 4)))),
    "sequential": lambda inner: keras.Sequential([keras.Input((3, 4)), inner]),
    "of each step": lambda inner: keras.Sequential(
        [keras.Input((2, 3, 4)), keras.layers.TimeDistributed(inner)]
    ),
}


@pytest.mark.parametrize("around", AROUND)
def test_how_an_inner_model_was_compiled_is_left_out(around, tmp_path):
    """What it was compiled with is needed for its training alone, and may be known nowhere else."""
    inner = keras.Sequential([keras.Input((3, 4)), keras.layers.Dense(2)])
    model = AROUND[around](inner)
    smh.save(model, tmp_path / "plain.smh")
    inner.compile("adam", of_my_own, metrics=[of_my_own])
    smh.save(model, tmp_path / "compiled.smh")
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    expected = model.predict(x, verbose=0)
    sizes = [(tmp_path / f"{name}.smh").stat().st_size for name in ("plain", "compiled")]
    assert sizes[0] == sizes[1]
    np.testing.assert_array_equal(
        smh.load(tmp_path / "compiled.smh").predict(x, verbose=0), expected
    )


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
    "numbers that only Python takes for others": {
        "layers": [
            {
                "class_name": "A",
                "config": {"name": "a"},
                "name": "a",
                "inbound_nodes": [
                    {
                        "args": [
                            {
                                "class_name": "__keras_tensor__",
                                "config": {"dtype": "x", "keras_history": origin, "shape": [True]},
                            }
                        ],
                        "kwargs": {},
                    }
                ],
            }
            for origin in (["a", False, 0], ["a", 0, 0.0], ["a", 0, 0])
        ]
    },
    "nothing": None,
    "a tuple": {"layers": ({"class_name": "A", "config": {"size": (1, 2)}},)},
}


@pytest.mark.parametrize("name", ODD)
def test_what_keras_never_wrote_comes_back_too(name):
    brief = json.loads(text(brief_architecture(ODD[name])))
    assert text(whole_architecture(brief)) == text(ODD[name])
    assert text(plain_networks.architecture(brief)) == text(ODD[name])


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
