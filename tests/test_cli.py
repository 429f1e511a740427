"""The commands on files; and what a user's mistake gives: one line and an exit code."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import fresh_process
import keras
import pytest

import smh
from smh import cli, datasets
from smh.cli.files import quiet, start_keras
from smh.errors import ArgumentError, SmhWarning


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    smh.zoo.build("lenet_300_100", (8, 8, 1), 10).save("model.keras")
    return "model.keras"


def run(line):
    try:
        return cli.main(line.split())
    except SystemExit as stopped:
        return stopped.code


def test_a_chain_of_commands_on_files(model_file, capsys):
    assert run("prune model.keras --sparsity .*fc1=0.9 --sparsity kernel=0.5 --out p.keras") == 0
    assert run("quantize p.keras --bits 3 --out q.smh") == 0
    channels = "--structure channels --of multiply_adds"
    uniform = "quantize model.keras --kind uniform"
    assert run(f"{uniform} --bits kernel=4 --out u.smh") == 0
    assert run("report u.smh") == 0
    assert "4 bits, scale per" in capsys.readouterr().out
    assert run(f"prune model.keras --sparsity 0.5 {channels} --out ch.keras") == 0
    assert run("slim ch.keras --out slim.keras") == 0
    assert run("evaluate slim.keras --data digits --image-size 8") == 0
    assert isinstance(smh.load("q.smh"), keras.Model)
    assert run("inspect q.smh") == 0
    assert run("plan model.keras --fractions 0.5,0.2 --csv plan.csv") == 0
    assert run("compress model.keras --fraction 0.2 --init fit --blocks 3 --out f.keras") == 0
    assert run("compress model.keras --fraction 0.2 --out c.keras") == 0
    assert run("quantize c.keras --bits 4 --out c.smh") == 0
    assert run("report c.smh --csv c.csv") == 0
    assert run("export c.keras --to keras --out plain.keras") == 0
    assert run("evaluate plain.keras --data digits --image-size 8") == 0
    printed = capsys.readouterr().out
    assert "smh plan: lenet_300_100" in printed and "% of the energy: smh train" in printed
    assert "smh slim: lenet_300_100" in printed and "300 -> " in printed
    assert "q.smh: " in printed and "accuracy  " in printed and "trained: " in printed
    dense = smh.materialize(keras.saving.load_model("c.keras"))
    for a, b in zip(
        dense.get_weights(), keras.saving.load_model("plain.keras").get_weights(), strict=True
    ):
        assert (a == b).all()


_OWN = """
import keras

@keras.saving.register_keras_serializable("test_cli")
class Doubled(keras.layers.Dense):
    def call(self, x):
        return 2 * super().call(x)
"""


def test_a_file_with_layers_of_ones_own(model_file, capsys, monkeypatch):
    Path("doubled_layer.py").write_text(_OWN)
    monkeypatch.syspath_prepend(os.getcwd())
    import doubled_layer

    keras.Sequential([keras.Input((8,)), doubled_layer.Doubled(4)]).save("own.keras")
    line = "plan own.keras --fractions 0.9"
    code = f"import sys\nfrom smh import cli\nsys.exit(cli.main({line!r}.split()))"
    for flags, status in (([], 1), (["--import", "doubled_layer"], 0)):
        called = code.replace("cli.main(", f"cli.main({flags} + ")
        done = fresh_process.run(called)
        assert done.returncode == status, done.stderr
        assert (status == 0) == ("smh plan: " in done.stdout)
    for module, said in (("own.py", "takes a module, 'own'"), ("no_module", "No module named")):
        assert run(f"--import {module} {line}") == 2
        assert said in capsys.readouterr().err


def test_a_plan_of_a_model_of_the_zoo(capsys):
    assert run("plan LeNet-300-100 --fractions 0.1") == 0
    assert "smh plan: lenet_300_100" in capsys.readouterr().out


def test_a_scan_suggests_a_command_that_runs(model_file, capsys):
    scan = "sensitivity model.keras --data digits --image-size 8 --sparsities 0.5,0.9 --budget 0.6"
    assert run(f"{scan} --csv s.csv") == 0
    printed = capsys.readouterr().out
    command = printed[printed.index("smh prune") :].replace("\\\n", " ").replace("'", "")
    assert run(command.removeprefix("smh ").replace("FILE", "p.keras")) == 0
    zeros = capsys.readouterr().out.splitlines()[-1]
    assert float(zeros.split("%")[0]) >= 60


def test_a_search_writes_the_winner_and_shows_each_try(model_file, capsys):
    assert run("compress model.keras --target-size 20KB --bits 4 --epochs 0 --out s.smh") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["fraction", "bits", "bytes", "energy", "kept", "fits"]
    size = Path("s.smh").stat().st_size
    assert size <= 20_000
    assert [f"{size:,}" in line for line in lines if line.endswith("yes")].count(True) == 1
    assert "chosen: fraction " in lines[-3] and "it is not trained: smh train" in lines[-1]
    assert {path.name for path in Path().iterdir()} == {"model.keras", "s.smh"}


def test_a_budget_without_training_is_shrink(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.Input((30,)), keras.layers.Dense(40)]).save("model.keras")
    for command in ("shrink", "compress"):
        assert run(f"{command} model.keras --target-size 2KB --out {command}.smh") == 0
    first, second = (Path(f"{name}.smh").read_bytes() for name in ("shrink", "compress"))
    assert first == second and len(second) <= 2_000
    assert "this is smh shrink; --epochs N trains a pool" in capsys.readouterr().out


@pytest.mark.slow
def test_a_search_trains_each_try_and_keeps_to_the_drop(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = "train --model lenet_300_100 --data digits --image-size 8 --epochs 4 --out r"
    assert run(train) == 0
    assert run("compress r --max-drop 2 --bits 8 --epochs 2 --out d.smh") == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("r: accuracy "))
    assert lines[first + 1].split()[-4:] == ["accuracy", "points", "lost", "fits"]
    fitting = [float(line.split()[-2]) for line in lines if line.endswith("yes")]
    assert fitting and max(fitting) <= 2
    assert f"d.smh: {Path('d.smh').stat().st_size:,} bytes" in lines[-1]
    assert run("evaluate d.smh --data digits --image-size 8 --part validation") == 0
    accuracy = float(capsys.readouterr().out.splitlines()[1].split()[1].rstrip("%"))
    assert accuracy >= float(lines[first].split()[2].rstrip("%")) - 2.01


class Odd(keras.layers.Layer):
    """A layer that nobody registers with Keras."""


MISTAKES = {
    "train --model lenet_5": "--data is needed, for example --data digits",
    "train --model lenet_6 --data digits": "No model is called 'lenet_6'. Close to it: lenet_5",
    "train --model lenet_5 --data nothing": "No data set is called 'nothing'",
    "train --model lenet_5 --data digits --bits 4": "bits=4 rounds the factors of a compressed",
    "train --model lenet_5 --data digits --epochs 0": "epochs must be a whole number, at least 1",
    "train --config none.json": "none.json: No such file",
    "train --resume": "--resume needs --out RUN",
    "train --resume --out nowhere": "there is no run in 'nowhere'",
    "train --model model.keras --data digits": "takes examples of shape",
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
    "plan model.keras --fractions 0.1,x": "--fractions must be a number above 0 and at most",
    "plan model.keras --fractions 0.00001": "The smallest fraction that works here is 0.0",
    "plan model.keras --csv model.keras": "--csv must end in .csv",
    "compress model.keras --target-size big --out c.smh": "must be a size like 200KB or 1.5MB",
    "compress model.keras --target-size 9KB --bits 4 --out c.smh": "--bits goes with --epochs",
    "compress none.keras --target-size 9KB --out junk.smh": "exists; --force replaces it",
    "compress model.keras --target-size 100 --bits 4 --epochs 0 --out c.smh": "the smallest has ",
    "compress model.keras --target-size 9KB --init fit --out c.smh": "--init goes with --fraction",
    "compress model.keras --max-drop 1 --blocks auto --out c.smh": "--blocks goes with --fraction",
    "compress model.keras --fraction 0.1 --bits 4 --out c.smh": "--bits goes with --epochs",
    "compress model.keras --fraction 0.1 --epochs 4 --out c.smh": "--epochs goes with --target",
    "compress model.keras --max-drop 1 --out c.smh": "--data NAME is needed",
    "compress model.keras --max-drop -1 --data digits --image-size 8 --out c.smh": "at least 0",
    "prune model.keras --sparsity much --out p.keras": "--sparsity must be a number from 0 ",
    "quantize model.keras --bits x=4 --kind uniform --out q.smh": "'x' fits no weight",
    "export model.keras --to onnx --out m.tflite": "--out must end in .onnx",
    "export model.keras --to onnx --shape 1 --shape 2 --out m.onnx": "once for each of 1 inputs",
    "export model.keras --to onnx --shape 1,x --out m.onnx": "--shape must be a whole number",
    "export model.keras --to keras --bits 4 --out m.keras": "--bits is for --to litert",
    "export model.keras --to onnx --data digits --out m.onnx": "--data goes with --activations",
    "export model.keras --to keras --activations int8 --data digits --out m.keras": "is for --to",
    "export model.keras --to litert --activations int8 --out m.tflite": "--data NAME is needed",
    "bits model.keras --bits 4,x --data digits": "--bits must be a whole number from 1 to 12, got",
    "bits model.keras --data digits --method fisher --max-drop 1": "in nats, which tells no accura",
    "sensitivity model.keras --data digits --method fisher --max-drop 200": "--budget N, or --meth",
    "report odd.keras": "Could not locate class 'Odd'. Make sure custom classes",
    "report odd.keras ": "smh --import MODULE COMMAND",
    "plan lenet_6": "No model is called 'lenet_6'. Close to it: lenet_5",
    "plan lenet.h5": "is no .keras file, no .smh file and no run directory",
    "inspect .": "is no run directory",
    "report unbuilt.keras": "is not built, so it has no weights yet",
    "report model.keras --csv sizes.txt": "--csv must end in .csv, got 'sizes.txt'",
    "report model.keras --html folder.html --force": "is a folder; --html names a file",
    "compress model.keras --fraction 0.1 --out folder.keras --force": "is a folder; --out names",
    "evaluate model.keras --data image_folder --data-dir images": "x.png is no picture, or is dam",
}
# Not of the call: what the file holds.
FAULTS_OF_FILES = {
    "report junk.keras",
    "report junk.smh",
    "report odd.keras",
    "report unbuilt.keras",
    "evaluate model.keras --data image_folder --data-dir images",
}


def test_a_mistake_gives_one_line_and_changes_nothing(model_file, tmp_path, capsys):
    for name in ("junk.keras", "junk.smh", "images/one/x.png", "folder.keras/a", "folder.html/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"junk")
    keras.Sequential([keras.Input((3,)), Odd()]).save("odd.keras")
    keras.Sequential([keras.layers.Dense(2)]).save("unbuilt.keras")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for line, message in MISTAKES.items():
        assert run(line) == (1 if line.strip() in FAULTS_OF_FILES else 2), line
        said = capsys.readouterr().err
        assert said.startswith(f"smh {line.split()[0]}: ") and message in said, said
        assert said.count("\n") == 1, said
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def smh_in(folder, line, **environment):
    """Runs a command as a user does, in a process of its own."""
    root = str(Path(smh.__file__).parents[1])
    path = os.pathsep.join([*filter(None, [environment.pop("first", "")]), root])
    env = os.environ | {"PYTHONPATH": path} | environment
    command = [sys.executable, "-m", "smh", *line.split()]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of POSIX")
def test_a_full_disk_leaves_nothing_behind_and_names_the_file(model_file, tmp_path, capsys):
    import resource
    import signal

    before = sorted(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails, as on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        codes = [
            run(line)
            for line in (
                "compress model.keras --fraction 0.9 --out full.keras",
                "compress model.keras --fraction 0.9 --out full.smh",
                "report model.keras --html full.html",
            )
        ]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert codes == [1, 1, 1] and sorted(tmp_path.iterdir()) == before
    keras_file, smh_file, page = capsys.readouterr().err.splitlines()
    assert keras_file.endswith("full.keras: File too large")
    assert "File too large" in smh_file and page.endswith("full.html: File too large")


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("smh.training.session._fit", interrupted)
    assert run("train --model lenet_300_100 --data digits --image-size 8 --out r") == 130
    said = capsys.readouterr().err.splitlines()
    assert said == ["smh train: interrupted; `smh train --resume --out r` goes on"]


def test_a_backend_that_is_missing_is_named_with_the_way_to_get_it(model_file, tmp_path):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "tensorflow.py").write_text(
        "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')"
    )
    line, fake = "report model.keras", str(tmp_path / "fake")
    missing = smh_in(tmp_path, line, first=fake, KERAS_BACKEND="tensorflow")
    unknown = smh_in(tmp_path, line, KERAS_BACKEND="frob")
    assert (missing.returncode, unknown.returncode) == (1, 2)
    assert missing.stderr.startswith("smh report: Keras is to run on 'tensorflow' here, which is")
    assert 'pip install "structured-multihashing[tensorflow]"' in missing.stderr
    assert unknown.stderr.startswith("smh report: KERAS_BACKEND must be one of tensorflow, jax, to")
    assert missing.stderr.count("\n") == unknown.stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["", "frob", "train --epochs many", "prune m.keras"])
def test_a_wrong_call_gives_two(line, capsys):
    assert run(line) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"smh.*: .* See smh.* -h\.\n", said), said


COMMANDS = "train evaluate plan compress prune slim quantize sensitivity bits report export".split()
COMMANDS += ["inspect", "import"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_into_a_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code = run(f"{command} --help")
    text = capsys.readouterr().out
    assert code == 0 and f"example:\n  smh {command} " in text
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


def test_shrink_writes_a_file_of_the_size_and_its_table(model_file, capsys):
    line = "shrink model.keras --target-size 20KB --data digits --image-size 8 --examples 64"
    assert run(f"{line} --csv rows.csv --png tries.png --out s.smh") == 0
    assert 19_800 <= os.path.getsize("s.smh") <= 20_000
    printed = capsys.readouterr().out
    assert "bits each" in printed and "all else" in printed
    assert Path("rows.csv").exists() and Path("tries.png").exists()
    assert run("shrink model.keras --quality 20 --out q.keras") == 0
    keras.saving.load_model("q.keras")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the converters need it")
def test_export_rounds_weights_and_activations(model_file, capsys):
    assert run("export model.keras --to onnx --bits 4 --out four.onnx") == 0
    data = "--data digits --image-size 8 --examples 20"
    assert run(f"export model.keras --to litert --activations int8 {data} --out all.tflite") == 0
    four, every = os.path.getsize("four.onnx"), os.path.getsize("all.tflite")
    assert f"four.onnx: {four:,} bytes" in capsys.readouterr().out
    assert four < 50_610 / 2 + 8_000 and every < 50_610 + 8_000  # 50,610 numbers


def test_what_smh_warns_of_while_native_code_is_quiet_is_said():
    said, stderr = [], os.fstat(2)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda text, *_: said.append((str(text), os.fstat(2)))
        with pytest.raises(ArgumentError), quiet():
            warnings.warn("said", SmhWarning, stacklevel=1)
            warnings.warn("of others", UserWarning, stacklevel=1)
            raise ArgumentError("and raised")
    assert said == [("said", stderr)]


@pytest.mark.backend_agnostic
def test_a_repeatable_run_starts_on_every_backend(monkeypatch):
    """As `smh train` begins, with a GPU or without."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "0")
    start_keras(repeatable=True)
    assert keras.ops.convert_to_numpy(keras.ops.ones(2)).sum() == 2


def strict_json(text):
    """What a reader other than Python's finds: NaN and infinities are no JSON."""
    return json.loads(text, parse_constant=pytest.fail)


def test_json_is_what_programs_read(model_file, capsys):
    smh.save(smh.compress(keras.saving.load_model("model.keras"), 0.2, seed=0), "c.smh")
    lines = {
        "report c.smh": lambda found: found["trained_params"] < found["original_params"] == 50_610,
        "report model.keras": lambda found: found["rows"][0]["shape"] == [64, 300],
        "inspect c.smh": lambda found: found["bytes"] == os.path.getsize("c.smh"),
        "plan lenet_5 --fractions 0.1": lambda found: found["rows"][0]["fraction"] == 0.1,
        "sensitivity model.keras --data digits --image-size 8 --limit 50 --sparsities 0.5 "
        "--budget 0.3": lambda found: found["suggested"] and found["kind"] == "sparsity",
        "sensitivity nan.keras --data digits --image-size 8 --limit 50 --sparsities 0.5": (
            lambda found: found["baseline"]["loss"] is None
        ),
    }
    odd = keras.saving.load_model("model.keras")
    odd.layers[-1].bias.assign([float("nan")] * 10)
    odd.save("nan.keras")
    for line, holds in lines.items():
        assert run(f"{line} --json") == 0
        assert holds(strict_json(capsys.readouterr().out)), line


def test_quiet_leaves_the_results_and_verbose_says_where(model_file, capsys, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    before = dict(os.environ)
    assert run("prune model.keras --sparsity 0.5 --out p.keras --quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert run("evaluate p.keras --data digits --image-size 8 --limit 20 --quiet") == 0
    assert "on digits, 20 test images\naccuracy" in capsys.readouterr().out
    assert run("evaluate p.keras --data digits --verbose") == 2
    assert "Traceback" in capsys.readouterr().err
    assert dict(os.environ) == before  # what is logged is not changed for who calls `main`


def test_a_model_of_several_inputs_tells_them_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    inputs = [keras.Input((8, 8, 1), name="image"), keras.Input((4,), name="facts")]
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(inputs[0]), inputs[1]])
    keras.Model(inputs, keras.layers.Dense(10)(joined), name="two").save("two.keras")
    assert run("evaluate two.keras --data digits --image-size 8") == 2
    said = capsys.readouterr().err
    assert "takes 2 inputs, of shapes image (8, 8, 1), facts (4,), and digits has one" in said
