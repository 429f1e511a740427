"""`smh.runtime.expand`: a small LiteRT file as one with constants, without Keras."""

import subprocess
import sys
from collections import Counter

import keras
import numpy as np
import parametrizations
import pytest
from parametrizations import PARAMETRIZATIONS
from run_exported import RUN
from test_low_bit_exports import inputs, network

import smh
from smh.errors import ArgumentError
from smh.runtime.litert_file import LitertFile

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="LiteRT's converter needs TensorFlow"
)
# What reads a kernel, and where.
KERNELS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1}


def mixed():
    """A pool with 4-bit factors, shared values, 4-bit and pruned weights, and what is dense."""
    model = network()
    wide = model.layers[-2].kernel.path
    smh.compress(model, 0.05, apply_to=wide, seed=0)
    smh.quantize_factors(model, 4)
    smh.cluster(model, 3, apply_to=model.layers[0].kernel.path)
    smh.quantize_weights(model, 4, apply_to=model.layers[3].kernel.path)
    smh.prune(model, 0.7, apply_to=model.layers[-1].kernel.path)
    return model


def opened(path):
    file = LitertFile(path.read_bytes())
    return file, file.model.subgraphs[0]


def kinds(path):
    file, graph = opened(path)
    return Counter(file.kind(operation) for operation in graph.operators)


def output(path, x):
    return RUN[".tflite"](str(path), x)[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small file, and the dense one of the same model."""
    folder, model = tmp_path_factory.mktemp("expanding"), mixed()
    smh.export(model, folder / "small.tflite", "litert")
    smh.export(model, folder / "dense.tflite", "litert", "dense")
    return folder


@needs_tensorflow
def test_a_device_makes_the_small_file_the_dense_one_without_keras(files):
    small, fast, dense = (files / f"{name}.tflite" for name in ("small", "fast", "dense"))
    code = (
        "import sys, smh; smh.runtime.expand(*sys.argv[1:]); "
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small), str(fast)], capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr
    expected = output(small, inputs())
    np.testing.assert_allclose(output(fast, inputs()), expected, atol=1e-5 * np.ptp(expected))
    assert kinds(small)["DENSIFY"] == 1
    # The same operations, and one more for what stays in eight bits.
    assert kinds(fast) - Counter(DEQUANTIZE=1) == kinds(dense)
    assert small.stat().st_size < 0.2 * dense.stat().st_size
    assert fast.stat().st_size < dense.stat().st_size + 4000
    file, graph = opened(fast)
    made = {int(o.outputs[0]) for o in graph.operators if file.kind(o) == "DEQUANTIZE"}
    for operation in graph.operators:
        at = KERNELS.get(file.kind(operation))
        if at is not None:
            number = int(operation.inputs[at])
            assert number in made or file.constant(graph.tensors[number]) is not None


@needs_tensorflow
def test_a_folder_is_not_replaced(files):
    (files / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(ArgumentError, match="is a folder"):
        smh.runtime.expand(files / "dense.tflite", files / "folder")
    assert (files / "folder" / "inside").is_dir()


@needs_tensorflow
def test_a_dense_file_stays_what_it_is(files):
    dense, again = files / "dense.tflite", files / "again.tflite"
    smh.runtime.expand(dense, again)
    assert kinds(again) == kinds(dense)
    np.testing.assert_array_equal(output(again, inputs()), output(dense, inputs()))


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["factors", "stream"])
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_every_parametrization_is_expanded(name, mode, tmp_path):
    model, x = PARAMETRIZATIONS[name](parametrizations.network(), 3), parametrizations.inputs()
    small, fast = tmp_path / "small.tflite", tmp_path / "fast.tflite"
    smh.export(model, small, "litert", mode)
    smh.runtime.expand(small, fast)
    expected = output(small, x)
    np.testing.assert_allclose(output(fast, x), expected, atol=1e-5 * np.ptp(expected))
    flatten = {"SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE"}
    assert set(kinds(fast)) <= {*KERNELS, *flatten, "TANH", "DEQUANTIZE"}


@needs_tensorflow
def test_a_file_that_is_cut_or_damaged_is_refused(files, tmp_path):
    content, rng = (files / "small.tflite").read_bytes(), np.random.default_rng(0)
    path, fast, refused = tmp_path / "m.tflite", tmp_path / "fast.tflite", Counter()
    for i in range(40):
        bad = bytearray(content)
        if i % 2:
            bad = bad[: int(rng.integers(8, len(bad)))]
        else:  # the end of such a file says where all else lies
            bad[-int(rng.integers(1, 3000))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            smh.runtime.expand(path, fast)
        except ArgumentError as error:
            assert "m.tflite' cannot be expanded: the file is damaged or cut" in str(error)
            refused[i % 2] += 1
    assert refused[1] == 20 and refused[0] > 2  # a flipped number is a number too


def test_what_is_no_file_of_litert_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"no such file, but long enough")
    with pytest.raises(ArgumentError, match="m.tflite' cannot be expanded.*no LiteRT file"):
        smh.runtime.expand(path, tmp_path / "fast.tflite")
    with pytest.raises(FileNotFoundError):
        smh.runtime.expand(tmp_path / "none.tflite", tmp_path / "fast.tflite")
    assert [p.name for p in tmp_path.iterdir()] == ["m.tflite"]
