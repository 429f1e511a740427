"""Every benchmark runs, at toy size, and reports what its README says. No times are tested."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the getter's door, and counted products"
)
LENET = ["--model", "lenet_5", "--batch", "4", "--steps", "2"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a benchmark in this process; returns what it printed as JSON."""

    def run(name, arguments):
        monkeypatch.syspath_prepend(BENCHMARKS)
        importlib.import_module(name).main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_train_step(run):
    result = run("train_step", LENET)
    assert {"model", "batch", "fraction", "steps", "machine", "sides"} == set(result)
    dense, *others = result["sides"].values()
    assert list(result["sides"]) == ["dense", "compressed", "published", "hashed"]
    assert dense["ratio"] == 1 and dense["trained"] == 431_080
    for side in others:
        assert side["step_ms"] > 0 and side["ratio"] > 0 and side["trained"] < 44_000


@pytest.mark.slow
def test_train_step_memory(run):
    result = run("train_step", [*LENET, "--memory", "--sides", "dense"])
    assert result["sides"]["dense"]["peak_mb"] > result["sides"]["dense"]["own_mb"] > 0


@pytest.mark.slow
def test_recurrent(run):
    result = run("recurrent", ["--length", "5", "--units", "32", "--batch", "2", "--steps", "2"])
    for model in ("lstm", "siamese"):
        row = result["models"][model]
        assert row["products"] == 1
        assert row["dense_ms"] > 0 and row["compressed_ms"] > 0 and row["ratio"] > 0


@pytest.mark.slow
def test_export_sizes(run):
    result = run("export_sizes", ["--size", "32", "--rounds", "1"])
    assert len(result["files"]) == 9
    for name, file in result["files"].items():
        limit = result["dense_numbers_bytes" if "dense" in name else "compressed_numbers_bytes"]
        assert file["bytes"] < limit + 2**20 and file["relative_error"] < 1e-4
        assert file["ms"] > 0 and file["ratio"] > 0


@pytest.mark.slow
def test_low_bits(run, tmp_path):
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 600), ("t10k", 100)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            numbers = rng.integers(0, 10, shape, "uint8")
            lengths = np.array(shape, ">i4").tobytes()
            file = tmp_path / f"{prefix}-{kind}-ubyte"
            file.write_bytes(bytes([0, 0, 8, len(shape)]) + lengths + numbers.tobytes())
    options = ["--data-dir", str(tmp_path), "--epochs", "2", "--bits", "8", "2", "--seeds", "0"]
    (row,) = run("low_bits", options)["results"]
    assert 0 <= row["float"] <= 100 and abs(row["after"]["8"] - row["float"]) < 20
    assert set(row["trained"]) == {"2", "8"} and row["bytes"]["2"] < row["bytes"]["8"] < 20_000


@pytest.mark.slow
def test_growth(run, tmp_path):
    sizes = ["--weights", "2e4", "8e4", "--steps", "1", "--sides", "dense"]
    files = ["--csv", str(tmp_path / "a.csv"), "--plot", str(tmp_path / "a.png")]
    result = run("growth", [*sizes, *files])
    assert [row["weights"] for row in result["rows"]] == [20_000, 80_000]
    assert (tmp_path / "a.csv").read_text().count("\n") == 3
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.slow
def test_building_in_a_scope_never_holds_the_dense_weights():
    """By the process's peak: 40 layers of 4 MB, 160 MB together."""
    peaks = {}
    for side in ("dense", "in scope"):
        script = [sys.executable, str(BENCHMARKS / "growth.py"), "--one", side, "--json"]
        size = ["--weights", "4e7", "--depth", "40", "--fraction", "0.02", "--batch", "1"]
        done = subprocess.run(
            [*script, *size, "--steps", "1"], capture_output=True, text=True, check=True
        )
        row = json.loads(done.stdout.splitlines()[-1])
        assert row["weights"] == 40_000_000 and row["largest_layer_mb"] == 4
        peaks[side] = row["build_peak_mb"]
    assert peaks["dense"] > 160, "the measurement must see the dense weights"
    assert peaks["in scope"] < 80


@pytest.mark.slow
def test_from_trained(run):
    toy = "--model lenet_300_100 --data digits --images 256 --dense-epochs 4 --epochs 2 --seeds 0"
    result = run("from_trained", [*toy.split(), "--fractions", "0.2"])
    (found,) = result["results"]
    sides = found["sides"]["0.2"]
    assert list(sides) == ["fit", "fit, distilled", "random", "random, distilled"]
    for side in sides.values():
        assert all(0 <= side[epochs] <= 100 for epochs in ("0", "1", "2"))
    assert 0 < sides["fit"]["kept"] < 1 and sides["random"]["kept"] is None
    # Before any training only the fit knows something of what the dense model had learned.
    assert found["dense"] < sides["fit"]["0"] < sides["random"]["0"]


@pytest.mark.slow
def test_slim(run):
    small = ["--model", "resnet_8", "--size", "16", "--rounds", "1", "--steps", "1", "--batch", "2"]
    result = run("slim", small)
    assert result["multiply_adds"][1] <= result["multiply_adds"][0] / 2
    assert set(result["runtimes"]) == {"litert", "onnx", "keras"}
    for row in (*result["runtimes"].values(), result["training"]):
        assert row["dense_ms"] > 0 and row["slim_ms"] > 0 and row["ratio"] > 0
    for row in result["runtimes"].values():
        assert row["slim_bytes"] < row["dense_bytes"]
