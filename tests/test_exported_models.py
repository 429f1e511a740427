"""Every model of a table, in every format and mode: a right file, or an error that helps."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from exported_models import FORMATS, MODELS

import smh
from smh.errors import ArgumentError

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the formats but keras need TensorFlow"
)
SUFFIX = {"saved_model": "", "litert": ".tflite", "onnx": ".onnx", "keras": ".keras"}
MODES = ("dense", "factors", "stream")
CASES = [
    pytest.param(
        case,
        mode,
        id=f"{case.name}, {mode}",
        marks=() if case.fast and mode == "factors" else pytest.mark.slow,
    )
    for case in MODELS
    for mode in MODES
]


@pytest.fixture(scope="module")
def run():
    """Runs all files in a folder, in a process in which smh cannot be imported."""
    script = Path(__file__).with_name("run_exported.py")
    process = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run_all(folder):
        print(folder, file=process.stdin, flush=True)
        assert process.stdout.readline() == f"ran {folder}\n"
        return dict(np.load(folder / "outputs.npz"))

    yield run_all
    process.stdin.close()
    process.stdout.close()
    process.wait()


def expected(model, inputs):
    """The live model's outputs, flat; it may assign to a seed, which is put back."""
    import tensorflow as tf

    tensors = keras.tree.map_structure(tf.constant, inputs)
    with keras.StatelessScope():
        outputs = model(tensors, training=False)
    return [np.asarray(keras.ops.cast(x, "float32")) for x in keras.tree.flatten(outputs)]


def signature(model, case, format):
    """What the format needs to be told of the inputs, if anything."""
    if format not in case.fixed_batch:
        return {}
    arrays = keras.tree.flatten(case.inputs)
    return {"input_signature": [keras.InputSpec(shape=a.shape, dtype=a.dtype.name) for a in arrays]}


def save_inputs(model, case, folder):
    arrays = keras.tree.flatten(case.inputs)
    names = [tensor.name for tensor in model.inputs]
    np.savez(folder / "inputs.npz", **dict(zip(names, arrays, strict=True)))


def export(model, case, folder, format, mode, name):
    """Exports; returns whether there is a file, and checks the error if there is none."""
    path = folder / f"{name}{SUFFIX[format]}"
    before = sorted(folder.iterdir())
    try:
        smh.export(model, path, format, mode, **signature(model, case, format))
    except ArgumentError as error:
        assert format in case.refused, error
        assert re.search(case.refused[format], str(error)), error
        assert re.search(r"layer '\w+' \(\w+", str(error)), f"no layer is named: {error}"
        assert "format='" in str(error) or "input_signature=" in str(error), error
        assert "loc(" not in str(error) and len(str(error)) < 1200, error
        assert sorted(folder.iterdir()) == before
        return None
    assert format not in case.refused, f"{format} was expected to be refused"
    return path.name


@pytest.mark.parametrize("case, mode", CASES)
def test_a_file_is_right_or_refused_with_the_layer_and_a_way_out(case, mode, tmp_path, run):
    keras.utils.set_random_seed(0)
    model = case.treat(case.build())
    formats = FORMATS if mode == "dense" else FORMATS[:-1]
    written = [export(model, case, tmp_path, format, mode, format) for format in formats]
    save_inputs(model, case, tmp_path)
    check(run(tmp_path), [name for name in written if name], expected(model, case.inputs), case)


@pytest.mark.slow
@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_a_model_that_is_not_compressed_is_exported_alike(case, tmp_path, run):
    keras.utils.set_random_seed(0)
    model = case.build()
    written = [export(model, case, tmp_path, f, None, f) for f in FORMATS]
    save_inputs(model, case, tmp_path)
    check(run(tmp_path), [name for name in written if name], expected(model, case.inputs), case)


def check(outputs, written, wanted, case):
    for name in written:
        for i, array in enumerate(wanted):
            found = outputs[name if len(wanted) == 1 else f"{name} {i}"]
            scale = max(1.0, float(np.abs(array).max()))
            np.testing.assert_allclose(
                found.astype("float32"), array, atol=case.tolerance * scale, rtol=0, err_msg=name
            )
            assert np.ptp(array) > 1e-3, "an output of equal numbers shows nothing"
