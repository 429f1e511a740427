"""`smh train`: settings, the run directory, and a run that is killed and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from smh import cli
from smh.errors import ArgumentError
from smh.training import RunDirectory, TrainingConfig
from smh.training.metrics import read_metrics, write_metrics

ROOT = Path(__file__).parent.parent
TINY = ["--model", "lenet5", "--data", "digits", "--fraction", "0.1", "--batch-size", "256"]


def test_settings_come_back_from_json(tmp_path):
    config = TrainingConfig("lenet_5", "digits", fraction=0.1, bits=4, l2=1e-5, validation=100)
    config.write(tmp_path / "c.json")
    assert TrainingConfig.read(tmp_path / "c.json") == config
    assert TrainingConfig("lenet_5", "digits", bits=4, epochs=10).bits_from == 6


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
    assert f"accuracy  {result['test_accuracy']:.4f}" in capsys.readouterr().out
    assert cli.main(["train", *TINY, "--epochs", "1", "--out", str(out)]) == 2
    assert cli.main(["train", "--resume", "--out", str(out), "--epochs", "2"]) == 2
    assert "epochs=1, and epochs=2 is asked for" in capsys.readouterr().err


def process(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "smh", "train", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


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
    first, second = (keras.saving.load_model(run.model_file) for run in (whole, cut))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
