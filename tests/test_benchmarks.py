"""Every benchmark runs, at toy size, and reports what its README says. No times are tested."""

import csv
import importlib
import io
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
def test_what_runs_where(run):
    ways = ["--ways", "dense", "4 bits", "pool 0.1, 4 bits"]
    result = run("what_runs_where", ["--size", "32", "--rounds", "1", *ways])
    files = result["files"]
    assert len(files) == 2 + 2 + 3 + 3  # dense, in eight bits, and two that are expanded too
    for name, file in files.items():
        assert file["time"] > 0 and file.get("relative_error", 0) < 1e-4
        small = "4 bits" in name and "expanded" not in name
        assert file["bytes"] < (3e6 if small else 1.5e7)


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


def shrink_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("shrink"), importlib.import_module("shrink_ways")


def test_shrink_finds_the_coarsest_step_that_keeps_each_level(monkeypatch):
    _, ways = shrink_benchmark(monkeypatch)
    asked = []

    def make(qp):
        asked.append(qp)
        return ways.Made("nncodec", f"qp={qp}", 1000 - 10 * qp, 2.0 ** ((qp + 20) / 2), 0.0)

    found = ways.searched(make, (0.5, 1.0, 4.0))
    for level, best in ((0.5, -22), (1.0, -20), (4.0, -16)):
        assert max(qp for qp, one in found.items() if one.loss <= level) == best
    assert len(asked) == len(set(asked)) < 20


def test_shrink_picks_the_smallest_file_and_keeps_other_rows(monkeypatch, tmp_path):
    shrink, ways = shrink_benchmark(monkeypatch)
    made = [
        ways.Made("nncodec", "fine", 900, 0.1, 1.0),
        ways.Made("nncodec", "coarse", 500, 0.6, 1.0),
        ways.Made("LiteRT int8", "", 700, 9.0, 1.0),
        ways.Made("smh.shrink", "", 450, 0.4, 1.0),
    ]
    assert [one.bytes for one in shrink.smallest(made, 0.5)] == [900, 700, 450]
    assert [one.bytes for one in shrink.smallest(made, 1.0)] == [500, 700, 450]
    assert [one.bytes for one in shrink.smallest(made, 0.05)] == [700]
    rows = [
        {"network": network, "level": 0.5, "way": way, "bytes": size}
        for network, way, size in [
            ("a", "nncodec", 900), ("a", "smh.shrink", 450),
            ("b", "nncodec", 100), ("b", "smh.shrink", 200),
        ]
    ]  # fmt: skip
    assert shrink.ratios(rows) == {"a 0.5": 0.5, "b 0.5": 2.0, "geometric mean": 1.0}
    path = tmp_path / "shrink.csv"
    shrink.write(rows, path)
    shrink.write([{**rows[0], "bytes": 800}], path)
    text = path.read_text()
    assert "a,0.5,nncodec,800" in text and "900" not in text and "b,0.5,nncodec,100" in text


def test_shrunk_and_trained(monkeypatch, tmp_path, capsys):
    shrink, _ = shrink_benchmark(monkeypatch)
    trained, networks = map(importlib.import_module, ("shrink_trained", "networks.network"))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(64, "tanh")])
    model.add(keras.layers.Dense(3))
    x = np.random.default_rng(0).normal(size=(600, 8)).astype("float32")
    before = model.predict(x[:300], verbose=0)

    def loss(changed):
        return 100 * float(np.abs(changed.predict(x[:300], verbose=0) - before).mean())

    network = networks.Network("toy", model, x[300:], loss, "%", (1, 2, 3), lambda _: x[300:])
    monkeypatch.setattr(trained.networks, "load", lambda name, folder: network)
    table, out = tmp_path / "shrink.csv", tmp_path / "trained.csv"
    rows = [{"network": "toy", "way": "smh.shrink", "bytes": size} for size in (3000, 2000, 1000)]
    shrink.write(rows, table)
    options = f"--networks toy --minutes 0.02 --share 0.35 --table {table} --out {out}"
    trained.main(options.split())
    trained.main(options.split())
    first, second = csv.DictReader(out.read_text().splitlines())
    assert "network=toy unit=% asked=700" in capsys.readouterr().out
    assert first["shrunk_bytes"] == second["shrunk_bytes"] and int(first["examples"]) > 1000
    assert float(first["loss"]) < 0.7 * float(first["shrunk_loss"])
    with pytest.raises(SystemExit, match="no row of smh.shrink for other; use --size"):
        trained.asked_for("other", table, 1.0)


def test_images_are_moved_whole(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    moved = importlib.import_module("networks.network").moved
    images = np.arange(2 * 6 * 5 * 3).reshape(2, 6, 5, 3)
    np.testing.assert_array_equal(moved(images, 0, by=0, mirrored=False), images)
    seen = {moved(images[:1], seed, by=1).tobytes() for seed in range(200)}
    shifts = [np.clip(np.arange(6) + k, 0, 5) for k in (-1, 0, 1)]
    sides = [np.clip(np.arange(5) + k, 0, 4) for k in (-1, 0, 1)]
    every = [images[:1, rows][:, :, c[::d]] for rows in shifts for c in sides for d in (1, -1)]
    assert seen == {np.ascontiguousarray(one).tobytes() for one in every}


def test_kernels_are_given_to_others_in_their_order(monkeypatch):
    _, ways = shrink_benchmark(monkeypatch)
    inputs = keras.Input((8, 8, 3))
    net = keras.layers.Conv2D(4, (2, 3))(inputs)
    net = keras.layers.DepthwiseConv2D(3)(net)
    net = keras.layers.Dense(5)(keras.layers.Flatten()(net))
    model = keras.Model(inputs, net)
    kernels = [v for v in model.weights if len(v.shape) > 1]
    given = [ways.as_others_have_it(v) for v in kernels]
    assert [one.shape for one in given] == [(4, 3, 2, 3), (4, 1, 3, 3), (5, kernels[2].shape[0])]
    for one, variable in zip(given, kernels, strict=True):
        np.testing.assert_array_equal(ways.back(one, variable), np.asarray(variable.value))


def test_old_pytorch_files_are_read_without_pytorch(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    torch_file = importlib.import_module("networks.torch_file")
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    kept = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4).reshape(2, 2).t()}
    torch.save(kept, buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    found = torch_file.read_tensors(buffer)
    assert list(found) == ["a", "b"]
    for name, tensor in kept.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_start_up(run):
    spent = run("start_up", ["--network", "tiny"])
    assert list(spent)[:3] == ["build", "compress", "save"] and min(spent.values()) >= 0


def test_coding_speed(run):
    result = run("coding_speed", ["--count", "3000", "--rounds", "1"])
    assert "Uniform, floats" in result and "Stepped" in result
    for sides in result.values():
        assert set(sides) == {"lanes", "one"}
        assert all(number > 0 for side in sides.values() for number in side.values())


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
