"""A wrong call is answered before any backend is imported: one line, what was meant, and 2."""

import os
import zipfile

import fresh_process
import pytest

import smh
from smh.zoo import known

# No backend can be imported in this process; whoever tries is named.
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in ("keras", "tensorflow", "jax", "torch"):
            raise SystemExit(f"{name} was imported")

sys.meta_path.insert(0, Blocked())
from smh import cli
"""
CALL = "import sys; from smh import cli; sys.exit(cli.main(sys.argv[1:]))"
BEGUN = fresh_process.Forked(BLOCKED)

WRONG = {
    "": "required: COMMAND",
    "trian --model lenet_5": "there is no command 'trian'; did you mean train?",
    "frob": "there is no command 'frob'; there are: train, evaluate, ",
    "train --model lenet_6 --data digits": "No model is called 'lenet_6'. Close to it: lenet_5",
    "train --model none.keras --data digits": "none.keras: No such file or directory",
    "train --model notes.txt --data digits": "'notes.txt' is no .keras file, no .smh",
    "train --model lenet_5 --data digitts": "No data set is called 'digitts'. There are: digits",
    "train --model lenet_5 --data mnist --data-dir no": "data_dir='no' does not exist",
    "train --model lenet_5 --data mnist --image-size 9": "mnist has no option image_size",
    "train --model lenet_5 --data digits --fraction 7": "--fraction must be a number above 0",
    "train --model lenet_5 --data digits --bits 9": "--bits must be a whole number from 2 to 8",
    "train --model lenet_5 --data digits --epochs many": "--epochs must be a whole number",
    "train --model lenet_5 --data digits --fractoin 1": "no flag --fractoin; did you mean --fra",
    "train --model lenet_5 --data digits --out full": "'full' exists and is no run directory",
    "evaluate none.smh": "none.smh: No such file or directory",
    "evaluate notes.txt --data digits": "'notes.txt' is no .keras file, no .smh file and no run",
    "evaluate model.keras": "--data NAME is needed",
    "evaluate model.keras --data digitts": "No data set is called 'digitts'",
    "plan lenet_6": "No model is called 'lenet_6'",
    "plan lenet_5 --fractions 0.5,2": "--fractions must be a number above 0 and at most 1, got 2",
    "compress model.keras --fraction 0 --out c.keras": "--fraction must be a number above 0",
    "compress model.keras --fraction 1 --out c.h5": "--out must end in .keras or .smh, got 'c.h5'",
    "compress model.keras --fraction 1 --out no/c.smh": "the folder of 'no/c.smh' does not exist",
    "compress model.keras --fraction 1 --blocks few --out c.smh": "--blocks must be a whole number",
    "compress model.keras --target-size big --out c.smh": "--target-size must be a size like 200KB",
    "compress model.keras --target-size 1TB --out c.smh": "KB, MB, GB, KiB, MiB or GiB; got '1TB'",
    "compress model.keras --max-drop -1 --out c.smh": "--max-drop must be a number, at least 0",
    "shrink model.keras --max-drop 200 --out s.smh": "at most 100 points of accuracy, got 200",
    "compress model.keras --max-drop 101 --epochs 1 --out s.smh": "at most 100 points of accuracy",
    "prune model.keras --sparsity 1 --out p.keras": "--sparsity must be a number from 0 (nothing ",
    "prune model.keras --sparsity a=.5 --sparsity 1 --out p.keras": "--sparsity must be a number",
    "quantize model.keras --bits 13 --out q.smh": "--bits must be a whole number from 1 to 12",
    "quantize model.keras --bits 4 --kind unifrom --out q.smh": "there is no --kind 'unifrom'; did",
    "sensitivity model.keras --sparsities 0.5,1": "--sparsities must be a number above 0 and below",
    "sensitivity model.keras --png a.csv": "--png must end in .png, got 'a.csv'",
    "bits model.keras --bits 4,x": "--bits must be a whole number from 1 to 12, got 'x'",
    "shrink model.keras --quality 101 --out s.smh": "--quality must be a number from 0 to 100",
    "export model.keras --to onnx --out m.tflite": "--out must end in .onnx",
    "export model.keras --to onxn --out m.onnx": "there is no --to 'onxn'; did you mean onnx?",
    "report old.h5": "smh import old.h5 --to new.keras reads it",
    "train --model old.h5 --data digits": "is an HDF5 file, as old versions of Keras wrote them",
    "report old.keras": "is an HDF5 file",
    "report my.weights.h5": "is a file of weights alone: build the model, model.load_weights('my.w",
    "report saved": "is a SavedModel of TensorFlow, which Keras 3 cannot change",
    "report net.pth": "is a file of PyTorch: build the same network in Keras",
    "report net.onnx": "is a file for inference",
    "import saved --to new.keras": "smh import old.h5 --to new.keras",
    "import none.h5 --to new.keras": "none.h5: No such file or directory",
    "import old.h5 --to new.h5": "--to must end in .keras, got 'new.h5'",
    "inspect model.keras": "What each weight costs: smh report model.keras",
    "inspect none.smh": "none.smh: No such file or directory",
    "plan lenet_5 --apply-to (": "--apply-to='(' is not a regular expression",
    "compress model.keras --fraction 1 --exclude [ --out c.smh": "--exclude='[' is not a regular",
    "prune model.keras --sparsity *=0.5 --out p.keras": "--sparsity='*' is not a regular exp",
    "--import own.py report model.keras": "--import takes a module, 'own', not the file",
    "--import os.none plan lenet_5": "--import: No module named 'os.none'",
    "--import pack.none plan lenet_5": "--import: No module named 'pack.none'",
    "--import pack..mod plan lenet_5": "--import: No module named 'pack..mod'",
    "--import pack.mod.none plan lenet_5": "--import: No module named 'pack.mod.none'",
    "--import pack.mod plan lenet_6": "No model is called 'lenet_6'",
    "--import os.path plan lenet_6": "No model is called 'lenet_6'",
    "train --model lenet_5 --data pack.none:f": "No module named 'pack.none'; data are MODULE:FUN",
    "--import no_module report model.keras": "--import: No module named 'no_module'",
}
if os.path.isdir("/proc/self"):  # a folder that takes no file, also of who may write everywhere
    WRONG |= {
        f"{line} /proc/{name}": f"'/proc/{name}' cannot be written"
        for line, name in {
            "train --model lenet_5 --data digits --out": "run",
            "compress model.keras --fraction 1 --out": "c.smh",
            "shrink model.keras --quality 9 --out": "s.smh",
            "shrink model.keras --quality 9 --out s.smh --csv": "s.csv",
            "prune model.keras --sparsity 0.5 --out": "p.keras",
            "slim model.keras --out": "p.keras",
            "quantize model.keras --bits 4 --out": "q.smh",
            "export model.keras --to onnx --out": "m.onnx",
            "export model.keras --to saved_model --out": "m",
            "import old.h5 --to": "new.keras",
            "plan lenet_5 --csv": "plan.csv",
            "report model.keras --html": "page.html",
            "sensitivity model.keras --data digits --png": "scan.png",
        }.items()
    }


DAMAGED = {
    f"{line.format(name)}": message
    for name, message in {
        "junk.keras": "'junk.keras' is damaged: a .keras file is a zip archive",
        "junk.smh": "junk.smh: byte 0: not a file of smh",
        "renamed.smh": "keras.saving.load_model(path) or model.load_weights(path) read Keras' own",
        "empty.smh": "empty.smh: byte 0: not a file of smh",
    }.items()
    for line in (
        "evaluate {} --data digits",
        "compress {} --fraction 0.1 --out c.smh",
        "train --model {} --data digits --out run",
        "export {} --to onnx --out c.onnx",
    )
} | {
    f"{line} --data junk.npz": "junk.npz is no .npz file of NumPy, or is damaged"
    for line in ("train --model lenet_5 --out run", "sensitivity model.keras")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    names = [
        "notes.txt",
        "junk.keras",
        "junk.smh",
        "junk.npz",
        "full/notes.txt",
        "saved/saved_model.pb",
        "net.onnx",
    ]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no model")
    (folder / "pack").mkdir()
    for name in ("__init__", "mod"):
        (folder / "pack" / f"{name}.py").write_text("raise SystemExit('it was run')")
    for name in ("old.h5", "old.keras", "my.weights.h5"):
        (folder / name).write_bytes(b"\x89HDF\r\n\x1a\n and so on")
    with zipfile.ZipFile(folder / "net.pth", "w") as archive:
        archive.writestr("net/data.pkl", b"no pickle")
    for name in ("model.keras", "renamed.smh"):  # as far as the first bytes tell
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("metadata.json", b"{}")
    (folder / "empty.smh").touch()
    return folder


@pytest.mark.parametrize("line", DAMAGED)
def test_a_file_that_begins_wrong_is_told_without_a_backend(line, folder):
    done = BEGUN.run(CALL, *line.split(), cwd=folder)
    assert done.returncode == 1 and DAMAGED[line] in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not (folder / "run").exists()


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_call_is_answered_without_a_backend(line, folder):
    before = sorted(folder.rglob("*"))
    done = BEGUN.run(CALL, *line.split(), cwd=folder)
    assert done.returncode == 2, done.stderr
    assert WRONG[line] in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("smh") and not done.stdout
    assert sorted(folder.rglob("*")) == before


def test_the_names_are_those_that_keras_has():
    import keras

    members = vars(keras.applications)
    assert known.application_names() == tuple(sorted(n for n in members if n[0].isupper()))
    for name, room in known.OWN.items():
        assert getattr(smh.zoo, name).__module__ == f"smh.zoo.{room}"
