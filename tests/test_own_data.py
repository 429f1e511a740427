"""Examples of a user's own on the command line, for models of any kind."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import smh
from smh import cli, datasets
from smh.errors import ArgumentError, DataFormatError
from smh.training.kinds import Kind, figures_of, kind_of
from smh.training.objective import Objective
from smh.training.sources import load_data

MODULE = """
import numpy as np
from smh.datasets import digits

def table():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 6)).astype("float32")
    return x, x @ np.arange(6, dtype="float32")

def two_inputs():
    random = np.random.default_rng(0)
    image, facts = (random.random(shape, "float32") for shape in ((90, 8, 8, 1), (90, 4)))
    return {"image": image, "facts": facts}, np.arange(90) % 3

def two_outputs():
    x, y = table()
    return x, {"sum": y, "sign": (y > 0).astype("int64")}

def labels():
    x, y = table()
    return x, np.stack([y > 0, x[:, 0] > 0, x[:, 1] > 9], 1).astype("float32")

def steps():
    x, y = table()
    return x[:, :, None], (x > 0).astype("int64")

def parts():
    data = digits(image_size=8)
    return (data.x_train, data.y_train), (data.x_test, data.y_test)

def nothing():
    return 7

def unfit():
    return table()[0][:, :, None], np.zeros((200, 5))

def misnamed():
    x, y = two_inputs()
    return {"photo": x["image"], "facts": x["facts"]}, y

def unlabelled():
    return table()[0]

def broken():
    return {}["key"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("my_own_data.py").write_text(MODULE)
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x, y = random.random((120, 6), "float32"), np.arange(120) % 4
    np.savez("table.npz", x=x, y=y)
    np.savez("one_hot.npz", x=x, y=np.eye(4)[y])
    np.savez("parts.npz", x_train=x[:90], y_train=y[:90], x_test=x[90:], y_test=y[90:])
    np.savez("pairs.npz", x=x, y=(y % 2)[:, None])
    np.savez("wrong.npz", images=x)
    np.savez("short.npz", x=x, y=y[:7])
    np.savez("bare.npz", x=x)
    np.savez("few.npz", x=x, y=y % 3)
    np.savez("words.npz", x=x, y=np.array(["cat", "dog"] * 60))
    np.savez("negative.npz", x=x, y=y - 1)
    np.savez("complex.npz", x=x.astype("complex64"), y=y)
    np.savez("unreal.npz", x=x, y=y * 1j)
    classifier(6, 4, name="sequential").save("four.keras")
    classifier(6, 1).save("one.keras")
    inputs = [keras.Input((8, 8, 1), name="image"), keras.Input((4,), name="facts")]
    joined = layers.Concatenate()([layers.Flatten()(inputs[0]), inputs[1]])
    keras.Model(inputs, layers.Dense(3)(layers.Dense(30)(joined))).save("two.keras")
    x = keras.Input((6,))
    heads = {"sum": layers.Dense(1, name="sum")(x)}
    heads["sign"] = layers.Dense(1, activation="sigmoid", name="sign")(x)
    keras.Model(x, heads).save("named.keras")
    keras.Model(x, [heads["sign"], heads["sum"]]).save("listed.keras")
    classifier(6, 3).save("three.keras")
    keras.Sequential([keras.Input((6, 1)), layers.Dense(8), layers.Dense(2)]).save("steps.keras")
    return tmp_path


def classifier(inputs, classes, **options):
    dense = layers.Dense(40), layers.Dense(classes)
    return keras.Sequential([keras.Input((inputs,)), *dense], **options)


def run(line):
    try:
        return cli.main(line.split())
    except SystemExit as stopped:
        return stopped.code


EVALUATED = {
    "four.keras --data table.npz": ("all 120 examples", "accuracy"),
    "four.keras --data one_hot.npz": ("all 120 examples", "accuracy"),
    "four.keras --data parts.npz": ("30 test examples", "accuracy"),
    "four.keras --data parts.npz --part validation": ("9 validation examples", "accuracy"),
    "four.keras --data table.npz --limit 20": ("20 of all examples", "accuracy"),
    "four.keras --data table.npz --part test": ("24 test examples", "accuracy"),
    "four.keras --data table.npz --part train": ("86 train examples", "accuracy"),
    "four.keras --data few.npz": ("all 120 examples", "accuracy"),
    "one.keras --data pairs.npz": ("all 120 examples", "accuracy"),
    "one.keras --data my_own_data:table": ("all 200 examples", "mae"),
    "two.keras --data my_own_data:two_inputs": ("all 90 examples", "accuracy"),
    "one.keras --data table.npz": ("all 120 examples", "mae"),
    "three.keras --data my_own_data:labels": ("all 200 examples", "accuracy"),
    "steps.keras --data my_own_data:steps": ("all 200 examples", "accuracy"),
    "named.keras --data my_own_data:two_outputs": ("sign_accuracy", "sum_mae"),
    "listed.keras --data my_own_data:two_outputs": ("sign_accuracy", "sum_mae"),
}


@pytest.mark.parametrize("line", EVALUATED)
def test_evaluate(line, folder, capsys):
    assert run(f"evaluate {line}") == 0
    said = capsys.readouterr().out
    assert all(text in said for text in EVALUATED[line]) and "loss" in said


def test_the_figures_are_those_of_keras(folder, capsys):
    of_classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for file, name, loss in (
        ("one.keras", "my_own_data:table", "mse"),
        ("four.keras", "table.npz", of_classes),
    ):
        data = datasets.load(name, whole=True)
        model = keras.saving.load_model(file)
        model.compile(loss=loss)
        expected = model.evaluate(data.x_test, data.y_test, verbose=0)
        assert run(f"evaluate {file} --data {name}") == 0
        printed = dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])
        assert float(printed["loss"]) == pytest.approx(expected, abs=1e-4)


TRAINED = {
    "one.keras --data my_own_data:table": ("loss: mean square error", "test loss "),
    "named.keras --data my_own_data:two_outputs": (
        "loss: sign: cross-entropy of two classes, probabilities; sum: mean square error",
        "test sign_accuracy ",
    ),
    "listed.keras --data my_own_data:two_outputs": ("two classes, prob", "test sign_accuracy "),
    "three.keras --data my_own_data:labels": ("cross-entropy of each label, log", "test accuracy "),
    "steps.keras --data my_own_data:steps": ("cross-entropy of classes, logits", "test accuracy "),
}


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=[pytest.mark.slow] * (i != 1)) for i, line in enumerate(TRAINED)],
)
def test_train_chooses_a_loss_for_each_output_and_says_it(line, folder, capsys):
    assert run(f"train --model {line} --epochs 2 --batch-size 20 --fraction 0.9 --out run") == 0
    said, warned = capsys.readouterr()
    assert all(text in said for text in TRAINED[line]), said
    assert "what '" in warned and "had learned is gone" in warned
    result = json.loads(Path("run/result.json").read_text())
    model = keras.saving.load_model("run/model.keras")  # as it was compiled
    data = Objective.of(model, data := load_data(line.split()[-1])).labels(data)
    options = {"batch_size": 1000, "verbose": 0, "return_dict": True}
    measured = model.evaluate(data.x_test, data.y_test, **options)
    for name, value in measured.items():
        assert result[f"test_{name}"] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert Path("run/curves.png").exists()


def test_prune_and_train_on(folder, capsys):
    line = "prune four.keras --sparsity 0.8 --then-train 2 --data table.npz --out pruned.keras"
    assert run(line) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == [
        "before:",
        "pruned:",
        "trained, 2 epochs:",
    ]
    assert all(line.endswith("on 10 validation examples") for line in lines[:3])
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines[:3]]
    assert losses[2] < losses[1]
    trained = keras.saving.load_model("pruned.keras")
    assert not hasattr(trained, "optimizer") and not trained.compiled
    plain = smh.materialize(trained)
    kernel = keras.ops.convert_to_numpy(plain.layers[0].kernel)
    assert (kernel == 0).mean() == pytest.approx(0.8, abs=0.01)
    assert run("prune four.keras --sparsity 0.8 --data table.npz --out no.keras") == 2
    assert "--peak-rate goes with --then-train EPOCHS only, --data also" in capsys.readouterr().err


def test_what_is_measured_by_the_kind_of_labels():
    """Against sums written out, for probabilities and for logits."""
    classes = np.array([[[0.2, 0.8], [0.5, 0.5]]]), np.array([[1, 0]])
    assert kind_of("o", *classes) == Kind("classes", logits=False)
    found = figures_of(Kind("classes", logits=False), *classes)
    assert found["loss"] == pytest.approx(-np.log([0.8, 0.5]).mean()) and found["accuracy"] == 1
    logits = np.array([[-1.0, 2.0], [3.0, -4.0]]), np.array([[0.0, 0.0], [1.0, 1.0]])
    assert kind_of("o", *logits) == Kind("labels", logits=True)
    share = 1 / (1 + np.exp(-np.abs(logits[0])))
    loss = -np.log([share[0, 0], 1 - share[0, 1], share[1, 0], 1 - share[1, 1]]).mean()
    found = figures_of(Kind("labels"), *logits)
    assert found == {"accuracy": 0.5, "loss": pytest.approx(loss)}
    assert kind_of("o", np.array([[2.0], [3.0]]), np.array([7, 9])) == Kind("numbers")
    with pytest.raises(
        ArgumentError, match=r"output o has shape \(None, 2\), and its labels \(Non"
    ):
        kind_of("o", np.zeros((1, 2)), np.array([3]))


def test_every_command_that_takes_data(folder, capsys):
    lines = [
        "sensitivity four.keras --data table.npz --sparsities 0.5",
        "sensitivity one.keras --data my_own_data:table --sparsities 0.5",
        "bits two.keras --data my_own_data:two_inputs --bits 4",
        "shrink two.keras --data my_own_data:two_inputs --quality 40 --out two.smh",
        "shrink four.keras --data table.npz --max-drop 50 --examples 40 --out four.smh",
        "train --model four.keras --data table.npz --epochs 1 --out run",
        "train --model two.keras --data my_own_data:two_inputs --epochs 1 --limit 40 --out two",
        "train --model lenet_300_100 --data my_own_data:parts --epochs 1 --limit 50 --out lenet",
        "evaluate run",
    ]
    for line in lines:
        assert run(line) == 0, (line, capsys.readouterr().err)


def test_what_own_code_raises_is_one_line(folder, capsys):
    Path("broken_module.py").write_text("1 / 0\n\ndef f():\n    pass\n")
    for line, said in {
        "evaluate four.keras --data my_own_data:broken": "my_own_data:broken raised KeyError",
        "evaluate four.keras --data broken_module:f": "broken_module raised ZeroDivisionError: div",
        "--import broken_module report four.keras": "--import broken_module raised ZeroDivisionErr",
    }.items():
        assert run(line) == 1, line
        printed = capsys.readouterr().err
        assert said in printed and printed.count("\n") == 1, printed


BUDGETS = {
    "sensitivity four.keras --sparsities 0.5 --budget 0.9": "out of reach",
    "sensitivity four.keras --sparsities 0.5 --budget 1": "out of reach",
    "bits four.keras --bits 4,2 --budget 1": "out of reach",
}


@pytest.mark.parametrize("line", BUDGETS)
def test_a_budget_out_of_reach_is_told_before_anything_is_measured(
    line, folder, capsys, monkeypatch
):
    monkeypatch.setattr("smh.training.data.measure", lambda *_: pytest.fail("was measured"))
    assert run(f"{line} --data table.npz") == 2
    assert BUDGETS[line] in capsys.readouterr().err


# What is typed, and how people read what is printed.
PRINTED = {
    "evaluate four.keras": r"accuracy +\d+\.\d\d%\nloss +\d\.\d{4}",
    "sensitivity four.keras --sparsities 0.5 --max-drop 50": (
        r"accuracy \d+\.\d\d% unchanged(?s:.)*at a drop of -?\d+\.\d\d points"
    ),
    "shrink four.keras --quality 40 --out four.smh": r"before:  accuracy \d+\.\d\d%  loss \d",
    "shrink four.keras --max-drop 50 --examples 40 --out four.smh": (
        r"accuracy \d+\.\d\d%, now \d+\.\d\d%, on"
    ),
}


@pytest.mark.parametrize("line", PRINTED)
def test_accuracies_are_printed_in_percent_and_drops_in_points(line, folder, capsys):
    assert run(f"{line} --data table.npz") == 0
    assert re.search(PRINTED[line], capsys.readouterr().out)


def test_without_labels(folder, capsys):
    """What only looks at examples takes them; all else says that labels are missing."""
    looks = (
        "shrink four.keras --quality 40 --out four.smh",
        "compress four.keras --target-size 2KB --limit 50 --out four.smh",
        "export four.keras --to litert --activations int8 --out four.tflite",
        "export four.keras --to litert --bits 8 --out four.tflite",
        "prune four.keras --sparsity 0.5 --importance fisher --out four.smh",
        "sensitivity four.keras --method fisher --sparsities 0.5 --csv fisher.csv",
    )
    for data, commands in (("bare.npz", looks), ("my_own_data:unlabelled", looks[-1:])):
        for line in commands:
            assert run(f"{line} --data {data} --force") == 0, (line, capsys.readouterr().err)
        capsys.readouterr()
        before = sorted(folder.iterdir())
        for line in (
            "evaluate four.keras",
            "train --model four.keras --out run",
            "shrink four.keras --max-drop 1 --out no.smh",
            "compress four.keras --target-size 2KB --epochs 1 --out no.smh",
            "prune four.keras --sparsity 0.5 --then-train 1 --out no.smh",
            "sensitivity four.keras",
        ):
            assert run(f"{line} --data {data}") == 2, line
            assert f"{data} has no labels, and they are needed" in capsys.readouterr().err, line
        assert sorted(folder.iterdir()) == before


def test_what_rounding_cost_is_told_where_there_are_labels(folder, capsys):
    for line in (
        "shrink four.keras --quality 40 --out four.smh",
        "export four.keras --to onnx --bits 8 --out four.onnx",
    ):
        assert run(f"{line} --data table.npz") == 0
        said = capsys.readouterr().out
        assert said.count("accuracy ") == 2 and said.count("on 120 given examples") == 2, said
    # Labels that say nothing of the outputs are left alone.
    assert run("shrink steps.keras --quality 40 --data my_own_data:unfit --out s.smh") == 0
    assert run("shrink four.keras --quality 40 --data table.npz --limit 30 --out 30.smh") == 0
    said = capsys.readouterr().out
    assert said.count("accuracy ") == 2 and said.count("on 30 given examples") == 2, said


@pytest.mark.parametrize(
    "line",
    [
        "shrink four.keras --examples 40",
        pytest.param("compress four.keras --epochs 1 --bits 8", marks=pytest.mark.slow),
        "sensitivity four.keras --sparsities 0.5",
    ],
)
def test_a_drop_within_chance_is_told(line, folder, capsys):
    for drop, told in (("0.1", True), ("60", False)):
        out = "" if line.startswith("sensitivity") else " --out four.smh --force"
        assert run(f"{line} --max-drop {drop} --data table.npz{out}") in (0, 1, 2)
        said = "examples have a standard error of" in capsys.readouterr().err
        assert said == told, drop


def test_missing_classes_are_told(folder, capsys):
    assert run("evaluate four.keras --data few.npz") == 0
    assert "few has no example of 1 of the 4 classes" in capsys.readouterr().err


def test_numbers_that_are_not_finite_are_told(folder, capsys):
    x = np.zeros((8, 6))
    x[3, 1], x[4, 2] = np.nan, np.inf
    np.savez("odd.npz", x=x, y=np.arange(8) % 4)
    assert run("evaluate four.keras --data odd.npz") == 0
    assert "odd.npz: 2 numbers of x are NaN or infinite" in capsys.readouterr().err


def test_what_is_looked_at_is_what_a_model_is_measured_on(folder, capsys):
    """Images in bytes are seen in [0, 1] by every command, not only by those that evaluate."""
    images = np.random.default_rng(0).integers(0, 256, (90, 8, 8, 1), "uint8")
    y, bytes_, floats = np.arange(90) % 4, "bytes.npz", "floats.npz"
    np.savez(bytes_, x=images, y=y)
    np.savez(floats, x=images.astype("float32") / 255, y=y)
    net = [keras.Input((8, 8, 1)), layers.Conv2D(6, 3, activation="relu"), layers.Flatten()]
    keras.Sequential([*net, layers.Dense(4)]).save("net.keras")
    for line, kind in (
        ("shrink net.keras --quality 40", "smh"),
        ("prune net.keras --sparsity 0.5 --importance fisher", "smh"),
        ("export net.keras --to litert --activations int8", "tflite"),
        ("export net.keras --to onnx --activations int8", "onnx"),
        ("sensitivity net.keras --method fisher --sparsities 0.5 --csv CSV", ""),
    ):
        said = {}
        for data in (bytes_, floats):
            out = f"--out {data}.{kind}" if kind else ""
            command = f"{line} --data {data} {out} --force".replace("CSV", f"{data}.csv")
            assert run(command) == 0, (command, capsys.readouterr().err)
            said[data] = capsys.readouterr().out.replace(data, "DATA")
        if kind == "onnx":  # its nodes are named by what came before
            said = {data: text.splitlines()[-1] for data, text in said.items()}
        assert said[bytes_] == said[floats], line
        one, two = (Path(f"{data}.{kind or 'csv'}").read_bytes() for data in (bytes_, floats))
        assert one == two or kind == "onnx", line
        if "int8" in line:
            assert "accuracy" in said[bytes_].splitlines()[-1]


ON_A_RUN = {
    "evaluate run": "x_test",
    "evaluate run --part train": "x_train",
    "evaluate run --part validation": "x_validation",
    "evaluate run --data table.npz": "x_test",
    "evaluate run --data ./table.npz": "x_test",
    "evaluate run --data copied.npz": None,
    "sensitivity run --sparsities 0.5": "x_validation",
    "bits run --bits 4 --data table.npz": "x_validation",
    "shrink run --quality 40 --out s.smh": "x_validation",
    "shrink run --max-drop 50 --out s.smh": "x_validation",
}


def test_a_run_knows_what_it_was_trained_on(folder, capsys, monkeypatch):
    """What is measured of a run on its own data is not among what it saw, unless asked for."""
    from smh.training import data as measuring

    Path("copied.npz").write_bytes(Path("table.npz").read_bytes())
    line = "train --model four.keras --data table.npz --epochs 1 --validation 0.25 --out run -q"
    assert run(line) == 0
    parts, seen, measure = load_data("table.npz", validation=0.25), [], measuring.measure

    def told(model, x, y):
        seen.append(x)
        return measure(model, x, y)

    monkeypatch.setattr(measuring, "measure", told)
    for line, part in ON_A_RUN.items():
        seen.clear()
        assert run(line) in (0, 1), (line, capsys.readouterr().err)
        expected = np.load("table.npz")["x"] if part is None else getattr(parts, part)
        assert seen and all(np.array_equal(x, expected) for x in seen), line
        Path("s.smh").unlink(missing_ok=True)


def test_a_run_without_flags_has_its_own_data(folder, capsys):
    assert run("train --model four.keras --data table.npz --epochs 1 --out run") == 0
    assert run("compress run --target-size 2KB --out tiny.keras") == 0
    said = capsys.readouterr().out
    assert "before:  accuracy" in said and "now:  accuracy" in said
    assert "not 2,000 bytes: only a .smh file is coded; --out tiny.smh writes it" in said


def test_a_folder_of_pictures(folder, capsys):
    for i in range(8):
        path = folder / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (30 * i, 0, 0)).save(path)
    keras.Sequential([keras.Input((12, 12, 3)), layers.Flatten(), layers.Dense(2)]).save(
        "photos.keras"
    )
    assert run("evaluate photos.keras --data photos --image-size 12 --part train") == 0
    assert "train images" in capsys.readouterr().out


WRONG = {
    "four.keras --data none.npz": (2, "none.npz: No such file or directory"),
    "four.keras --data wrong.npz": (2, "needs the arrays x and y, or x_train, y_train"),
    "four.keras --data short.npz": (2, "x and y need as many examples each"),
    "four.keras --data no_module:f": (2, "No module named 'no_module'; data are MODULE:FUNCTION"),
    "four.keras --data my_own_data:no": (2, "'my_own_data' has no function 'no'"),
    "four.keras --data my_own_data:nothing": (2, "must return (x, y), or ((x, y), (x_test, y_te"),
    "four.keras --data table.npz --image-size 9": (2, "table.npz has no option image_size"),
    "two.keras --data table.npz": (2, "takes 2 inputs, of shapes image (8, 8, 1), facts (4,)"),
    "four.keras --data my_own_data:parts": (2, "takes examples of shape (6,)"),
    "named.keras --data table.npz": (2, "has 2 outputs (sign, sum), and the labels are one array"),
    "two.keras --data my_own_data:misnamed": (2, "takes the inputs facts, image, and the arrays"),
    "three.keras --data table.npz": (2, "The labels of table go up to 3, and 'sequential"),
    "four.keras --data words.npz": (
        2,
        "are text ('cat', 'dog'); np.unique(y, return_",
    ),
    "one.keras --data words.npz": (2, "are text ('cat', 'dog'); np.unique(y, return_"),
    "four.keras --data negative.npz": (2, "int64 (120,), some below 0 (-1). Expected classes"),
    "four.keras --data complex.npz": (2, "are complex64, and 'sequential' takes float32"),
    "one.keras --data unreal.npz": (2, "are complex128 (120,). Expected classes"),
    "four.keras --data nothing": (2, "No data set is called 'nothing'. There are: digits"),
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_told(line, folder, capsys):
    code, message = WRONG[line]
    assert run(f"evaluate {line}") == code
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_split_is_the_same_every_time_and_loses_nothing(folder):
    first, again = (datasets.load("table.npz") for _ in range(2))
    assert (first.x_train == again.x_train).all() and (first.y_test == again.y_test).all()
    parts = [first.x_train, first.x_validation, first.x_test]
    assert sum(map(len, parts)) == len(np.unique(np.concatenate(parts), axis=0)) == 120
    assert set(first.y_test) == set(range(4)) and len(first.y_test) == 24
    Path("cut.npz").write_bytes(Path("table.npz").read_bytes()[:200])
    with pytest.raises(DataFormatError, match="cut.npz is no .npz file"):
        datasets.load("cut.npz")
    with pytest.raises(ArgumentError, match="has no option test"):
        datasets.load("table.npz", test=0.5)
