"""What a model was, it still is: state that is no variable, through every door."""

import copy
import json
import pickle
from pathlib import Path

import fresh_process
import keras
import numpy as np
import plain_models
import pytest
from keras import layers
from stateful_models import STATEFUL, Positions, Table, chain, predictions, with_table

import smh
from smh import container, runtime
from smh.errors import ArgumentError, ArtifactError, VirtualVariableError
from smh.virtual_variable import own_layers

pytestmark = pytest.mark.backend_agnostic

# The others are left to `make test-all`.
QUICK = {
    "Normalization",
    "files",
    "a named weight",
    "subclassed",
    "TextVectorization to tf-idf",
}
CASES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name)
    for name in STATEFUL
]
TREATMENTS = {
    "compress": lambda model: smh.compress(model, 0.5, seed=1),
    "prune": lambda model: smh.prune(model, 0.5),
    "cluster": lambda model: smh.cluster(model, 3),
    "nothing": lambda model: model,
}


def treated(name, treatment="compress"):
    model = TREATMENTS[treatment](STATEFUL[name][0]())
    for layer in own_layers(model):
        if hasattr(layer, "finalize"):  # as whoever changes such a layer's weight has to
            layer.finalize()
    return model


def check(model, name, expected):
    found = predictions(model, STATEFUL[name][1])
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


def saved_by_keras(model, path):
    model.save(path)
    return keras.saving.load_model(path)


def weights_of_keras(model, again, path):
    model.save_weights(path)
    again.load_weights(path)
    return again


def exported(model, path):
    smh.export(model, path, format="keras")
    return keras.saving.load_model(path)


@pytest.mark.parametrize("name", CASES)
def test_every_door_lets_all_of_a_model_through(name, tmp_path):
    model = treated(name)
    expected = predictions(model, STATEFUL[name][1])
    smh.save(model, tmp_path / "m.smh")
    smh.save(model, tmp_path / "w.smh", architecture=False)
    check(smh.materialize(model), name, expected)
    check(smh.load(tmp_path / "m.smh"), name, expected)
    check(smh.load_weights(STATEFUL[name][0](), tmp_path / "w.smh"), name, expected)
    check(smh.load_weights(treated(name), tmp_path / "m.smh"), name, expected)
    check(saved_by_keras(model, tmp_path / "m.keras"), name, expected)
    check(copy.deepcopy(model), name, expected)
    check(pickle.loads(pickle.dumps(model)), name, expected)
    if name != "in two models":  # which Keras' own files cannot hold
        check(exported(model, tmp_path / "plain.keras"), name, expected)
    again = weights_of_keras(model, treated(name), tmp_path / "m.weights.h5")
    if not any(hasattr(layer, "save_assets") for layer in own_layers(model)):  # no weights
        check(again, name, expected)
    check(model, name, expected)


@pytest.mark.parametrize("treatment", ["prune", "cluster", "nothing"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_however_it_was_treated(treatment, name, tmp_path):
    model = treated(name, treatment)
    expected = predictions(model, STATEFUL[name][1])
    smh.save(model, tmp_path / "m.smh")
    check(smh.load(tmp_path / "m.smh"), name, expected)
    check(smh.materialize(model), name, expected)
    if treatment != "nothing":
        check(saved_by_keras(model, tmp_path / "m.keras"), name, expected)


@pytest.mark.parametrize(
    "names", [sorted(QUICK & set(STATEFUL)), pytest.param(list(STATEFUL), marks=pytest.mark.slow)]
)
def test_in_a_new_process(names, tmp_path):
    expected = {}
    for name in names:
        model = treated(name)
        smh.save(model, tmp_path / f"{name}.smh")
        model.save(tmp_path / f"{name}.keras")
        expected[name] = predictions(model, STATEFUL[name][1])
    script = Path(__file__).with_name("stateful_models.py")
    ran = fresh_process.run(script, tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    there = np.load(tmp_path / "loaded.npz")
    assert len(there) == 2 * len(names)
    for name in names:
        for suffix in ("smh", "keras"):
            found = there[f"{name}.{suffix}"]
            np.testing.assert_allclose(found, expected[name], atol=1e-6, err_msg=name)


def test_a_search_tries_copies_that_are_the_model():
    model = chain(*STATEFUL["Normalization"][0]().layers[:1], with_table())
    model.add(layers.Dense(20, name="end"))
    inside = keras.Model(model.inputs, model.layers[1].output)
    before, seen = predictions(inside, STATEFUL["Normalization"][1]), []

    def evaluate(found):
        below = keras.Model(found.inputs, found.layers[1].output)
        seen.append(predictions(below, STATEFUL["Normalization"][1]))
        return 0.5

    smh.search_drop(model, 0.1, evaluate, bits=4, apply_to=".*end/kernel")
    assert seen
    for found in seen:
        np.testing.assert_allclose(found, before, atol=1e-5)


def test_the_reader_of_the_specification_and_the_runtime_find_it(tmp_path):
    model = STATEFUL["subclassed"][0]()
    smh.save(model, tmp_path / "m.smh")
    found = runtime.load(tmp_path / "m.smh").more_than_weights
    plain = plain_models.states((tmp_path / "m.smh").read_bytes())[0]
    assert {name: set(keys) for name, keys in found.items()} == {
        name: set(keys) for name, keys in plain.items()
    }
    words, table = model.named["words"], model.blocks[1]
    assert plain[words.name]["deep/ünï.txt"] == b"0.5"
    np.testing.assert_array_equal(plain[table.name]["table"], table.table)
    assert plain[model.name]["temperature"] == [2.5]
    assert f"{words.name}: offset" in str(smh.inspect(tmp_path / "m.smh"))
    assert runtime.load(tmp_path / "m.smh").more_than_weights.keys() == plain.keys()


def test_weights_alone_are_no_more_than_weights(tmp_path):
    smh.save(chain(), tmp_path / "m.smh")
    assert runtime.load(tmp_path / "m.smh").more_than_weights == {}
    assert "states" not in container.read(tmp_path / "m.smh").meta["models"][0]


@keras.saving.register_keras_serializable(package="stateful")
class Wrong(Table):
    """Stores what no file holds, or fails."""

    def save_own_variables(self, store):
        if self.table is None:
            raise RuntimeError("call adapt first")
        store["table"] = self.table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "call adapt first"),
        (np.array(["a", "b"]), "save_assets"),
        (np.zeros(12, "complex64"), "save_assets"),
    ],
)
def test_what_cannot_be_carried_is_refused_before_anything_is_written(table, message, tmp_path):
    model = smh.prune(chain(Wrong()), 0.5)
    model.layers[0].table = table
    (tmp_path / "m.smh").write_bytes(b"old")
    for carry in (lambda: smh.save(model, tmp_path / "m.smh"), lambda: smh.materialize(model)):
        with pytest.raises(ArgumentError, match=f"'wrong.*' .*{message}"):
            carry()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("m.smh", b"old")]


def rewritten(path, change):
    """Writes a file anew whose models are what `change` makes of them."""
    opened = container.read(path)
    tensors = [container.Tensor(n, opened.spec(n), opened._payloads[n]) for n in opened.names]
    meta = copy.deepcopy(opened.meta)
    tensors = change(meta["models"][0], tensors) or tensors
    container.write(path, meta, tensors)


@pytest.mark.parametrize("name", ["a table", "files"])
def test_a_file_without_the_state_is_refused(name, tmp_path):
    smh.save(STATEFUL[name][0](), tmp_path / "m.smh")

    def forget(model, tensors):
        (state,) = model.pop("states")
        return tensors[: -len({**state.get("values", {}), **state.get("assets", {})})]

    rewritten(tmp_path / "m.smh", forget)
    with pytest.raises(ArgumentError, match="save the model again"):
        smh.load(tmp_path / "m.smh")


@pytest.mark.parametrize(
    "lie",
    [
        {"assets": {"../x": 0, "offset": 1}},
        {"assets": {"/x": 0, "offset": 1}},
        {"assets": {"a//b": 0, "offset": 1}},
        {"assets": {"a\\..\\b": 0, "offset": 1}},
        {"assets": {"C:x": 0, "offset": 1}},
        {"assets": {"\0": 0, "offset": 1}},
        {"assets": {"n" * 256: 0, "offset": 1}},
        {"assets": {"offset": 0, "offset/b": 1}},
        {"assets": {"deep/x": 0, "offset": 2}},
        {"assets": {"deep/x": 0}},
        {"assets": {"deep/x": -1, "offset": 1}},
        {"assets": {"deep/x": 0.0, "offset": 1}},
        {"assets": [0, 1]},
        {"layer": 99},
        {"layer": -1},
        {"layer": "0"},
        {"name": None},
        {"variables": {"0": 7}},
        {"variables": {"0": "a"}},
        {"values": {"table": 0}},
        {"more": 1},
    ],
    ids=str,
)
def test_states_that_lie_are_refused(lie, tmp_path):
    smh.save(STATEFUL["files"][0](), tmp_path / "m.smh")
    rewritten(tmp_path / "m.smh", lambda model, tensors: model["states"][0].update(lie))
    with pytest.raises((ArtifactError, ArgumentError)):
        smh.load(tmp_path / "m.smh")
    assert [path.name for path in tmp_path.iterdir()] == ["m.smh"]


def test_a_state_is_not_for_layers_that_would_not_take_it(tmp_path):
    smh.save(STATEFUL["a table"][0](), tmp_path / "m.smh")
    rewritten(tmp_path / "m.smh", lambda model, _: model["states"][0].update(layer=3))
    with pytest.raises(ArgumentError, match="no load_own_variables"):
        smh.load(tmp_path / "m.smh")


@pytest.mark.parametrize("treatment", ["compress", "prune", "cluster"])
def test_a_named_weight_is_not_stored_dense_and_a_dense_file_is_refused(treatment, tmp_path):
    dense = chain(Positions(), shape=(500,))
    dense.save_weights(tmp_path / "dense.weights.h5")
    model = TREATMENTS[treatment](chain(Positions(), shape=(500,)))
    for path in ("m.weights.h5", "m.keras"):
        getattr(model, "save_weights" if "h5" in path else "save")(tmp_path / path)
        loaded = TREATMENTS[treatment](chain(Positions(), shape=(500,)))
        loaded.load_weights(tmp_path / path)
        x = np.ones((2, 500), "float32")
        np.testing.assert_array_equal(predictions(loaded, x), predictions(model, x))
    sizes = [(tmp_path / f"{n}.weights.h5").stat().st_size for n in ("m", "dense")]
    assert treatment == "prune" or sizes[0] < sizes[1]
    with pytest.raises(ValueError, match="stored dense"):
        model.load_weights(tmp_path / "dense.weights.h5")


@keras.saving.register_keras_serializable(package="stateful")
class Late(layers.Layer):
    """Tracks its weightless layer first where it is made from a configuration, else last."""

    def __init__(self, activation=None, **kwargs):
        super().__init__(**kwargs)
        if activation is not None:
            self.activation = keras.saving.deserialize_keras_object(activation)
        self.inner, self.other = layers.Dense(12), layers.Dense(12)
        if activation is None:
            self.activation = layers.Activation("tanh")

    def build(self, shape):
        self.inner.build(shape)
        self.other.build((None, 12))

    def call(self, x):
        return self.other(self.activation(self.inner(x)))

    def get_config(self):
        activation = keras.saving.serialize_keras_object(self.activation)
        return {**super().get_config(), "activation": activation}


@keras.saving.register_keras_serializable(package="stateful")
class Swapped(Late):
    """Makes its two layers, which are alike, in the other order when it is made again."""

    def __init__(self, activation=None, **kwargs):
        layers.Layer.__init__(self, **kwargs)
        for name in ("inner", "other") if activation is None else ("other", "inner"):
            setattr(self, name, layers.Dense(12))
        self.activation = layers.Activation("tanh")


def float8():
    model = chain(layers.Dense(12))
    model.layers[0].quantize("float8")
    return model


def with_lora():
    model = chain(layers.Dense(12))
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(np.ones((2, 12)))
    return model


MOVED = {
    "late": lambda: chain(Late(), layers.Dropout(0.1), Late()),
    "swapped": lambda: chain(Swapped()),
    "float8": float8,
    "LoRA": with_lora,
}
ONLY_KERNELS = {"apply_to": r"(?!.*(scale|history|lora)).*"}


@pytest.mark.parametrize("name", MOVED)
def test_layers_and_weights_are_found_where_keras_finds_them(name, tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 12)).astype("float32")
    for treat in (lambda m: m, lambda m: smh.prune(m, 0.5, **ONLY_KERNELS)):
        model = treat(MOVED[name]())
        expected = predictions(model, x)
        smh.save(model, tmp_path / "m.smh")
        for again in (
            smh.materialize(model),
            smh.load(tmp_path / "m.smh"),
            smh.load_weights(MOVED[name](), tmp_path / "m.smh"),
            saved_by_keras(model, tmp_path / "m.keras"),
        ):
            np.testing.assert_allclose(predictions(again, x), expected, atol=1e-6)
    counted_anew = name in ("late", "swapped", "float8")
    assert ("layers" in container.read(tmp_path / "m.smh").meta["models"][0]) == counted_anew


@keras.saving.register_keras_serializable(package="stateful")
class Outer(layers.Layer):
    """Has a layer of which its configuration says nothing."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(12)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


@keras.saving.register_keras_serializable(package="stateful")
class Given(Outer):
    """Takes a layer, and returns it in its configuration, which nobody makes again."""

    def __init__(self, inner, **kwargs):
        layers.Layer.__init__(self, **kwargs)
        self.inner = inner

    def get_config(self):
        return {**super().get_config(), "inner": self.inner}


@keras.saving.register_keras_serializable(package="stateful")
class Forgetful(layers.Layer):
    """Does not say in its configuration how large it is."""

    def __init__(self, units=12, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)

    def get_config(self):
        return super().get_config()


def lora_inside():
    model = chain(Outer())
    model.layers[0].inner.enable_lora(2)
    model.layers[0].inner.lora_kernel_b.assign(np.ones((2, 12)))
    return model


def test_lora_inside_a_layer_is_merged_as_keras_does():
    x = np.ones((2, 12), "float32")
    model = lora_inside()
    found = predictions(smh.materialize(model), x)
    np.testing.assert_allclose(found, predictions(model, x), atol=1e-6)


UNMADE = {
    "LoRA inside": (lora_inside, {"exclude": ".*lora.*"}),
    "a layer in a configuration": (lambda: chain(Given(layers.Dense(12))), {}),
    "forgetful": (lambda: chain(Forgetful(units=9)), {}),
}


@pytest.mark.parametrize("name", UNMADE)
def test_save_never_leaves_a_file_that_load_refuses(name, tmp_path):
    build, how = UNMADE[name]
    model = smh.prune(build(), 0.5, **how)
    before = predictions(model, np.ones((2, 12), "float32"))
    with pytest.raises(ArgumentError, match=r"cannot be made again .*smh\.load_weights\(build"):
        smh.save(model, tmp_path / "m.smh")
    if name != "LoRA inside":  # which Keras merges, where the layer is not treated
        with pytest.raises(ArgumentError, match=r"cannot be made again .*model\.save_weights"):
            model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())
    smh.save(model, tmp_path / "m.smh", architecture=False)
    again = smh.load_weights(build(), tmp_path / "m.smh")
    found = predictions(again, np.ones((2, 12), "float32"))
    np.testing.assert_allclose(found, before, atol=1e-6)


def test_looking_whether_a_file_can_be_loaded_leaves_no_trace(tmp_path):
    def after(look):
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        model = STATEFUL["nested"][0]()
        if look:
            smh.save(model, tmp_path / "m.smh")
            model.save(tmp_path / "m.keras")
        fresh = layers.Dense(3)
        fresh.build((None, 2))
        return fresh.name, np.array(keras.ops.convert_to_numpy(fresh.kernel))

    (name, value), (other_name, other_value) = after(False), after(True)
    assert name == other_name
    np.testing.assert_array_equal(value, other_value)


def test_a_message_names_what_has_to_be_imported(tmp_path):
    model = chain(with_table())
    smh.save(model, tmp_path / "m.smh")
    smh.prune(model, 0.5).save(tmp_path / "p.keras")
    script = f"""
import keras, smh
for load, name in ((smh.load, "m.smh"), (keras.saving.load_model, "p.keras")):
    try:
        load({str(tmp_path)!r} + "/" + name)
    except smh.errors.SmhError as error:
        assert len(str(error)) < 700, len(str(error))
        print(error)
"""
    found = fresh_process.run(script)
    lines = [line for line in found.stdout.splitlines() if line]
    assert len(lines) == 2, found.stderr[-2000:]
    for line in lines:
        assert "'Table' of the module 'stateful_models' is not known here" in line
        assert "custom_objects={'Table': Table}" in line


@keras.saving.register_keras_serializable(package="stateful")
class Backbone(keras.Model):
    """Kept in folders, as those of Keras-Hub: the class is looked up before anything is made."""

    def __init__(self, width=16, **kwargs):
        x = keras.Input((12,))
        y = layers.Dense(width, activation="relu", name="first")(x)
        super().__init__(x, layers.Dense(3, name="second")(y), **kwargs)
        self.width = width

    def get_config(self):
        return {"name": self.name, "trainable": self.trainable, "width": self.width}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def save_to_preset(self, folder):
        config = keras.saving.serialize_keras_object(self)
        for name in ("compile_config", "build_config"):
            config.pop(name, None)
        (folder / "config.json").write_text(json.dumps(config))
        self.save_weights(folder / "model.weights.h5")

    @classmethod
    def from_preset(cls, folder):
        config = json.loads((folder / "config.json").read_text())
        found = keras.saving.get_registered_object(config["registered_name"])
        if not issubclass(found, cls):
            raise ValueError(f"has type {found.__name__} which is not a subclass of {cls.__name__}")
        model = keras.saving.deserialize_keras_object(config)
        model.load_weights(folder / "model.weights.h5")
        return model

    def enable_lora(self, rank):
        for layer in self.layers:
            layer.trainable = False
            if hasattr(layer, "enable_lora"):
                layer.enable_lora(rank)


@pytest.mark.parametrize("treatment", ["compress", "prune", "cluster"])
def test_a_preset_of_a_compressed_backbone_is_one_of_its_class(treatment, tmp_path):
    x = np.ones((2, 12), "float32")
    model = TREATMENTS[treatment](Backbone(width=20))
    model.save_to_preset(tmp_path)
    smh.save(model, tmp_path / "m.smh")
    for again in (
        Backbone.from_preset(tmp_path),
        smh.load(tmp_path / "m.smh"),
        saved_by_keras(model, tmp_path / "m.keras"),
        copy.deepcopy(model),
    ):
        assert isinstance(again, Backbone) and again.width == 20
        assert len(again.trainable_variables) == len(model.trainable_variables)
        np.testing.assert_array_equal(predictions(again, x), predictions(model, x))
    assert type(smh.materialize(model)) is Backbone


def test_a_preset_that_could_not_be_read_is_not_written(tmp_path):
    model = smh.prune(Backbone(), 0.5)
    model.width = 7
    with pytest.raises(ArgumentError, match="cannot be made again"):
        model.save_to_preset(tmp_path)
    assert not list(tmp_path.iterdir())


def test_lora_of_a_whole_compressed_model_is_refused_before_anything_is_frozen():
    model = smh.compress(Backbone(), 0.5)
    with pytest.raises(VirtualVariableError, match="enable_lora"):
        model.enable_lora(2)
    assert all(layer.trainable for layer in model.layers)
