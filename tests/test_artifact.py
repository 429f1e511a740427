"""Artifacts: saved, loaded, played back with NumPy, inspected; and files that lie.

Run as a script, it is the new process: `python test_artifact.py DIR` loads each `DIR/*.smh` and
writes the predictions to `DIR/loaded.npz`.
"""

import copy
import os
import stat
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from pathlib import Path

import fresh_process
import keras
import numpy as np
import plain_models
import pytest
from artifact_files import assemble
from artifact_files import load as from_bytes
from keras import layers
from models import CASES, by_name, mlp, numpy_of, pools_of
from parametrizations import PARAMETRIZATIONS, inputs, network
from stateful_models import STATEFUL

import smh
from smh import cli, container, runtime
from smh.artifact import loading
from smh.artifact.layout.reading import read_layout
from smh.container import header as container_header
from smh.errors import ArgumentError, ArtifactError, UnbuiltModelError
from smh.report_page import write_page
from smh.sizes.file_report import report_of_file
from smh.training.config import TrainingConfig
from smh.training.metrics import write_metrics
from smh.training.models import open_model_file
from smh.virtual_variable import own_layers, own_variables

pytestmark = pytest.mark.backend_agnostic

# Those that a file can name: a function or class of a test is not registered with Keras.
NAMED = [name for name in PARAMETRIZATIONS if name not in ("function", "without a pool")]
NOT_PLAIN = ("published", "learned fanout", "random hash")  # what the plain reader does not know
REGISTERED = [case for case in CASES if case.name not in ("subclassed", "custom layer")]


def weights_of(model):
    found = {}
    for layer in own_layers(model):
        found.update({v.path: numpy_of(v) for v in own_variables(layer)})
    return found


@pytest.mark.parametrize("case", REGISTERED, ids=lambda case: case.name)
def test_every_model_comes_back_and_trains_on(case, tmp_path):
    model = smh.compress(case.build(), case.fraction, seed=1)
    x, y = case.data()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    smh.save(model, tmp_path / "m.smh")
    loaded = smh.load(tmp_path / "m.smh")
    assert type(loaded) is type(model) and loaded.name == model.name
    np.testing.assert_array_equal(numpy_of(loaded(x)), numpy_of(model(x)))
    assert [tuple(v.shape) for v in loaded.trainable_variables] == [
        tuple(v.shape) for v in model.trainable_variables
    ]
    loaded.compile("adam", "mse")
    losses = loaded.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert min(losses[4:]) < losses[0]


def test_every_parametrization_comes_back_in_a_new_process_and_in_numpy(tmp_path):
    expected = {}
    for name in NAMED:
        model = PARAMETRIZATIONS[name](network(), 3)
        expected[name] = numpy_of(model(inputs()))
        smh.save(model, tmp_path / f"{name}.smh")
        played = smh.runtime.load(tmp_path / f"{name}.smh")
        live = weights_of(model)
        assert set(played) == set(live)
        for path, weight in live.items():
            np.testing.assert_allclose(played[path], weight, rtol=1e-5, atol=1e-6, err_msg=path)
    done = fresh_process.run(Path(__file__), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = np.load(tmp_path / "loaded.npz")
    for name in NAMED:
        # The scales of few-bit factors are taken anew from the stored numbers: to the last bit.
        few = 1e-6 if "-bit" in name else 1e-7
        np.testing.assert_allclose(loaded[name], expected[name], rtol=1e-6, atol=few, err_msg=name)


def small():
    x = keras.Input((6, 6, 1))
    y = layers.Flatten()(layers.Conv2D(3, 3, name="conv")(x))
    return keras.Model(x, layers.Dense(4, name="b")(layers.Dense(9, name="a")(y)))


def test_played_weights_say_their_paths(tmp_path):
    model = smh.compress(small(), 0.5, seed=0)
    smh.save(model, tmp_path / "small.smh")
    played = smh.runtime.load(tmp_path / "small.smh")
    assert repr(played) == f"Weights({', '.join(played)})"
    path = next(path for path in played if path.endswith("conv/kernel"))
    assert path in played and "kernal" not in played
    with pytest.raises(KeyError, match=f"no weight 'conv/kernal' among 6; like it: .*{path}"):
        played["conv/kernal"]


def test_the_runtime_decodes_only_what_is_asked_for(tmp_path, monkeypatch):
    model = smh.quantize_weights(small(), 4)
    smh.save(model, tmp_path / "small.smh")
    decoded, decode = [], container.Container.tensor
    monkeypatch.setattr(
        container.Container, "tensor", lambda self, name: decoded.append(name) or decode(self, name)
    )
    played = smh.runtime.load(tmp_path / "small.smh")
    assert not decoded and len(container.read(tmp_path / "small.smh").names) == 4
    played["a/kernel"]
    assert len(decoded) == 1
    played["conv/bias"], played["b/bias"]  # of one tensor
    assert len(decoded) == 2


def check_with_plain_python(models, path):
    smh.save(models, path, coder="packed")
    read = plain_models.weights(path.read_bytes())
    for number, (found, model) in enumerate(zip(read, models, strict=True)):
        played, live = smh.runtime.load(path, model=number), weights_of(model)
        assert set(found) == set(played) == set(live)
        for name, (shape, flat) in found.items():
            assert tuple(shape) == played[name].shape
            for expected in (played[name], live[name]):
                np.testing.assert_allclose(
                    flat, expected.ravel(), rtol=1e-5, atol=1e-6, err_msg=name
                )


@pytest.mark.parametrize("name", [name for name in NAMED if name not in NOT_PLAIN])
def test_a_reader_written_from_the_specification_agrees(name, tmp_path):
    check_with_plain_python([PARAMETRIZATIONS[name](small(), 1)], tmp_path / "m.smh")


def test_it_agrees_about_models_that_share_pools_and_layers(tmp_path):
    pool = smh.ProductVariablePool(True, 1500, 0.5, seed=0)
    whole = smh.compress(small(), pool=pool)
    part = keras.Model(whole.input, whole.layers[-2].output)
    other = smh.compress(small(), pool=pool)
    other.layers[1].trainable = False  # it keeps a snapshot
    check_with_plain_python([whole, part, other], tmp_path / "m.smh")
    smh.save([whole, other], tmp_path / "two.smh")
    smh.save([whole, part, other], tmp_path / "three.smh")
    sizes = [(tmp_path / f"{name}.smh").stat().st_size for name in ("two", "three")]
    assert sizes[1] - sizes[0] < 150
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype("float32")
    for model, again in zip([whole, part, other], smh.load(tmp_path / "three.smh"), strict=True):
        np.testing.assert_array_equal(numpy_of(again(x)), numpy_of(model(x)))


def normalised(**frozen):
    """Five kinds of numbers, in rounded ones and in floats of full precision."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 3))])
    for _ in range(4):
        model.add(layers.Conv2D(24, 3, padding="same"))
        model.add(layers.BatchNormalization(**frozen))
    random = np.random.default_rng(0)
    for norm in model.layers[1::2]:
        for variable, mean in zip(norm.weights, (1.0, 0.0, 0.0, 5.0), strict=True):
            variable.assign(random.normal(mean, 0.1, 24))
    return model


BY_KIND = {
    "rounded": (lambda: with_shrunk(normalised()), {}),
    "frozen, which is a kind too": (lambda: frozen_of(smh.compress(normalised(), 0.5)), {}),
    "floats": (normalised, {}),
    "of 16 bits": (normalised, {"rest": "float16"}),
}


def with_shrunk(model):
    smh.shrink(model, quality=40)
    return model


def frozen_of(model):
    model.layers[2].trainable = False
    return model


@pytest.mark.parametrize("name", BY_KIND)
def test_numbers_of_a_kind_lie_together_where_that_takes_fewer_bytes(name, tmp_path, monkeypatch):
    """The same numbers, however they lie, for all that read the file."""
    build, options = BY_KIND[name]
    model, sizes, read = build(), [], []
    for most in (2**20, 0):
        monkeypatch.setattr(smh.artifact.tensors, "_MOST_BY_KIND", most)
        path = tmp_path / f"{most}.smh"
        smh.save(model, path, **options)
        sizes.append(path.stat().st_size)
        assert container.read(path).meta.get("kinds", False) == (most > 0)
        back, played = smh.load(path), smh.runtime.load(path)
        read.append([numpy_of(v.value) for v in back.variables])
        for variable in back.variables:
            if variable.path in played:
                np.testing.assert_array_equal(played[variable.path], numpy_of(variable.value))
        (plain,) = plain_models.weights(path.read_bytes())
        for weight, (shape, numbers) in plain.items():
            np.testing.assert_allclose(
                np.reshape(numbers, shape), played[weight], rtol=1e-5, atol=1e-6
            )
    assert sizes[0] < sizes[1]
    for one, other in zip(*read, strict=True):
        np.testing.assert_array_equal(one, other)


def test_kinds_that_are_neither_true_nor_missing_are_refused(tmp_path):
    container.write(tmp_path / "m.smh", {"models": [], "kinds": 1}, [])
    with pytest.raises(ArtifactError, match="kinds is true or missing, got 1"):
        read_layout(container.read(tmp_path / "m.smh"))


def test_the_runtime_needs_neither_keras_nor_tensorflow(tmp_path):
    smh.save(smh.compress(mlp(), 0.5), tmp_path / "m.smh")
    code = (
        "import sys, smh; w = smh.runtime.load(sys.argv[1]); n = sum(w[p].size for p in w); "
        "print(n, len([p for p in smh.inspect(sys.argv[1]).parts if 'pool 0/' in p.holds])); "
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.smh")], capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == [f"{mlp().count_params()} 2", "[]"], done.stderr


@pytest.mark.parametrize("bits, tolerance", [(None, 0), (16, 1e-3), (8, 0.02), (4, 0.3)])
def test_fewer_bits_make_a_smaller_file_and_a_bounded_error(bits, tolerance, tmp_path):
    model = smh.compress(by_name["conv"].build(), 0.9, seed=1)
    smh.save(model, tmp_path / "m.smh", bits=bits, rest="float32" if bits is None else "float16")
    size = (tmp_path / "m.smh").stat().st_size
    factors = sum(pool.core_size for pool in pools_of(model))
    dense = model.count_params() - factors
    # Structure and checksums, and for integers one scale for each replica.
    assert size < factors * (bits or 32) / 8 + dense * 4 + 2500
    loaded = weights_of(smh.load(tmp_path / "m.smh"))
    for (path, got), expected in zip(loaded.items(), weights_of(model).values(), strict=True):
        assert np.abs(got - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-6), path


def test_factors_trained_for_few_bits_are_stored_as_they_are_computed_with(tmp_path):
    x, y = CASES[0].data()
    model = smh.compress(mlp(), 0.5, seed=1)
    smh.save(model, tmp_path / "float.smh")
    model.compile("adam", "mse")
    smh.quantize_factors(model, bits=4)
    model.fit(x, y, verbose=0)
    smh.save(model, tmp_path / "m.smh")
    assert (tmp_path / "m.smh").stat().st_size < (tmp_path / "float.smh").stat().st_size - 300
    loaded = smh.load(tmp_path / "m.smh")
    played = smh.runtime.load(tmp_path / "m.smh")
    for path, weight in weights_of(model).items():
        np.testing.assert_allclose(played[path], weight, rtol=1e-5, atol=1e-6, err_msg=path)
    np.testing.assert_allclose(numpy_of(loaded(x)), numpy_of(model(x)), rtol=1e-5, atol=1e-5)
    smh.save(loaded, tmp_path / "again.smh")
    again = [smh.runtime.load(tmp_path / f"{name}.smh") for name in ("m", "again")]
    for first, second in zip(*(list(weights.values()) for weights in again), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-7)
    loaded.compile("adam", "mse")
    assert np.isfinite(loaded.fit(x, y, verbose=0).history["loss"][0])


def test_the_file_accounts_for_every_byte_and_is_canonical(tmp_path):
    model = smh.compress(mlp(), 0.5, seed=1)
    for name in "ab":
        smh.save(model, tmp_path / f"{name}.smh", bits=4)
    assert (tmp_path / "a.smh").read_bytes() == (tmp_path / "b.smh").read_bytes()
    found = smh.inspect(tmp_path / "a.smh")
    assert found.bytes == (tmp_path / "a.smh").stat().st_size
    ends = [part.offset + part.bytes for part in found.parts]
    assert [part.offset for part in found.parts] == [0, *ends[:-1]]
    assert "4 bits" in str(found) and all(len(line) <= 120 for line in str(found).split("\n"))


def test_models_that_share_a_pool_are_saved_once_and_share_it_again(tmp_path):
    pool = smh.ProductVariablePool(True, 1500, 0.5, seed=0)
    models = [smh.compress(mlp(), pool=pool) for _ in range(2)]
    x, _ = CASES[0].data()
    smh.save(models, tmp_path / "two.smh")
    smh.save(models[0], tmp_path / "one.smh")
    sizes = {name: (tmp_path / f"{name}.smh").stat().st_size for name in ("one", "two")}
    assert sizes["two"] - sizes["one"] < 2 * 27 * 4 + 900 < pool.core_size * 4
    loaded = smh.load(tmp_path / "two.smh")
    for model, again in zip(models, loaded, strict=True):
        np.testing.assert_array_equal(numpy_of(again(x)), numpy_of(model(x)))
    (first,), (second,) = map(pools_of, loaded)
    assert first is second
    weights = smh.runtime.load(tmp_path / "two.smh", model=1)
    for path, value in weights_of(models[1]).items():
        np.testing.assert_allclose(weights[path], value, atol=1e-6)


def test_weights_fill_a_users_own_model_dense_or_compressed(tmp_path):
    case = by_name["subclassed"]
    model, x = smh.compress(case.build(), 0.5, seed=1), case.data()[0]
    smh.save(model, tmp_path / "m.smh", architecture=False)
    for own in (case.build(), smh.compress(case.build(), 0.5, seed=2)):
        assert smh.load_weights(own, tmp_path / "m.smh") is own
        np.testing.assert_array_equal(numpy_of(own(x)), numpy_of(model(x)))
    with pytest.raises(ArgumentError, match="smh.load_weights"):
        smh.load(tmp_path / "m.smh")


@pytest.mark.parametrize(
    "other", [lambda: smh.compress(mlp(), 0.3, seed=2), lambda: mlp(width=25)], ids=["0.3", "25"]
)
def test_another_model_is_refused_and_stays_as_it_was(other, tmp_path):
    smh.save(smh.compress(mlp(), 0.5), tmp_path / "m.smh")
    model = other()
    before = weights_of(model)
    with pytest.raises(ArgumentError):
        smh.load_weights(model, tmp_path / "m.smh")
    for path, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[path])


def saved_network(seed=3):
    keras.utils.set_random_seed(seed)
    hidden = layers.Dense(16, activation="relu")
    return keras.Sequential([layers.Input((8,)), hidden, layers.Dense(3)])


KINDS = {
    "dense": lambda m: None,
    "shrunk": lambda m: smh.shrink(m, None, quality=50),
    "pool": lambda m: smh.compress(m, 0.5),
    "pruned": lambda m: smh.prune(m, 0.5),
    "pruned in a pool": lambda m: smh.prune(smh.compress(m, 0.5), 0.5),
    "clustered": lambda m: smh.cluster(m, 8),
    "rounded": lambda m: smh.quantize_weights(m, 4),
    "frozen in a pool": lambda m: setattr(smh.compress(m, 0.5).layers[0], "trainable", False),
}
OTHERS = {
    "no bias": lambda: [layers.Dense(16, use_bias=False), layers.Dense(3)],
    "no bias at the end": lambda: [layers.Dense(16), layers.Dense(3, use_bias=False)],
    "normalised": lambda: [layers.Dense(16), layers.Dense(3), layers.BatchNormalization()],
    "adapted": lambda: [adapted(layers.Normalization()), layers.Dense(16), layers.Dense(3)],
    "random": lambda: [layers.Dense(16), layers.Dense(3), layers.Dropout(0.5, seed=1)],
    "deeper": lambda: [layers.Dense(16), layers.Dense(3), layers.Dense(3)],
    "no second layer": lambda: [layers.Dense(16)],
    "wider": lambda: [layers.Dense(17), layers.Dense(3)],
    "more outputs": lambda: [layers.Dense(16), layers.Dense(4)],
}


def adapted(layer):
    layer.adapt(np.random.default_rng(0).normal(2, 3, size=(50, 8)).astype("float32"))
    return layer


def everything_of(model, x):
    """What must stay: which variables there are, and where; their numbers; what comes out."""
    outputs = numpy_of(model(x)).tobytes()
    variables = [(id(v), v.path, v.trainable, numpy_of(v).tobytes()) for v in model.variables]
    owned = [[id(v) for v in own_variables(layer)] for layer in own_layers(model)]
    kinds = [[type(v) for v in own_variables(layer)] for layer in own_layers(model)]
    inside = [[id(part) for part in layer._layers] for layer in own_layers(model)]
    attributes = [sorted(vars(layer)) for layer in own_layers(model)]
    trained = [id(v) for v in model.trainable_variables]
    optimizer = id(getattr(model, "optimizer", None))
    return variables, owned, kinds, inside, attributes, trained, optimizer, outputs


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_model_change_nothing(kind, other, tmp_path):
    source = saved_network()
    KINDS[kind](source)
    smh.save(source, tmp_path / "k.smh", architecture=False)
    model = keras.Sequential([layers.Input((8,)), *OTHERS[other]()])
    model.compile("adam", "mse")
    x = np.random.default_rng(1).normal(size=(6, 8)).astype("float32")
    before = everything_of(model, x)
    with pytest.raises(ArgumentError):
        smh.load_weights(model, tmp_path / "k.smh")
    assert everything_of(model, x) == before


@pytest.mark.parametrize(
    "kind, to", [(one, two) for one in KINDS for two in KINDS if one != two != "dense"]
)
def test_weights_compressed_in_another_way_change_nothing(kind, to, tmp_path):
    source, model = saved_network(), saved_network(4)
    KINDS[kind](source)
    smh.save(source, tmp_path / "k.smh", architecture=False)
    KINDS[to](model)
    x = np.random.default_rng(1).normal(size=(6, 8)).astype("float32")
    before = everything_of(model, x)
    if {kind, to} == {"pool", "frozen in a pool"}:  # of one structure
        smh.load_weights(model, tmp_path / "k.smh")
        np.testing.assert_allclose(numpy_of(model(x)), numpy_of(source(x)), atol=1e-6)
        return
    with pytest.raises(ArgumentError):
        smh.load_weights(model, tmp_path / "k.smh")
    assert everything_of(model, x) == before


def network_with_states():
    """With statistics, random generators, a layer in two places, and states beside variables."""
    keras.utils.set_random_seed(5)
    x = layers.Input((8,))
    shared = layers.Dense(8, "relu")
    y = shared(layers.Dropout(0.2, seed=2)(shared(adapted(layers.Normalization())(x))))
    y = layers.BatchNormalization()(layers.Reshape((2, 4))(y))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


@keras.saving.register_keras_serializable("tests")
class Counted(layers.Layer):
    """Has a state beside variables, and loads a negative one with an error."""

    count = 7

    def save_own_variables(self, store):
        store["count"] = np.array(self.count)

    def load_own_variables(self, store):
        self.count = int(store["count"])
        if self.count < 0:
            raise ValueError("no such count")

    def call(self, x):
        return x * self.count


FAILURES = {
    "when restored": ("restore", 0),
    "at the third value": ("Stored.value", 2),
    "when frozen": ("_settle", 0),
    "when layers load": ("load_own_states", 0),
}
BROKEN_OFF = [
    (kind, where, same)
    for kind in ("dense", "shrunk", "pool", "pruned in a pool", "frozen in a pool")
    for where in FAILURES
    for same in (False, True)
    if not same or (kind != "dense" and where != "when restored")
]


@pytest.mark.parametrize("kind, where, same", BROKEN_OFF)
def test_filling_that_is_broken_off_is_undone(kind, where, same, tmp_path, monkeypatch):
    (name, number), calls = FAILURES[where], []
    source, model = network_with_states(), network_with_states()
    KINDS[kind](source)
    smh.save(source, tmp_path / "k.smh", architecture=False)
    model.compile("adam", "mse")
    x = np.random.default_rng(1).normal(size=(6, 8)).astype("float32")
    model.fit(x, np.zeros((6, 3)), verbose=0)
    if same:
        KINDS[kind](model)
    before = everything_of(model, x)

    owner, _, attribute = name.rpartition(".")
    place = getattr(loading, owner) if owner else loading
    real = getattr(place, attribute)

    def failing(*args, **kwargs):
        calls.append(None)
        result = real(*args, **kwargs)
        if len(calls) > number:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(place, attribute, failing)
        with pytest.raises(KeyboardInterrupt):
            smh.load_weights(model, tmp_path / "k.smh")
    assert calls
    assert everything_of(model, x) == before
    model.fit(x, np.zeros((6, 3)), verbose=0)  # it is whole
    smh.load_weights(model, tmp_path / "k.smh")
    fresh = smh.load_weights(network_with_states(), tmp_path / "k.smh")
    np.testing.assert_array_equal(numpy_of(model(x)), numpy_of(fresh(x)))


def test_states_that_were_loaded_before_a_layer_failed_come_back(tmp_path):
    def network(*counts):
        parts = [Counted() for _ in counts]
        for part, count in zip(parts, counts, strict=True):
            part.count = count
        return keras.Sequential([layers.Input((8,)), layers.Dense(4), *parts])

    smh.save(smh.compress(network(2, -1), 0.5), tmp_path / "k.smh", architecture=False)
    model, x = network(3, 4), np.ones((2, 8), "float32")
    before = everything_of(model, x)
    with pytest.raises(ArgumentError, match="no such count"):
        smh.load_weights(model, tmp_path / "k.smh")
    assert everything_of(model, x) == before
    assert [layer.count for layer in model.layers[1:]] == [3, 4]


def test_frozen_deployed_mixed_and_uncompressed_models(tmp_path):
    x, y = CASES[0].data()
    frozen = smh.compress(mlp(), 0.5, seed=1)
    frozen.layers[0].trainable = False
    frozen.compile("adam", "mse")
    frozen.fit(x, y, verbose=0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = smh.compress(mlp(), 0.5, seed=1)
    keras.config.set_dtype_policy("float32")
    cached = smh.deploy(smh.compress(mlp(), 0.5, seed=1), "cached")
    for model in (frozen, mixed, cached, mlp()):
        smh.save(model, tmp_path / "m.smh")
        loaded = smh.load(tmp_path / "m.smh")
        # As float32: NumPy 1.26 cannot compare two arrays of bfloat16.
        found, expected = (numpy_of(m(x)).astype("float32") for m in (loaded, model))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert len(smh.report(model).rows) == len(smh.report(loaded).rows)
    assert (tmp_path / "m.smh").stat().st_size < mlp().count_params() * 4 + 1200


def unnamed():
    return smh.compress(mlp(), 0.5, modifier=lambda tensor: 2 * tensor)


def unbuilt():
    return keras.Sequential([layers.Dense(3)])


@pytest.mark.parametrize(
    "make, options, error, message",
    [
        (unnamed, {}, ArgumentError, "register_keras_serializable"),
        (unbuilt, {}, UnbuiltModelError, "not built"),
        (list, {}, ArgumentError, "no model"),
        (lambda: "model", {}, ArgumentError, "Keras 3 model"),
        (mlp, {"bits": 9}, ArgumentError, "2 to 8, 16 or None, got 9"),
        (mlp, {"bits": True}, ArgumentError, "got True"),
        (mlp, {"rest": "int8"}, ArgumentError, "'?int8'?"),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file_whole(make, options, error, message, tmp_path):
    (tmp_path / "m.smh").write_bytes(b"old")
    with pytest.raises(error, match=message):
        smh.save(make(), tmp_path / "m.smh", **options)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def tiny():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3)], name="tiny")


def scanned(model):
    return smh.bits_scan(model, lambda model: {"loss": 1.0}, [4])


DOORS = {
    "save": smh.save,
    "export": lambda model, path: smh.export(model, path, "keras"),
    "report": lambda model, path: smh.report(model).to_csv(path),
    "report page": lambda model, path: write_page(path, smh.report(model)),
    "plan": lambda model, path: smh.plan(model, [0.9]).to_csv(path),
    "scan": lambda model, path: scanned(model).to_csv(path),
    "shrink": lambda model, path: smh.shrink(model, quality=50).to_csv(path),
    "picture of shrink": lambda model, path: smh.shrink(model, quality=50).to_png(path),
    "settings": lambda model, path: TrainingConfig("lenet_5", "digits").write(path),
    "metrics": lambda model, path: write_metrics([{"epoch": 1}], path),
    "container": lambda model, path: container.write(path, {}, []),
}
SUFFIXES = {"export": ".keras"}


@pytest.mark.parametrize("door", DOORS)
def test_a_file_takes_the_place_of_a_file_only(door, tmp_path):
    """A folder or a pipe at its path stays; a file keeps its permissions."""
    model, name = tiny(), "out" + SUFFIXES.get(door, ".x" if "picture" not in door else ".png")
    folder, pipe, file = (tmp_path / part / name for part in ("folder", "pipe", "file"))
    folder.mkdir(parents=True)
    (folder / "precious").write_text("five years")
    with pytest.raises(ArgumentError, match="is a folder"):
        DOORS[door](model, folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", name, "precious"]
    file.parent.mkdir()
    file.write_text("old")
    file.chmod(0o600)
    DOORS[door](model, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and file.read_bytes() != b"old"
    if hasattr(os, "mkfifo"):
        pipe.parent.mkdir()
        os.mkfifo(pipe)
        with pytest.raises(ArgumentError, match="is a pipe or a device"):
            DOORS[door](model, pipe)
        assert stat.S_ISFIFO(pipe.stat().st_mode) and os.listdir(pipe.parent) == [name]


@pytest.mark.parametrize("door", ["save", "report", "report page", "plan", "scan", "shrink"])
def test_a_path_may_be_bytes(door, tmp_path):
    DOORS[door](tiny(), os.fsencode(tmp_path / "out.smh"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.smh"]
    if door == "save":
        assert all(reads(os.fsencode(tmp_path / "out.smh")) for reads in READERS.values())


READERS = {
    "load": lambda path: smh.load(path).name,
    "load_weights": lambda path: smh.load_weights(tiny(), path).name,
    "runtime": lambda path: len(runtime.load(path)),
    "inspect": lambda path: smh.inspect(path).bytes,
    "report of a file": lambda path: report_of_file(path).trained_params,
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
@pytest.mark.parametrize("reader", READERS)
def test_what_comes_out_of_a_pipe_is_read_as_the_file(reader, tmp_path):
    file, pipe = tmp_path / "m.smh", tmp_path / "pipe.smh"
    smh.save(tiny(), file)
    os.mkfifo(pipe)
    content = file.read_bytes()
    for sent, good in ((content, True), (content[:-1], False), (b"", False), (b"PK no", False)):
        writer = threading.Thread(target=pipe.write_bytes, args=(sent,))
        writer.start()
        if good:
            assert READERS[reader](pipe) == READERS[reader](file)
        else:
            with pytest.raises(ArtifactError):
                READERS[reader](pipe)
        writer.join()


def test_numbers_that_do_not_fit_are_refused(tmp_path):
    model = smh.compress(mlp(), 0.5)
    model.layers[0].bias.assign(np.full(24, 1e6))
    with pytest.raises(ArgumentError, match="do not fit in float16"):
        smh.save(model, tmp_path / "m.smh", rest="float16")
    assert not list(tmp_path.iterdir())


def places(value, path=()):
    """Every place in a JSON value that holds something."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def rewritten(meta, old):
    """Returns the bytes of the file with another `meta`; no `container.write`, which is slow."""
    tensors = [container.Tensor(n, old.spec(n), bytes(old._payloads[n])) for n in old.names]
    return assemble(container_header.encode(meta, tensors), [t.payload for t in tensors])


@pytest.mark.parametrize(
    "poison",
    [-1, "x", [[1]], *(pytest.param(p, marks=pytest.mark.slow) for p in (None, 2**62, {}, 0.5))],
)
def test_a_file_that_lies_about_its_models_is_an_artifact_error(poison, tmp_path):
    model = smh.compress(mlp(), 0.5, seed=1)
    smh.save(model, tmp_path / "m.smh", architecture=False)
    old = container.read(tmp_path / "m.smh")
    content = old.meta
    expected = weights_of(model)
    for place in places(content):
        lie = copy.deepcopy(content)
        inner = lie
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = poison
        (tmp_path / "lie.smh").write_bytes(rewritten(lie, old))
        for read in (read_with_numpy, read_into_keras):
            try:
                found = read(tmp_path / "lie.smh")
            except (ArtifactError, ArgumentError):
                continue
            # Then it was in a field that does not matter for the weights (a name).
            for path, value in found.items():
                if path in expected and value.shape == expected[path].shape:
                    np.testing.assert_allclose(value, expected[path], atol=1e-6, err_msg=str(place))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Pruned factors, shared values, two models with one pool, a frozen weight, hidden state.

    And layers that are more than their variables.
    """
    path = tmp_path_factory.mktemp("everything") / "m.smh"
    x = keras.Input((12,))
    y = layers.Dropout(0.5, seed=1)(layers.Dense(7, name="a")(x))
    models = [smh.compress(keras.Model(x, layers.Dense(5, name="b")(y)), 0.6, seed=0)]
    models.append(smh.cluster(smh.prune(mlp(), 0.6, seed=0), 2))
    models.append(smh.compress(small(), pool=smh.MetaVariablePool(True, 1.0, 900, 0.5, seed=0)))
    models.append(smh.compress(mlp(), pool=smh.ProductVariablePool(True, 1100, 0.5, seed=0)))
    models.append(smh.compress(mlp(), pool=pools_of(models[-1])[0]))
    models[-1].layers[0].trainable = False
    smh.prune(models[0], 0.5, seed=0)
    models += [STATEFUL[name][0]() for name in ("a table", "files", "a named weight")]
    smh.save(models, path, bits=4, architecture=False)
    return container.read(path)


@pytest.mark.parametrize(
    "poison",
    [-1, "x", *(pytest.param(p, marks=pytest.mark.slow) for p in (None, 0, 2**62, 0.5, [[1]], {}))],
)
def test_every_key_of_a_file_with_everything_may_lie(poison, everything):
    old, refused = everything, 0
    for place in places(old.meta):
        lie = copy.deepcopy(old.meta)
        inner = lie
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = poison
        try:
            stored = read_layout(from_bytes(rewritten(lie, old)))
            for weights in (runtime.Weights(stored, i) for i in range(len(stored.models))):
                assert all(weights[path].size < 10_000 for path in weights)
        except (ArtifactError, ArgumentError):
            refused += 1
    assert refused > 100


NO_NETWORKS = {
    "an empty object": {},
    "an empty list": [],
    "a dictionary": {"a": 1},
    "another object of Keras": keras.saving.serialize_keras_object(keras.optimizers.SGD()),
    "a class alone": {"class_name": "Dense"},
    "a layer that is not built": keras.saving.serialize_keras_object(layers.Dense(3)),
}


@pytest.mark.parametrize("network", NO_NETWORKS.values(), ids=NO_NETWORKS)
def test_a_network_that_is_none_is_an_artifact_error(network, tmp_path):
    smh.save(tiny(), tmp_path / "m.smh")
    old = container.read(tmp_path / "m.smh")
    (meta := copy.deepcopy(old.meta))["models"][0]["network"] = network
    (tmp_path / "lie.smh").write_bytes(rewritten(meta, old))
    with pytest.raises((ArtifactError, ArgumentError), match="lie.smh"):
        smh.load(tmp_path / "lie.smh")


def read_with_numpy(path):
    weights = smh.runtime.load(path)
    return {name: weights[name] for name in weights}


def read_into_keras(path):
    return weights_of(smh.load_weights(mlp(), path))


def keras_file_with(path, member, change):
    """Changes one member of a .keras file; the zip archive itself stays sound."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = change(members[member])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "member, change, message",
    [
        ("config.json", lambda data: data + b" " * 50_000_000, "this file of"),
        ("model.weights.h5", lambda data: data + bytes(50_000_000), "this file of"),
        ("config.json", lambda data: b"[" * 60_000 + data, "Keras mod"),
        ("config.json", lambda data: b"", "Keras mod"),
        ("model.weights.h5", lambda data: data[: len(data) // 2], "Keras mod"),
    ],
    ids=["bomb in the config", "bomb in the weights", "nested", "empty", "half"],
)
def test_a_keras_file_that_is_damaged_or_a_bomb_is_refused(member, change, message, tmp_path):
    path = str(tmp_path / "m.keras")
    smh.compress(mlp(), 0.5).save(path)
    open_model_file(path)
    keras_file_with(path, member, change)
    tracemalloc.start()
    with pytest.raises(ArtifactError, match=message):
        open_model_file(path)
    # Building the model on PyTorch takes 6 MB by itself; the bombs are 50.
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_file_of_keras_is_told_apart(tmp_path):
    model = smh.compress(mlp(), 0.5)
    for name in ("m.keras", "m.weights.h5"):
        (model.save if name == "m.keras" else model.save_weights)(tmp_path / name)
        with pytest.raises(ArtifactError, match="byte 0: not a file of smh .*load_model"):
            smh.load(tmp_path / name)


def test_a_lambda_needs_the_word_of_the_caller(tmp_path):
    model = keras.Sequential(
        [keras.Input((12,)), layers.Dense(9), layers.Lambda(lambda t: t * 2), layers.Dense(3)]
    )
    smh.save(smh.compress(model, 0.5), tmp_path / "m.smh")
    with pytest.raises(ArtifactError, match="safe_mode"):
        smh.load(tmp_path / "m.smh")
    x, _ = CASES[0].data()
    loaded = smh.load(tmp_path / "m.smh", safe_mode=False)
    np.testing.assert_array_equal(numpy_of(loaded(x)), numpy_of(model(x)))


def test_the_command_line_prints_what_is_inside_or_one_line_of_error(tmp_path, capsys):
    smh.save(smh.compress(mlp(), 0.5), tmp_path / "m.smh", bits=4)
    assert cli.main(["inspect", str(tmp_path / "m.smh")]) == 0
    assert "bits per" in capsys.readouterr().out
    (tmp_path / "m.smh").write_bytes((tmp_path / "m.smh").read_bytes()[:-1])
    for name, code in (("m.smh", 1), ("none.smh", 2)):
        assert cli.main(["inspect", str(tmp_path / name)]) == code
        shown = capsys.readouterr()
        assert not shown.out and shown.err.startswith("smh inspect: ") and name in shown.err
        assert shown.err.count("\n") == 1


def test_a_file_of_other_tensors_holds_no_model(tmp_path):
    container.write(tmp_path / "m.smh", {}, [])
    with pytest.raises(ArtifactError, match="holds no model"):
        read_layout(container.read(tmp_path / "m.smh"))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    np.savez(
        folder / "loaded.npz",
        **{file.stem: numpy_of(smh.load(file)(inputs())) for file in folder.glob("*.smh")},
    )


ON_GRIDS = {
    "weights of 4 bits": lambda model: smh.quantize_weights(model, 4),
    "weights of 3 bits": lambda model: smh.quantize_weights(model, 3),
    "factors of 4 bits": lambda model: smh.quantize_factors(smh.compress(model, 0.5, seed=1), 4),
    "factors of 3 bits": lambda model: smh.quantize_factors(smh.compress(model, 0.5, seed=1), 3),
    "pool": lambda model: smh.compress(model, 0.5, seed=1),
}


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("file", ON_GRIDS)
@pytest.mark.parametrize("target", ON_GRIDS)
def test_weights_are_those_of_the_file_or_refused(file, target, tmp_path):
    """A model whose numbers lie on a grid of its own would make others of them."""

    def made(kind, seed):
        keras.utils.set_random_seed(seed)
        dense = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)]
        return ON_GRIDS[kind](keras.Sequential([keras.Input((8,)), *dense]))

    path, x = tmp_path / "model.smh", np.random.default_rng(0).normal(size=(9, 8))
    smh.save(made(file, 0), path)
    model = made(target, 5)
    before = model.predict(x, verbose=0)
    try:
        smh.load_weights(model, path)
    except ArgumentError as error:
        assert "rounding, or load the file by smh.load" in str(error)
        np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    else:
        expected = smh.load(path).predict(x, verbose=0)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    dense = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)]
    )
    smh.load_weights(dense, path)
    expected = smh.load(path).predict(x, verbose=0)
    np.testing.assert_allclose(dense.predict(x, verbose=0), expected, atol=1e-5)
