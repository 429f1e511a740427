"""Keras' own formats: whole models, checkpoints, weights. What comes back, what is refused."""

import copy
import json
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import fresh_process
import keras
import numpy as np
import pytest
from keras import layers
from models import mlp, numpy_of
from saved_models import MODELS, Branches, behaviour, compiled

import smh
from smh.errors import ArgumentError, UnbuiltModelError, VirtualVariableError
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs TensorFlow"
)
WORKER = Path(__file__).with_name("saved_models.py")


def new_process(*arguments):
    done = fresh_process.run(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def stored_bytes(model):
    """Bytes of what a file has to hold: every variable of the model and of its optimizer."""
    variables = [*model.variables, *(model.optimizer.variables if model.compiled else ())]
    kept = {id(v._cached) for v in virtual_variables(model)}
    return sum(numpy_of(v.value).nbytes for v in variables if id(v) not in kept)


def check_in_a_new_process(folder, names, compile_them):
    here = {}
    for name in names:
        keras.utils.clear_session()
        keras.utils.set_random_seed(7)
        model = MODELS[name]()
        if compile_them(name):
            compiled(model, name)
        path = folder / f"{name}.keras"
        model.save(path)
        assert path.stat().st_size <= 1.02 * stored_bytes(model) + 128_000, name
        if name.startswith("deployed"):  # the mode is the process's choice, not the file's
            smh.deploy(model, "train")
        here.update(behaviour(model, name))
    new_process(WORKER, folder)
    there = {k.replace("|", "/"): v for k, v in np.load(folder / "loaded.npz").items()}
    assert set(there) == set(here)
    for name in here:
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)


def is_of_a_table(name):
    return name.startswith(("case ", "parametrization "))


@pytest.mark.slow
def test_every_model_predicts_the_same_in_a_new_process(tmp_path):
    check_in_a_new_process(tmp_path, filter(is_of_a_table, MODELS), lambda name: False)


# What a file has to keep beside weights; the other special models take as long: `make test-all`.
FEW = ("regularised", "frozen layer", "compressed inside", "shared layer of two", "lambda", "mixed")
SPECIAL = tuple(name for name in MODELS if not is_of_a_table(name))


@pytest.mark.parametrize("names", [FEW, pytest.param(SPECIAL, marks=pytest.mark.slow)], ids=len)
def test_special_models_go_on_as_if_they_had_never_stopped(names, tmp_path):
    check_in_a_new_process(tmp_path, names, lambda name: "cached" not in name)


@pytest.mark.slow
def test_every_model_goes_on_as_if_it_had_never_stopped(tmp_path):
    check_in_a_new_process(tmp_path, filter(is_of_a_table, MODELS), lambda name: True)


def data(count=64):
    x = np.random.default_rng(0).normal(size=(count, 12)).astype("float32")
    return x, x[:, :3] ** 2


def trained(fraction=0.5, seed=1, epochs=1):
    model = smh.compress(mlp(), fraction, seed=seed)
    model.compile("adam", "mse")
    model.fit(*data(), epochs=epochs, verbose=0, shuffle=False)
    return model


def same_predictions(first, second, x=None):
    x = data()[0] if x is None else x
    np.testing.assert_array_equal(numpy_of(first(x)), numpy_of(second(x)))


def same_training(first, second):
    losses = [m.fit(*data(), epochs=2, verbose=0, shuffle=False).history for m in (first, second)]
    assert losses[0] == losses[1]


def test_the_loaded_object_is_what_the_live_one_was(tmp_path):
    x = keras.Input((12,))
    y = layers.Dense(24, activation="relu", name="hidden")(x)
    model = smh.compress(keras.Model(x, layers.Dense(3, name="out")(y)), 0.5, seed=1)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert type(again) is type(model) and type(again).__name__ == "Functional"
    assert isinstance(again, keras.models.Model) and isinstance(again.layers[1], layers.Dense)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert again.get_layer("hidden").get_config()["units"] == 24
    lines: list = []
    for m in (model, again):
        m.summary(print_fn=lines.append)
    assert lines[0] == lines[1]
    # On PyTorch no two pools of a process have one name (`torch_storage.unique_name`).
    paths, paths_again = (
        [re.sub("(Pool)_[0-9]+/", r"\1/", v.path) for v in m.variables] for m in (model, again)
    )
    assert paths_again == paths
    again.save(tmp_path / "m2.keras")  # and once more
    same_predictions(model, keras.saving.load_model(tmp_path / "m2.keras"))
    plain = smh.materialize(again)
    assert type(plain) is type(keras.Model(x, y)) and not virtual_variables(plain)
    with pytest.raises(ValueError, match="its weights are computed already"):
        smh.compress(again, 0.5)


def test_import_smh_is_enough_in_either_order(tmp_path):
    trained().save(tmp_path / "m.keras")
    for imports in ("import smh, keras", "import keras, smh"):
        code = f"{imports}; keras.saving.load_model(r'{tmp_path / 'm.keras'}')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]


def test_without_compiling_and_from_another_optimizer(tmp_path):
    model = trained()
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    assert not again.compiled
    same_predictions(model, again)
    again.compile("sgd", "mse")
    again.fit(*data(), verbose=0)


def test_copies():
    model = trained()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same_predictions(model, again)
        assert again is not model
    before = model.get_weights()
    same_training(copy.deepcopy(model), again)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not virtual_variables(smh.materialize(model))


def test_the_architecture_alone():
    model = trained()
    again = keras.models.model_from_json(model.to_json())
    assert [v.shape for v in again.variables] == [v.shape for v in model.variables]
    assert np.std(numpy_of(again(data()[0]))) > 0  # it can be trained as it is
    again.set_weights(model.get_weights())
    same_predictions(model, again)
    again = type(model).from_config(model.get_config())
    again.set_weights(model.get_weights())
    same_predictions(model, again)
    lone = smh.compress(keras.Sequential([keras.Input((12,)), layers.Dense(24)]), 0.5)
    assert virtual_variables(keras.models.clone_model(lone))


CLONED = {
    "pruned": lambda: smh.prune(mlp(), 0.5),
    "clustered": lambda: smh.cluster(mlp(), 4),
    "quantized": lambda: smh.quantize_weights(mlp(), 4),
    "shrunk": lambda: shrunk(mlp()),
}


def shrunk(model):
    smh.shrink(model, quality=50)
    return model


@pytest.mark.parametrize("way", CLONED)
def test_a_clone_without_a_pool_is_the_same_once_it_has_the_weights(way):
    """What `docs/how_to/export.md` says."""
    model, x = CLONED[way](), data()[0]
    clone = keras.models.clone_model(model)
    assert not np.allclose(numpy_of(clone(x)), numpy_of(model(x)))
    clone.set_weights(model.get_weights())
    assert np.array_equal(numpy_of(clone(x)), numpy_of(model(x)))


ALL = ".*"
SEQUENCES = {
    "biases too, then kernels": [(smh.prune, ALL), (smh.cluster, "kernel$")],
    "biases too, then shrunk": [(smh.prune, ALL), ("shrink", "kernel$")],
    "one of two of a shape": [(smh.prune, ALL), ("shrink", "simple_rnn_cell/kernel")],
    "biases first": [(smh.quantize_weights, "bias$"), (smh.prune, "kernel$")],
    "biases again": [(smh.cluster, ALL), (smh.cluster, "bias$")],
    "one frozen": [(smh.prune, ALL), ("freeze", None), (smh.cluster, "recurrent_kernel$")],
    "beside a snapshot": [
        (smh.compress, "kernel$"),
        (smh.prune, "bias$"),
        ("freeze", None),
        (smh.cluster, "bias$"),
    ],
    "behind a snapshot": [(smh.compress, "kernel$"), ("freeze", None), (smh.prune, "bias$")],
    "beside a pool": [(smh.compress, "kernel$"), (smh.prune, "bias$"), (smh.cluster, "bias$")],
}


def rounded_in(steps):
    x = keras.Input((6, 8))
    model = keras.Model(x, layers.Dense(8, name="out")(layers.SimpleRNN(8, name="rnn")(x)))
    for step, where in steps:
        if step == "freeze":
            model.get_layer("rnn").cell.kernel.trainable = False
        elif step == "shrink":
            smh.shrink(model, quality=40, apply_to=where)
        else:
            number = 0.5 if step in (smh.prune, smh.compress) else 3
            model = step(model, number, apply_to=where)
    return model


def in_order(model):
    """Paths of what is trained and what is not, without the numbers of seeds and pools."""
    both = model.trainable_variables, model.non_trainable_variables
    return [[re.sub("_[0-9]+/", "/", v.path) for v in every] for every in both]


@pytest.mark.parametrize("name", SEQUENCES)
def test_variables_are_in_the_order_of_a_model_made_again(name, tmp_path):
    """Optimizers and `set_weights` go by the order of variables, whatever was done to the model."""
    model = rounded_in(SEQUENCES[name])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6, 8)).astype("float32"), rng.normal(size=(16, 8))
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert in_order(again) == in_order(model)
    assert len(again.optimizer.variables) == len(model.optimizer.variables) > 2
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        assert np.array_equal(numpy_of(a), numpy_of(b))
    smh.save(model, tmp_path / "model.smh")
    loaded = smh.load(tmp_path / "model.smh")
    assert in_order(loaded) == in_order(model)
    loaded.set_weights(model.get_weights())
    same_predictions(model, loaded, x)
    model.fit(x, y, verbose=0, shuffle=False)
    again.fit(x, y, verbose=0, shuffle=False)
    same_predictions(model, again, x)


AROUND = {
    "pruned": lambda m: smh.prune(m, 0.8),
    "clustered": lambda m: smh.cluster(m, 1),
    "compressed": lambda m: smh.compress(m, 0.3),
    "other bits": lambda m: smh.quantize_weights(smh.quantize_weights(m, 8), 2),
    "factors": lambda m: smh.quantize_factors(smh.compress(m, 0.5), 2),
}


@pytest.mark.parametrize("way", AROUND)
def test_a_model_around_the_one_that_changes_is_traced_anew(way):
    """Its compiled functions and its optimizer are of the weights that were."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 12)).astype("float32"), rng.normal(size=(16, 1))
    inputs = keras.Input((12,))
    inner = keras.Sequential([keras.Input((12,)), layers.Dense(24, "relu"), layers.Dense(8)])
    outer = keras.Model(inputs, layers.Dense(1)(inner(inputs)))
    outermost = keras.Sequential([keras.Input((12,)), outer])
    for model in (outer, outermost):
        model.compile("adam", "mse")
        model.fit(x, y, verbose=0)
        model.predict(x, verbose=0)
    AROUND[way](inner)
    for model in (outer, outermost):
        expected = numpy_of(model(x))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    before = numpy_of(outermost(x))
    outermost.fit(x, y, verbose=0)
    assert np.abs(numpy_of(outermost(x)) - before).max() > 0
    np.testing.assert_allclose(outermost.predict(x, verbose=0), numpy_of(outermost(x)), atol=1e-5)


def test_a_shared_pool_is_loaded_as_often_as_one_likes(tmp_path):
    """On PyTorch the second one has another name."""
    first = smh.compress(mlp(), 0.5)
    second = keras.Sequential(first.layers[-2:])
    second.build(first.layers[-2].input.shape)
    smh.save([first, second], tmp_path / "both.smh")
    for _ in range(2):
        again, other = smh.load(tmp_path / "both.smh")
        same_predictions(first, again)
        every = [*virtual_variables(again), *virtual_variables(other)]
        assert len({id(v.parametrization.source) for v in every}) == 1


def test_the_plain_model_is_exported_on_every_backend(tmp_path):
    smh.export(smh.compress(mlp(), 0.5), tmp_path / "plain.keras", "keras")
    assert not virtual_variables(keras.saving.load_model(tmp_path / "plain.keras"))


def test_what_cannot_work_says_what_does(tmp_path):
    model = smh.compress(mlp(), 0.5)
    with pytest.raises(ValueError, match=r"shares its pool.*copy\.deepcopy"):
        keras.models.clone_model(model)  # layer by layer
    path = tmp_path / "old.h5"
    path.write_bytes(b"as it was")
    with pytest.raises(VirtualVariableError, match=r"HDF5.*model\.keras"):
        model.save(path)
    assert path.read_bytes() == b"as it was"
    with pytest.raises(VirtualVariableError, match="HDF5"):
        keras.saving.save_model(model, tmp_path / "other.h5")


class Unregistered(smh.Modifier):
    def apply(self, tensor, parts):
        return tensor


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(smh.Modifier):
    def __init__(self, power):
        self.power = power

    def apply(self, tensor, parts):
        return tensor


@keras.saving.register_keras_serializable(package="tests")
class Power(Forgetful):
    def parts(self, spec):
        return {"gain": np.float32(spec.initial_std())}

    def apply(self, tensor, parts):
        return parts["gain"] * tensor**self.power

    def get_config(self):
        return {"power": self.power}


def test_a_modifier_without_a_name_is_refused_before_the_file_is_touched(tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(b"as it was")
    for modifier, message in (
        (lambda t: t, r"<lambda>.*register_keras_serializable"),
        (Unregistered(), r"'Unregistered'.*register_keras_serializable"),
        (Forgetful(3), r"Forgetful.*get_config"),
    ):
        model = smh.compress(mlp(), 0.5, modifier=modifier)
        with pytest.raises(ValueError, match=message):
            model.save(path)
        assert path.read_bytes() == b"as it was"
        model.save_weights(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("modifier", [Power(3), keras.activations.tanh, keras.ops.sin])
def test_registered_modifiers_and_functions_of_keras(modifier, tmp_path):
    model = smh.compress(mlp(), 0.5, modifier=modifier, seed=1)
    model.save(tmp_path / "m.keras")
    same_predictions(model, keras.saving.load_model(tmp_path / "m.keras"))


def test_model_checkpoint(tmp_path):
    model = smh.compress(mlp(), 0.5, seed=1)
    model.compile("adam", "mse")
    kept = [
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
    ]
    model.fit(*data(), epochs=3, verbose=0, shuffle=False, callbacks=kept)
    again = keras.saving.load_model(tmp_path / "2.keras")
    again.fit(*data(), epochs=1, verbose=0, shuffle=False)
    same_predictions(model, again)
    rebuilt = smh.compress(mlp(), 0.5, seed=2)
    rebuilt.compile("adam", "mse")
    rebuilt.optimizer.build(rebuilt.trainable_variables)  # else Keras does not load its state
    rebuilt.load_weights(tmp_path / "2.weights.h5")
    rebuilt.fit(*data(), epochs=1, verbose=0, shuffle=False)
    same_predictions(model, rebuilt)


def test_backup_and_restore(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    def run(*more):
        keras.utils.set_random_seed(3)
        model = smh.compress(mlp(), 0.5, seed=1)
        model.compile("adam", "mse")
        model.fit(*data(), epochs=4, verbose=0, shuffle=False, callbacks=list(more))
        return model

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(InterruptedError):
        run(backup(), Stop())
    same_predictions(run(), run(backup()))


@tensorflow_only
def test_tensorflow_checkpoint_with_the_optimizer(tmp_path):
    import tensorflow as tf

    model, again = trained(seed=1), trained(seed=2)
    saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    path = saved.write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(model=again, optimizer=again.optimizer).read(path).assert_consumed()
    same_training(model, again)


@tensorflow_only
def test_a_model_built_in_a_creator_scope(tmp_path):
    import tensorflow as tf

    def build():
        pool = smh.ProductVariablePool(True, 400, 0.5, seed=1)
        factory = smh.VariableFactory(pool, ".*", smh.variable_factory.variable_scale_modifier)
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            model = mlp()
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    model = build()
    model.fit(*data(), verbose=0, shuffle=False)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert len(virtual_variables(again)) == 4
    rebuilt = build()
    rebuilt.load_weights(tmp_path / "m.weights.h5")
    copied = copy.deepcopy(model)
    same_training(model, again)
    same_training(copied, rebuilt)


@tensorflow_only
def test_tensorboard_writes_the_graph(tmp_path):
    import tensorflow as tf
    from keras.src.callbacks.tensorboard import keras_model_summary

    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        assert keras_model_summary("keras", smh.compress(mlp(), 0.5), step=0)
    assert b"smh>Compressed" in b"".join(p.read_bytes() for p in tmp_path.rglob("events*"))


LATER = """
import sys, smh, keras, numpy as np
model = keras.saving.load_model(sys.argv[1] + "/lenet.keras")
digits = smh.datasets.digits()
first = model.evaluate(digits.x_test, digits.y_test, verbose=0)
history = model.fit(digits.x_train, digits.y_train, 64, 2, verbose=0, shuffle=False).history
last = model.evaluate(digits.x_test, digits.y_test, verbose=0)
np.savez(sys.argv[1] + "/later.npz", first=first, loss=history["loss"], last=last)
"""


@pytest.mark.slow
def test_lenet_on_digits_goes_on_in_another_process(tmp_path):
    digits = smh.datasets.digits()
    model = smh.compress(smh.zoo.lenet_5(), 0.1, seed=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    model.fit(digits.x_train, digits.y_train, 64, 2, verbose=0, shuffle=False)
    model.save(tmp_path / "lenet.keras")
    assert (tmp_path / "lenet.keras").stat().st_size <= 1.02 * stored_bytes(model) + 128_000
    first = model.evaluate(digits.x_test, digits.y_test, verbose=0)
    history = model.fit(digits.x_train, digits.y_train, 64, 2, verbose=0, shuffle=False).history
    last = model.evaluate(digits.x_test, digits.y_test, verbose=0)
    new_process(LATER, tmp_path)
    later = np.load(tmp_path / "later.npz")
    np.testing.assert_array_equal(later["first"], first)
    np.testing.assert_array_equal(later["loss"], history["loss"])
    np.testing.assert_array_equal(later["last"], last)
    assert last[1] > 0.9


def test_files_of_the_dense_model_are_refused_by_name(tmp_path):
    model = smh.compress(mlp(), 0.5)
    mlp().save_weights(tmp_path / "dense.weights.h5")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"stored dense.*before.*smh\.compress"):
        model.load_weights(tmp_path / "dense.weights.h5")
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def rewritten(path, change):
    """The file at `path`, with another configuration."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    config = json.loads(members["config.json"])
    change(config["config"]["smh"])
    members["config.json"] = json.dumps(config).encode()
    target = path.with_name("changed.keras")
    with zipfile.ZipFile(target, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return target


def weight(own):
    return own["compressed"]["weights"][0]


CHANGES = {
    "no description": (lambda own: own.pop("compressed"), "'layer' and 'compressed'"),
    "no layer": (lambda own: own.update(layer=3), "'layer' and 'compressed'"),
    "a list": (lambda own: own["compressed"].update(weights={}), "'weights', of type list"),
    "a number": (lambda own: own["compressed"]["weights"].append(3), "needs 'path'"),
    "twice": (lambda own: own["compressed"]["weights"].append(weight(own)), "more than once"),
    "no such layer": (lambda own: weight(own).update(layers=[99]), "layer 99.*has 4 layers"),
    "no owner": (lambda own: weight(own).update(layers=[], places=[]), "no layer"),
    "no such variable": (lambda own: weight(own).update(variable=7), "as variable 7"),
    "a bias": (lambda own: weight(own).update(variable=1), "shape .12, 24.*has .24"),
    "no place": (lambda own: weight(own).update(places=[-1]), "malformed places"),
    "shape": (lambda own: weight(own).update(shape=[2, 3]), "with shape .2, 3."),
    "dtype": (lambda own: weight(own).update(dtype="int8"), "dtype int8"),
    "no such pool": (lambda own: weight(own).update(pool=5), "pool 5.*1 pools"),
    "no pool": (lambda own: weight(own).update(pool=None), "both a pool and a slot"),
    "slot": (lambda own: weight(own)["slot"].update(begin=10**9), "does not lie in a pool"),
    "slot length": (lambda own: weight(own)["slot"].update(length=2), "its slot is of 2"),
    "parametrization": (
        lambda own: weight(own)["parametrization"].update({"class": "builtins>eval"}),
        "parametrization 'builtins>eval' is not known",
    ),
    "another class": (
        lambda own: weight(own)["parametrization"].update({"class": "smh>HashVariablePool"}),
        "is registered with Keras, but is no parametrization",
    ),
    "modifier": (
        lambda own: weight(own)["parametrization"]["config"].update(modifier=None),
        "modifier must be described by",
    ),
    "part": (lambda own: weight(own)["parts"][0].update(shape=[3]), "has variables"),
    "part dtype": (lambda own: weight(own)["parts"][0].update(dtype="text"), "no dtype"),
    "huge part": (lambda own: weight(own)["parts"][0].update(shape=[10**12]), "too large"),
    "pool class": (lambda own: own["compressed"]["pools"][0].pop("class"), "pool None"),
    "pool": (
        lambda own: own["compressed"]["pools"][0]["config"].update(product={"kind": "cube"}),
        "kind matrix, blocks, kronecker, hash",
    ),
    "pool sides": (
        lambda own: own["compressed"]["pools"][0]["config"]["product"].update(rows=-1),
        "'rows' of a pool must be a whole number",
    ),
    "pool position": (
        lambda own: own["compressed"]["pools"][0]["config"].update(position=-1),
        "cannot go on from",
    ),
    "pool config": (
        lambda own: own["compressed"]["pools"][0]["config"].pop("factors"),
        "cannot be made from config",
    ),
    "pools": (lambda own: own.update(pools=[]), "has 1 pools, got 0"),
    "random state": (lambda own: own.update(random_state=[[1]]), "random generators"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_garbled_configuration_says_where(name, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "whole.keras"
    if not path.exists():
        smh.compress(mlp(), 0.5, seed=1).save(path)
    change, message = CHANGES[name]
    with pytest.raises(ValueError, match=message):
        keras.saving.load_model(rewritten(path, change))


def test_a_model_whose_build_misses_a_layer_is_named(tmp_path):
    class Lazy(Branches):
        def build(self, input_shape):
            self.branch.build(input_shape)

    keras.saving.register_keras_serializable(package="tests")(Lazy)
    model = Lazy(layers.Dense(12))
    model(np.zeros((1, 12), "float32"))
    smh.compress(model, 0.5)
    with pytest.raises(ArgumentError, match=r"'dense.*' is not built then"):
        model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())
    with pytest.raises((ValueError, UnbuiltModelError), match=r"not built.*needs a build"):
        keras.models.model_from_json(model.to_json())
