"""`smh train`: settings, the run directory, and a run that is killed and goes on."""

import dataclasses
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

from smh import cli
from smh.errors import ArgumentError, ArtifactError, DivergedError
from smh.training import RunDirectory, TrainingConfig, progress
from smh.training.checkpoints import (
    Place,
    last_checkpoint,
    load_checkpoint,
    load_metrics,
    load_torch_state,
    save_checkpoint,
)
from smh.training.divergence import check_weights
from smh.training.every import Every
from smh.training.keeping import KeepState
from smh.training.metrics import draw_curves, read_metrics, write_metrics
from smh.training.session import train
from smh.virtual_variable import seen, virtual_variables
from smh.virtual_variable.inside_keras.random_state import random_state, torch_state

ROOT = Path(__file__).parent.parent
TINY = ["--model", "lenet5", "--data", "digits", "--fraction", "0.1", "--batch-size", "256"]


def test_settings_come_back_from_json(tmp_path):
    config = TrainingConfig("lenet_5", "digits", fraction=0.1, bits=4, l2=1e-5, validation=100)
    config.write(tmp_path / "c.json")
    assert TrainingConfig.read(tmp_path / "c.json") == config
    numbers = {"epochs": np.int64(3), "l2": np.float32(0.5), "fraction": np.float64(0.1)}
    TrainingConfig("lenet_5", "digits", **numbers).write(tmp_path / "n.json")
    found = TrainingConfig.read(tmp_path / "n.json")
    assert (found.epochs, found.l2, found.fraction) == (3, 0.5, 0.1)


@pytest.mark.parametrize("epochs, bits_from", [(1, 0), (2, 1), (3, 2), (4, 2), (10, 6), (20, 12)])
def test_the_last_epoch_at_least_is_rounded(epochs, bits_from):
    config = TrainingConfig("lenet_5", "digits", bits=4, epochs=epochs)
    assert config.bits_from == bits_from < epochs
    assert TrainingConfig("lenet_5", "digits", epochs=epochs).bits_from == epochs


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1", "is not JSON"),
        ("[1]", "must hold a JSON object"),
        ('{"model": "m"}', "'data' is missing"),
        ('{"model": "m", "data": "d", "epoch": 1}', "no setting 'epoch'; did you mean 'epochs'"),
        ('{"model": "m", "data": "d", "epochs": 1.5}', "epochs must be a whole number.*got 1.5"),
        ('{"model": "m", "data": "d", "epochs": true}', "epochs must be a whole number"),
        ('{"model": "m", "data": "d", "fraction": 2}', "fraction must be a number above 0"),
        ('{"model": "m", "data": "d", "l2": NaN}', "l2 must be a number, at least 0, got nan"),
        ('{"model": "m", "data": "d", "validation": 1.5}', "validation must be a share below 1"),
        ('{"model": 3, "data": "d"}', "model must be a name or a file, got 3"),
    ],
)
def test_settings_that_cannot_work_are_named(tmp_path, text, message):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ArgumentError, match=rf"c\.json.*{message}"):
        TrainingConfig.read(tmp_path / "c.json")


def test_metrics_keep_every_digit(tmp_path):
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-17}]
    write_metrics(rows, tmp_path / "m.csv")
    assert read_metrics(tmp_path / "m.csv") == rows


def test_figures_that_are_not_finite_are_no_numbers_in_json(tmp_path):
    run = RunDirectory(tmp_path)
    run.finish({"test_loss": math.nan, "test_mae": math.inf, "test_images": 3})
    found = json.loads(run.result_file.read_text(), parse_constant=pytest.fail)
    assert found == {"test_loss": None, "test_mae": None, "test_images": 3}
    assert math.isnan(run.result()["test_loss"]) and run.result()["test_images"] == 3


DIVERGING = {
    "train --model net.keras --data x.npz --epochs 3 --peak-rate 1e30 --out run": "loss of epoch 1",
    "train --resume --out run": "loss of epoch 1",
    "prune net.keras --sparsity 0.5 --then-train 1 --peak-rate 1e30 --data x.npz --out p.keras": (
        "holds NaN or infinite"
    ),
}


def test_a_run_that_diverged_is_an_error_and_leaves_no_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    np.savez("x.npz", x=random.random((300, 6), "float32"), y=np.arange(300) % 3)
    dense = [keras.layers.Dense(9, "relu"), keras.layers.Dense(9, "relu"), keras.layers.Dense(3)]
    keras.Sequential([keras.Input((6,)), *dense]).save("net.keras")
    run = RunDirectory("run")
    for line, message in DIVERGING.items():
        assert cli.main(line.split()) == 1, line
        said = capsys.readouterr().err.splitlines()[-1]
        assert "training diverged: " in said and message in said and "--peak-rate" in said
        assert run.is_run and not run.is_complete
        assert not run.model_file.exists() and not run.artifact_file.exists()
        assert last_checkpoint(run.checkpoints)[1] == Place()
    assert not Path("p.keras").exists()


def test_weights_that_diverged_in_the_last_step_are_an_error():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    check_weights(model)
    model.layers[0].bias.assign([0.0, math.inf])
    with pytest.raises(DivergedError, match="bias holds NaN or infinite"):
        check_weights(model)


@pytest.mark.parametrize("broken", ["loss", "weights"])
@pytest.mark.parametrize("when", ["within an epoch", "after it"])
def test_no_state_that_diverged_takes_the_place_of_a_good_one(when, broken, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    run = RunDirectory(tmp_path)
    keeps = KeepState(run, [], Every(steps=1), None, [])
    keeps.set_model(model), keeps.set_params({"steps": 5})
    keeps.on_train_batch_end(0, {"loss": 1.0})
    if broken == "weights":  # by the last step, of which the loss does not know
        model.layers[0].bias.assign([0.0, math.inf])
    logs = {"loss": math.nan if broken == "loss" else 1.0}
    with pytest.raises(DivergedError, match="training diverged: .* Such a state is not kept"):
        if when == "after it":
            keeps.on_epoch_end(0, logs)
        else:
            keeps.on_train_batch_end(1, logs)
    path, place = last_checkpoint(run.checkpoints)
    check_weights(load_checkpoint(path))
    assert place == Place(0, 1) and not run.metrics_file.exists()


def own_arrays():
    random = np.random.default_rng(0)
    return {"x": random.random((90, 6), "float32"), "y": np.arange(90) % 3}


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_model_of_few_bits_is_rounded_however_few_the_epochs(epochs, bits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", **own_arrays())
    dense = [keras.layers.Dense(9, "relu"), keras.layers.Dense(3)]
    keras.Sequential([keras.Input((6,)), *dense]).save("net.keras")
    run = RunDirectory("run")
    config = TrainingConfig("net.keras", "x.npz", fraction=0.5, bits=bits, epochs=epochs)
    train(config, run, verbose=0)
    model = keras.saving.load_model(run.model_file)
    factors = {v.parametrization.source for v in virtual_variables(model)}.pop().core_variables
    values = [np.unique(keras.ops.convert_to_numpy(seen(factor))).size for factor in factors]
    assert (max(values) <= 15) == (bits == 4)


@pytest.mark.parametrize("count", [3, 5])
def test_examples_too_few_to_hold_any_out_are_told_before_a_run_begins(count, tmp_path):
    np.savez(tmp_path / "few.npz", **{key: array[:count] for key, array in own_arrays().items()})
    dense = [keras.layers.Dense(9, "relu"), keras.layers.Dense(3)]
    keras.Sequential([keras.Input((6,)), *dense]).save(tmp_path / "net.keras")
    config = TrainingConfig(str(tmp_path / "net.keras"), str(tmp_path / "few.npz"), epochs=1)
    run = RunDirectory(tmp_path / "run")
    message = f"few has {count - 1} examples to train on, and validation=0.1 holds none.*--valid"
    with pytest.raises(ArgumentError, match=message):
        train(config, run, verbose=0)
    assert not run.is_run
    train(dataclasses.replace(config, validation=0.0), run, verbose=0)


@pytest.mark.parametrize("count", [1, 2])
def test_examples_too_few_to_test_on_are_told_as_such(count, tmp_path):
    np.savez(tmp_path / "few.npz", **{key: array[:count] for key, array in own_arrays().items()})
    config = TrainingConfig("lenet_5", str(tmp_path / "few.npz"), epochs=1)
    with pytest.raises(ArgumentError, match=f"too few examples to keep some to test on, {count}: "):
        train(config, RunDirectory(tmp_path / "run"), verbose=0)


CHANGED = {
    "one number": lambda arrays: arrays["x"].__setitem__((50, 2), 0.5),
    "two labels": lambda arrays: arrays["y"].__setitem__([0, 1], [1, 0]),
    "fewer": lambda arrays: arrays.update(x=arrays["x"][:-1], y=arrays["y"][:-1]),
    "another type": lambda arrays: arrays.update(x=arrays["x"].astype("float64")),
    "in another order": lambda arrays: arrays.update(x=arrays["x"][::-1], y=arrays["y"][::-1]),
}


def test_a_run_goes_on_with_its_own_data_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", **own_arrays())
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]).save("net.keras")
    config, run = TrainingConfig("net.keras", "x.npz", epochs=2), RunDirectory("run")

    def stopped(self, epoch, logs=None):
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(KeepState, "on_epoch_end", stopped)
        train(config, run, verbose=0)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for change in CHANGED.values():
        change(arrays := own_arrays())
        np.savez("x.npz", **arrays)
        with pytest.raises(ArgumentError, match="have changed since it began: its .* part was "):
            train(config, run, resume=True, verbose=0)
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    run.data_file.unlink()  # as in runs of older versions
    assert train(config, run, resume=True, verbose=0)["test_images"] == 18


@pytest.mark.parametrize("member", ["model.keras", "random_state.json", "metrics.json"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99, None, "flipped"])
def test_a_damaged_checkpoint_is_told_with_the_way_out(member, share, tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 6)), np.zeros((4, 3)), verbose=0)
    path = save_checkpoint(model, tmp_path / "run" / "checkpoints", Place(0, 1))
    load_checkpoint(path), load_metrics(path)
    content = (path / member).read_bytes()
    if share is None and member != "metrics.json":  # which is missing between two epochs
        (path / member).unlink()
    elif share == "flipped":  # one byte of the weights; of JSON, its first bracket
        at = len(content) // 2 if member == "model.keras" else 0
        (path / member).write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    else:
        (path / member).write_bytes(content[: int((share or 0) * len(content))])
    with pytest.raises(ArtifactError, match=r"is damaged: .*smh train --config .* --force` begins"):
        load_checkpoint(path), load_metrics(path)


def whole_checkpoints():
    """Layers without which a whole checkpoint cannot be loaded, and what is said of each."""

    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    @keras.saving.register_keras_serializable("test_training")
    class Picky(Unknown):
        @classmethod
        def from_config(cls, config):
            raise KeyError("the table is not there")

    return {
        "unknown": (Unknown, "Could not locate class 'Unknown'. .*register_keras_serializable"),
        "picky": (Picky, "the table is not there"),
    }


@pytest.mark.parametrize("kind", ["unknown", "picky"])
def test_a_whole_checkpoint_that_needs_more_is_not_called_damaged(kind, tmp_path):
    layer, message = whole_checkpoints()[kind]
    dense = [keras.layers.Dense(3, name=f"a_long_name_that_fills_a_message_{n}") for n in range(9)]
    model = keras.Sequential([keras.Input((6,)), *dense, layer()])
    model.compile("adam", "mse")
    path = save_checkpoint(model, tmp_path / "run" / "checkpoints", Place())
    with pytest.raises(ArtifactError, match=f"cannot be loaded: .*{message}") as told:
        load_checkpoint(path)
    assert not any(word in str(told.value) for word in ("damaged", "--force", "KERAS_BACKEND"))
    states = json.loads((path / "random_state.json").read_text())
    (path / "random_state.json").write_text(json.dumps({**states, "backend": "numpy"}))
    with pytest.raises(ArtifactError, match=r"another backend: set KERAS_BACKEND=numpy\.$"):
        load_checkpoint(path)


@pytest.mark.parametrize("older", [False, True])
def test_a_checkpoint_of_an_older_version_is_loaded(older, tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 6)), np.zeros((4, 3)), verbose=0)
    path = save_checkpoint(model, tmp_path / "run" / "checkpoints", Place())
    states = json.loads((path / "random_state.json").read_text())
    if older:  # the generators of the model alone
        (path / "random_state.json").write_text(json.dumps(states["model"]))
    assert states["model"] and random_state(load_checkpoint(path)) == states["model"]
    assert load_torch_state(path) == ([] if older else torch_state())


TORCH = ["AAAA", ["x"], ["é"], [1], None]
TORCH += [[""], ["AAAA"]] if keras.backend.backend() == "torch" else []


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("damaged", TORCH, ids=repr)
def test_damaged_states_of_generators_are_told(damaged, tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    path = save_checkpoint(model, tmp_path / "run" / "checkpoints", Place())
    states = json.loads((path / "random_state.json").read_text())
    (path / "random_state.json").write_text(json.dumps({**states, "torch": damaged}))
    before = torch_state()
    with pytest.raises(ArtifactError, match="is damaged"):
        load_torch_state(path)
    assert torch_state() == before


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    run = RunDirectory(tmp_path)
    for replace in (False, True):
        with pytest.raises(ArgumentError, match="exists and is no run directory"):
            run.check_is_free(replace)
    config = TrainingConfig("m", "d")
    run.begin(config)
    run.check_is_free(replace=True)
    with pytest.raises(ArgumentError, match="holds a run already. --resume"):
        run.check_is_free(replace=False)
    run.metrics_file.write_text("old")
    run.begin(config)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "config.json"}


def test_a_run_leaves_what_it_promises(tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["train", *TINY, "--epochs", "1", "--out", str(out)]) == 0
    names = {"config.json", "metrics.csv", "checkpoints", "model.keras", "model.smh"}
    names |= {"report.csv", "curves.png", "result.json"}
    assert {path.name for path in out.iterdir()} >= names
    printed = capsys.readouterr().out
    assert "training changes 42,600 numbers, the dense model has 431,080" in printed
    assert "epoch 1/1  loss" in printed
    rows = read_metrics(out / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1] and 0 <= rows[0]["val_accuracy"] <= 1
    result = json.loads((out / "result.json").read_text())
    assert cli.main(["evaluate", str(out)]) == 0
    assert f"accuracy  {result['test_accuracy']:.2%}" in capsys.readouterr().out
    assert cli.main(["train", *TINY, "--epochs", "1", "--out", str(out)]) == 2
    assert cli.main(["train", "--resume", "--out", str(out), "--epochs", "2"]) == 2
    assert "epochs=1, and epochs=2 is asked for" in capsys.readouterr().err


def process(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "smh", "train", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "text, every",
    [
        ("1m", Every(seconds=60)),
        ("0.5h", Every(seconds=1800)),
        ("90s", Every(seconds=90)),
        ("500steps", Every(steps=500)),
        ("epoch", Every()),
    ]
    + [(text, None) for text in ("5", "0s", "0steps", "1.5steps", "-1m", "often", "")],
)
def test_how_often_the_state_is_kept(text, every):
    if every is None:
        with pytest.raises(ArgumentError, match="takes a time .1m, 90s, 2h., a number of batches"):
            Every.read(text)
    else:
        assert Every.read(text) == every


class Stop(Exception):
    pass


def test_the_newest_place_is_where_a_run_goes_on(tmp_path):
    for name in ("epoch_0002", "epoch_0002_step_000010", "epoch_0002_step_000009", "partial", "x"):
        (tmp_path / name).mkdir()
    path, place = last_checkpoint(tmp_path)
    assert place == Place(2, 10) and path.name == place.name == "epoch_0002_step_000010"
    assert Place(2) < Place(2, 1) < Place(3) and Place(3).name == "epoch_0003"


@pytest.mark.slow
def test_a_run_stopped_within_an_epoch_goes_on_exactly_there(tmp_path, monkeypatch, capsys):
    """Three times: with float factors, with the last of them, and with rounded ones."""
    options = {"fraction": 0.1, "bits": 4, "epochs": 3, "batch_size": 16, "image_size": 8}
    config = TrainingConfig("lenet_300_100", "digits", limit=64, l2=1e-5, **options)
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    train(config, whole, verbose=0)
    keep = KeepState.on_train_batch_end
    places = []

    def stopped(self, batch, logs=None):
        keep(self, batch, logs)
        places.append((len(self._rows), self._skipped + batch + 1))
        if places[-1] in ((0, 3), (1, 2), (2, 1)) and places.count(places[-1]) == 1:
            raise Stop

    monkeypatch.setattr(KeepState, "on_train_batch_end", stopped)
    for resume in (False, True, True):
        with pytest.raises(Stop):
            train(config, cut, resume=resume, every=Every(steps=2), verbose=0)
    train(config, cut, resume=True, every=Every(steps=2))
    assert "goes on after epoch 2 of 3" in capsys.readouterr().out
    # What came after the last checkpoint is done again, and nothing else is.
    every = [(epoch, step) for epoch in range(3) for step in range(1, 5)]
    assert sorted(places) == sorted([*every, (0, 3), (2, 1)])
    assert cut.metrics_file.read_text() == whole.metrics_file.read_text()
    assert [path.name for path in cut.checkpoints.iterdir()] == ["epoch_0003"]
    same_weights(whole, cut)


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("place", [(0, 4), (1, 2)], ids=["after an epoch", "within one"])
def test_random_numbers_go_on_in_a_run_that_was_stopped(place, tmp_path, monkeypatch):
    """On PyTorch a dropout without a seed, as this one, draws from PyTorch's own generators."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.5)]
    flat = [keras.Input((8, 8, 1)), keras.layers.Flatten()]
    keras.Sequential([*flat, *hidden, keras.layers.Dense(10)]).save(tmp_path / "net.keras")
    options = {"epochs": 3, "batch_size": 16, "image_size": 8, "limit": 64, "augment": False}
    config = TrainingConfig(str(tmp_path / "net.keras"), "digits", **options)
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    train(config, whole, verbose=0)
    keep = KeepState._keep

    def stopped(self, now):
        keep(self, now)
        if now == (Place(place[0] + 1) if place[1] == 4 else Place(*place)):
            raise Stop

    monkeypatch.setattr(KeepState, "_keep", stopped)
    with pytest.raises(Stop):
        train(config, cut, every=Every(steps=2), verbose=0)
    keras.random.normal((3,))  # as another process has done other things
    monkeypatch.undo()
    train(config, cut, resume=True, every=Every(steps=2), verbose=0)
    assert cut.metrics_file.read_text() == whole.metrics_file.read_text()
    same_weights(whole, cut)


def same_weights(*runs):
    first, second = (keras.saving.load_model(run.model_file) for run in runs)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_progress_says_accuracy_and_time_left_with_and_without_a_terminal(monkeypatch):
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    logs = {"loss": 0.5, "accuracy": 0.75}
    for is_terminal in (False, True):
        file = io.StringIO()
        console = Console(file=file, force_terminal=is_terminal, width=100, highlight=False)
        shows = progress.ShowProgress(2, 3, console)
        for epoch in range(2):
            shows.on_epoch_begin(epoch)
            for batch in range(3):
                time.sleep(0.01)
                shows.on_train_batch_end(batch, logs)
                if shows._bar is not None:
                    shows._bar.refresh()
            shows.on_epoch_end(epoch, {**logs, "val_accuracy": 0.7})
        said = file.getvalue()
        assert "loss 0.5000  accuracy 0.7500" in said and "0:00 left" in said
        assert re.search(r"epoch 1/2  loss .*val accuracy 0.7000  0\.\d s  0:00 left\n", said)
        assert re.search(r"epoch 2/2  loss .*val accuracy 0.7000  0\.\d s\n", said)
        assert is_terminal or "epoch 2/2  2/3  loss 0.5000  accuracy 0.7500  0:00 left\n" in said


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path):
    settings = [*TINY, "--bits", "4", "--l2", "1e-5", "--epochs", "3"]
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    killed = process(*settings, "--out", cut)
    end = time.monotonic() + 300
    while not (cut.checkpoints / "epoch_0001").exists() and time.monotonic() < end:
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not cut.is_complete
    for arguments in ([*settings, "--out", whole], ["--resume", "--out", cut]):
        done = process(*arguments)
        assert done.wait() == 0, done.stderr.read()
    assert cut.metrics_file.read_text() == whole.metrics_file.read_text()
    assert cut.artifact_file.read_bytes() == whole.artifact_file.read_bytes()
    same_weights(whole, cut)


@pytest.mark.parametrize(
    ("second", "label"), [("accuracy", "accuracy (%)"), ("mae", "mae")], ids=["classes", "numbers"]
)
def test_curves_say_what_they_show(second, label, tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    drawn = []
    monkeypatch.setattr(figure, "savefig", lambda self, *args, **options: drawn.append(self))
    rows = [{"epoch": n, "loss": 1 / n, "val_loss": 2 / n, second: 0.5} for n in (1, 2)]
    draw_curves(rows, tmp_path / "curves.png", "a run")
    axes = drawn[0].axes
    assert [axis.get_ylabel() for axis in axes] == ["loss", label]
    assert [line.get_label() for line in axes[0].lines] == ["training", "validation"]
