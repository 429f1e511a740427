"""The commands on files; and what a user's mistake gives: one line and an exit code."""

import subprocess
import sys

import keras
import pytest

import smh
from smh import cli, datasets


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    smh.zoo.build("lenet_300_100", (8, 8, 1), 10).save("model.keras")
    return "model.keras"


def run(line):
    return cli.main(line.split())


def test_a_chain_of_commands_on_files(model_file, capsys):
    assert run("prune model.keras --sparsity .*fc1=0.9 --sparsity kernel=0.5 --out p.keras") == 0
    assert run("quantize p.keras --bits 3 --out q.smh") == 0
    assert isinstance(smh.load("q.smh"), keras.Model)
    assert run("inspect q.smh") == 0
    assert run("compress model.keras --fraction 0.2 --out c.keras") == 0
    assert run("quantize c.keras --bits 4 --out c.smh") == 0
    assert run("report c.smh --csv c.csv") == 0
    assert run("export c.keras --to keras --out plain.keras") == 0
    assert run("evaluate plain.keras --data digits --image-size 8") == 0
    printed = capsys.readouterr().out
    assert "q.smh: " in printed and "accuracy  " in printed and "trained: " in printed
    dense = smh.materialize(keras.saving.load_model("c.keras"))
    for a, b in zip(
        dense.get_weights(), keras.saving.load_model("plain.keras").get_weights(), strict=True
    ):
        assert (a == b).all()


def test_a_scan_suggests_a_command_that_runs(model_file, capsys):
    scan = "sensitivity model.keras --data digits --image-size 8 --sparsities 0.5,0.9 --budget 0.6"
    assert run(f"{scan} --csv s.csv") == 0
    printed = capsys.readouterr().out
    command = printed[printed.index("smh prune") :].replace("\\\n", " ").replace("'", "")
    assert run(command.removeprefix("smh ").replace("FILE", "p.keras")) == 0
    zeros = capsys.readouterr().out.splitlines()[-1]
    assert float(zeros.split("%")[0]) >= 60


MISTAKES = {
    "train --model lenet_5": "--data is needed, for example --data digits",
    "train --model lenet_6 --data digits": "No model is called 'lenet_6'. Close to it: lenet_5",
    "train --model lenet_5 --data nothing": "No data set is called 'nothing'",
    "train --model lenet_5 --data digits --bits 4": "bits=4 rounds the factors of a compressed",
    "train --model lenet_5 --data digits --epochs 0": "epochs must be a whole number, at least 1",
    "train --config none.json": "none.json: No such file",
    "train --resume": "--resume needs --out RUN",
    "train --resume --out nowhere": "there is no run in 'nowhere'",
    "train --model model.keras --data digits": "takes images of shape",
    "evaluate none.keras": "none.keras: No such file",
    "evaluate model.keras": "--data NAME is needed",
    "evaluate .": "is no run directory",
    "report model.h5": "is no .keras file, no .smh file and no run directory",
    "report junk.keras": "junk.keras' is damaged",
    "report junk.smh": "not a file of smh",
    "compress model.keras --fraction 7 --out c.keras": "above 0 and at most 1, got 7",
    "compress model.keras --fraction 0.1 --out c.h5": "--out must end in .keras or .smh",
    "compress model.keras --fraction 0.1 --out no/c.keras": "the folder of 'no/c.keras'",
    "compress model.keras --fraction 0.1 --out model.keras": "exists; --force replaces it",
    "prune model.keras --sparsity much --out p.keras": "--sparsity must be a number, got 'much'",
    "quantize model.keras --bits 4 --kind uniform --out q.smh": "has no factors to round",
    "export model.keras --to onnx --out m.tflite": "--out must end in .onnx",
    "bits model.keras --bits 4,x --data digits": "--bits must be a whole number, got 'x'",
}


def test_a_mistake_gives_one_line_and_changes_nothing(model_file, tmp_path, capsys):
    for name in ("junk.keras", "junk.smh"):
        (tmp_path / name).write_bytes(b"junk")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for line, message in MISTAKES.items():
        assert run(line) == 1, line
        said = capsys.readouterr().err
        assert said.startswith(f"smh {line.split()[0]}: ") and message in said, said
        assert said.count("\n") == 1, said
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("line", ["", "frob", "train --epochs many", "prune m.keras"])
def test_a_wrong_call_gives_two(line, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(line)
    assert stopped.value.code == 2
    assert "usage: smh" in capsys.readouterr().err


COMMANDS = "train evaluate compress prune quantize sensitivity bits report export inspect".split()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_into_a_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stopped:
        run(f"{command} --help")
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and f"example:\n  smh {command} " in text
    assert max(map(len, text.splitlines())) <= 80
    if command == "train":
        assert all(name in text for name in datasets.names())


def test_help_loads_no_keras():
    code = (
        "import sys, contextlib, smh.cli\n"
        "with contextlib.suppress(SystemExit): smh.cli.main(['--help'])\n"
        "print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
