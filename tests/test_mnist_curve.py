"""The curve on MNIST: the harness behind results/, on a small copy of MNIST's files."""

import csv
import json
import struct
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))
import mnist_curve  # noqa: E402
import mnist_images  # noqa: E402
import mnist_tables  # noqa: E402
import mnist_training  # noqa: E402
import plot_mnist_curve  # noqa: E402
import plot_slim_curve  # noqa: E402
import slim_curve  # noqa: E402
from mnist_tables import Measured, Run  # noqa: E402

import smh  # noqa: E402
from smh.datasets import digits  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The digits of scikit-learn as MNIST's four files."""
    data, made = digits(), tmp_path_factory.mktemp("mnist")
    for part, x, y in [
        ("train", data.x_train, data.y_train),
        ("t10k", data.x_test, data.y_test),
    ]:
        pixels = np.rint(255 * x[..., 0]).astype(np.uint8)
        head = b"\0\0\x08\3" + struct.pack(">3i", *pixels.shape)
        (made / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = b"\0\0\x08\1" + struct.pack(">i", len(y))
        (made / f"{part}-labels-idx1-ubyte").write_bytes(head + y.astype(np.uint8).tobytes())
    return made


@pytest.fixture
def arguments(folder, tmp_path, monkeypatch):
    """A short run, whose results go to `tmp_path`."""
    monkeypatch.setattr(mnist_images, "VALIDATION", 257)
    monkeypatch.chdir(tmp_path)
    return ["--data-dir", f"{folder}", "--epochs", "4", "--batch", "50", "--replicas", "4"]


def test_images_and_split(folder, monkeypatch):
    monkeypatch.setattr(mnist_images, "VALIDATION", 257)
    data = mnist_images.load(folder)[0]
    assert data.x.shape == (1257, 28, 28, 1) and data.x.min() == 0 and data.x.max() == 1
    train, validation = mnist_images.split(data)
    assert (len(train.y), len(validation.y)) == (1000, 257)
    of_all, of_both = (
        sorted(image.tobytes() for image in images)
        for images in (data.x, np.concatenate([train.x, validation.x]))
    )
    assert of_all == of_both  # each image is in one of the two, once
    again = mnist_images.split(data)[1]
    np.testing.assert_array_equal(again.x, validation.x)


def test_the_batches_of_a_run_come_again_and_differ_between_stages(folder):
    data = mnist_images.load(folder)[0]
    run = Run(batch=64, noise=0.1, shift=2, rotate=7)

    def first(run, stage):
        x, y = next(iter(mnist_images.batches(run, data, stage)))
        return x.numpy(), y.numpy()

    x, y = first(run, 0)
    np.testing.assert_array_equal(first(run, 0)[0], x)
    assert not np.array_equal(first(run, 1)[1], y)
    assert not np.array_equal(first(replace(run, seed=1), 0)[1], y)
    plain, labels = first(Run(batch=64, noise=0), 0)
    np.testing.assert_array_equal(labels, y)
    assert {image.tobytes() for image in plain} <= {image.tobytes() for image in data.x}
    noise = first(Run(batch=64, noise=0.1), 0)[0] - plain
    assert abs(noise.std() - 0.1) < 0.002 and abs(noise.mean()) < 0.002


def test_a_shift_moves_the_image_by_whole_pixels_where_it_is_whole(monkeypatch):
    image = np.zeros((1, 28, 28, 1), np.float32)
    image[0, 10, 12] = 1
    monkeypatch.setattr(
        mnist_images.tf.random, "stateless_uniform", lambda *_: np.float32([[0], [0], [1], [-0.5]])
    )
    run = Run(shift=2, noise=0, batch=1)
    x, _ = next(iter(mnist_images.batches(run, mnist_images.Images(image, np.int32([3])), 0)))
    assert np.argwhere(x.numpy() == 1).tolist() == [[0, 11, 10, 0]]


def test_every_second_image_is_mirrored_and_then_moved(monkeypatch):
    image = np.zeros((1, 28, 28, 1), np.float32)
    image[0, 10, 12] = 1
    data = mnist_images.Images(np.repeat(image, 64, axis=0), np.zeros(64, np.int32))
    run = Run(flip=1, noise=0, batch=64)
    columns = [
        np.argwhere(x == 1)[0].tolist() for x in next(iter(mnist_images.batches(run, data, 0)))[0]
    ]
    assert all(place in ([10, 12, 0], [10, 15, 0]) for place in columns)
    assert 20 < columns.count([10, 15, 0]) < 44


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["--biases", "dense"],
        ["--scale", "log", "--bits", "4"],
        ["--scale", "fanout"],
        ["--method", "dense"],
    ],
)
def test_a_run_is_made_once_and_its_file_predicts_what_the_table_says(arguments, more, monkeypatch):
    arguments = [*arguments, *more]
    mnist_curve.main([*arguments, "--no-test"])
    assert not Path("results/mnist.csv").exists()  # the test images were left alone
    (tried,) = mnist_tables.rows_of(Path("results/mnist_tried.csv"))
    assert tried["test_error"] == "" and "--no-test" in tried["command"]
    monkeypatch.setattr(mnist_curve, "execute", None)  # it would fail if it trained again
    mnist_curve.main(arguments)
    mnist_curve.main(arguments)
    (row,) = mnist_tables.rows_of(Path("results/mnist.csv"))
    (bare,) = (path for path in Path("out/mnist").iterdir() if ".whole." not in path.name)
    run, options = mnist_curve.parse(arguments)
    assert bare.name == f"{run.name}.smh" and bare.stat().st_size == int(row["file_bytes"])
    model = mnist_curve.load_into_fresh(run, bare)
    test = mnist_images.load(options.data_dir)[1]
    wrong = np.argmax(keras.ops.convert_to_numpy(model(test.x)), -1) != test.y
    assert float(row["test_error"]) == round(100 * wrong.mean(), 4) < 60
    assert "epoch 4: loss" in Path(f"results/logs/{run.name}.log").read_text()
    again, _ = mnist_curve.parse(row["command"].split()[2:])
    assert again == run
    mnist_curve.main([*arguments, "--save-again", "results/mnist.csv"])
    assert mnist_tables.rows_of(Path("results/mnist.csv")) == [row]


@pytest.mark.slow
def test_convolutions_may_have_a_pool_of_their_own(arguments):
    words = ["--network", "lenet_5", "--epochs", "1", "--conv-replicas", "3", "--no-test"]
    mnist_curve.main([*arguments, *words])
    (row,) = mnist_tables.rows_of(Path("results/mnist_tried.csv"))
    # 8 scales; sides of the pools for 25,570 and 405,510 numbers, 3 and 4 replicas
    trained = int(row["trained"]) - 8
    assert trained == round(float(row["fraction"]) * 431_080)
    assert 3 * 2 * 25_570**0.5 + 4 * 2 * 405_510**0.5 <= trained < 3 * 330 + 4 * 1_290


def test_pools_are_chosen_by_the_names_of_layers():
    assert mnist_training.pools_of(Run(replicas=3)) == [("", 3)]
    assert mnist_training.pools_of(Run(replicas=3, conv_replicas=5)) == [("conv", 5), ("", 3)]
    run = Run(network="lenet_5", pools="conv|logits=5,=1", bits=0)
    assert mnist_training.pools_of(run) == [("conv|logits", 5), ("", 1)]
    assert "conv_logits_5__1" in run.name  # it is a file's name
    for wrong in ("conv", "conv=0,=1", "conv=5;=1"):
        with pytest.raises(SystemExit, match="--pools is like"):
            mnist_training.pools_of(replace(run, pools=wrong))


@pytest.mark.parametrize(("pools", "said"), [("fc1=4", "leaves out"), ("conv=4,=1", "nothing")])
def test_pools_hold_all_weights(arguments, pools, said):
    with pytest.raises(SystemExit, match=said):
        mnist_curve.main([*arguments, "--no-test", "--pools", pools])
    assert not Path("results/mnist_tried.csv").exists()


@pytest.mark.slow
def test_pruning_and_sharing_go_on_from_the_file_of_the_stage_before(arguments):
    words = [*arguments, "--rate", "0.002", "--precision", "bfloat16", "--no-test"]
    with pytest.raises(SystemExit, match="run that first"):
        mnist_curve.main([*words, "--method", "pruned"])
    for method in ("dense", "pruned", "shared"):
        mnist_curve.main([*words, "--method", method])
    dense, pruned, shared = mnist_tables.rows_of(Path("results/mnist_tried.csv"))
    # Deep Compression keeps 0.08, 0.09 and 0.26 of the kernels; biases are not pruned.
    left = round(0.08 * 235_200) + round(0.09 * 30_000) + round(0.26 * 1_000) + 410
    assert float(dense["fraction"]) == 1
    assert float(pruned["fraction"]) == float(shared["fraction"]) == round(left / 266_610, 6)
    assert 3 * 266_610 < int(dense["file_bytes"]) < 4 * 266_610  # float32 in planes
    # Sign and mantissa of float16 are 11 bits, a position among 12 costs 5; exponents are coded.
    assert 1.8 * left < int(pruned["file_bytes"]) < 3 * left
    assert int(shared["file_bytes"]) < 0.6 * int(pruned["file_bytes"])


@pytest.mark.slow
def test_a_run_may_learn_from_the_network_of_another(arguments):
    words = [*arguments, "--no-test", "--bits", "4"]
    dense, _ = mnist_curve.parse([*arguments, "--method", "dense"])
    with pytest.raises(SystemExit, match="run that first"):
        mnist_curve.main([*words, "--teacher", dense.name])
    mnist_curve.main([*arguments, "--no-test", "--method", "dense"])
    mnist_curve.main(words)
    mnist_curve.main([*words, "--teacher", dense.name])
    taught, plain = (mnist_curve.parse([*words, *w])[0] for w in (["--teacher", dense.name], []))
    assert taught.name != plain.name and "distilled" in taught.name
    _, alone, told = mnist_tables.rows_of(Path("results/mnist_tried.csv"))
    # The grid is chosen in training in both cases, or the files would not be of one size.
    assert abs(int(told["file_bytes"]) - int(alone["file_bytes"])) < 200
    assert float(told["validation_error"]) < 60

    def losses(run):
        lines = Path(f"results/logs/{run.name}.log").read_text().splitlines()
        return [float(line.split()[3].strip(",")) for line in lines if line.startswith("epoch")]

    # With a temperature of 4 the teacher's term is larger than the labels' loss.
    assert losses(taught)[0] > 1.5 * losses(plain)[0]


def test_a_run_goes_on_from_the_run_of_the_same_training():
    run = Run(method="shared", bits=4, density=0.5, seed=3, epochs=7)
    pruned = mnist_training.before(run)
    assert pruned == Run(method="pruned", density=0.5, seed=3, epochs=7)
    assert mnist_training.before(pruned) == Run(method="dense", seed=3, epochs=7)


def test_runs_of_a_file_are_made_in_order_and_not_again(arguments, monkeypatch):
    made = []

    def execute(run, folder, out, write):
        made.append((run.seed, run.replicas))
        (out / f"{run.name}.smh").write_bytes(b"12345")
        return Measured(0.1, 10, 3.5, None, 5, 6, 1.0)

    monkeypatch.setattr(mnist_curve, "execute", execute)
    command = "python examples/mnist_curve.py --data-dir DIR --no-test"
    Path("runs.txt").write_text(f"# first\n{command} --seed 1\n\n{command} --replicas 3\n")
    for _ in range(2):
        mnist_curve.main([*arguments[:2], "--runs", "runs.txt"])
    assert made == [(1, 8), (0, 3)]
    with Path("results/mnist_tried.csv").open() as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["1", "0"]


def test_the_pictures_and_the_tables(tmp_path, capsys):
    table = tmp_path / "mnist.csv"

    def add(run, fraction, error, size):
        measured = Measured(fraction, 8_000, 2.1, error, size, size + 90, 50.0)
        mnist_tables.append(table, run, measured, True)

    for seed, size, error in ((0, 3000, 2.0), (1, 3100, 2.4), (2, 3050, 2.2)):
        add(Run(seed=seed), 0.03, error, size)
    add(Run(epochs=90), 0.03, 1.0, 3050)
    add(Run(method="dense"), 1, 1.6, 1_066_440)
    add(Run(method="shared", bits=4, density=0.5, epochs=8), 0.05, 1.7, 20_000)
    add(Run(data="fashion_mnist", replicas=2, conv_replicas=6), 0.01, 9.9, 2_500)
    add(Run(data="fashion_mnist", pools="fc1|fc2=4,=3", batch=64), 0.02, 9.8, 3_500)
    plot_mnist_curve.main(["--results", str(tmp_path)])
    shown = capsys.readouterr().out
    line = "3 % | 60 epochs, noise 0.3 | 3 | 3,050 (3,000 to 3,100) | 3,140"
    assert f"| M=8, 3 bits | {line} | 2.10 % | 2.20 % | 2.40 % |" in shown
    assert "| 20x pruned, 4 bits | 5 % | 8 + 4 + 2 epochs, noise 0.3 | 1 |" in shown
    fashion = shown.split("LeNet-300-100, Fashion-MNIST")[1]
    assert "| M=6 + 2, 3 bits | 1 % |" in fashion
    assert "| M=4 + 3 (fc1/fc2 + rest), 3 bits | 2 % | 60 epochs, batch 64, noise" in fashion
    for name in ("lenet_300_100", "fashion_mnist_lenet_300_100"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "lenet_5.png").exists()


def test_the_lines_of_slim_networks_are_what_no_smaller_file_beats(tmp_path):
    def row(way, adds, size, validation, test):
        names = ("way", "multiply_adds", "bytes", "validation_error", "test_error")
        return dict(
            zip(names, (way, str(adds), str(size), str(validation), str(test)), strict=True)
        )

    rows = [
        row("dense", 40, 9000, 9.0, 10.0),
        row("dense, shrunk", 40, 600, 9.5, 10.5),
        row("again, shrunk", 20, 400, 10.0, 11.0),
        row("again, shrunk", 20, 300, 9.9, 11.5),  # smaller, and better on validation
        row("fisher, shrunk", 20, 200, 13.0, 14.0),
        row("pool M=8, shrunk", 40, 100, 23.0, 24.0),
    ]
    found = plot_slim_curve.sides_of(rows)
    assert found == {8: [(600, 10.5)], 4: [(200, 14.0), (300, 11.5)]}
    assert plot_slim_curve.shrunk_pools_of(rows) == [(100, 24.0)]
    with pytest.raises(SystemExit):
        plot_slim_curve.main(["--results", str(tmp_path)])
    for picture in plot_slim_curve.PICTURES:
        for name in (picture.others, picture.slim):
            (tmp_path / name).write_bytes((ROOT / "results" / name).read_bytes())
    plot_slim_curve.main(["--results", str(tmp_path)])
    for picture in plot_slim_curve.PICTURES:
        assert (tmp_path / picture.path).read_bytes()[:4] == b"\x89PNG"


def test_a_table_that_is_older_than_a_setting(tmp_path):
    """Its rows get the default, and are found; a new row has its own."""
    table, older, newer = tmp_path / "t.csv", Run(seed=1), Run(seed=2, blocks=4)
    measured = Measured(0.1, 10, 1.0, None, 100, 200, 1.0)
    mnist_tables.append(table, older, measured, True)
    rows = [{k: v for k, v in row.items() if k != "blocks"} for row in mnist_tables.rows_of(table)]
    mnist_tables.write_rows(table, rows)
    assert mnist_tables.find(older, table) and not mnist_tables.find(newer, table)
    mnist_tables.append(table, newer, measured, True)
    assert [row["blocks"] for row in mnist_tables.rows_of(table)] == ["1", "4"]
    assert mnist_tables.find(older, table) and mnist_tables.find(newer, table)


def test_colours_are_normalised_and_grey_images_stay():
    grey, colours = np.full((2, 4, 4, 1), 0.5, "float32"), np.full((2, 4, 4, 3), 0.5, "float32")
    np.testing.assert_array_equal(mnist_images.normalised(grey), grey)
    wanted = (0.5 - np.array(mnist_images.MEAN)) / mnist_images.STD
    np.testing.assert_allclose(mnist_images.normalised(colours)[0, 0, 0], wanted, rtol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_fused_normalisation_is_keras_normalisation(training):
    x = np.random.default_rng(0).normal(2, 3, (8, 5, 5, 4)).astype("float32")
    layers = [keras.layers.BatchNormalization() for _ in range(2)]
    for layer in layers:
        layer.build(x.shape)
        layer.gamma.assign([1.0, 2.0, 0.5, -1.0])
    plain = keras.ops.convert_to_numpy(layers[0](x, training=training))
    with mnist_training.fused_normalisation():
        fused = keras.ops.convert_to_numpy(layers[1](x, training=training))
    np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=1e-4)
    for one, other in zip(layers[1].weights, layers[0].weights, strict=True):
        # TensorFlow's variance is that of a sample: n / (n - 1), here 200 / 199.
        one, other = (keras.ops.convert_to_numpy(v) for v in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dense", "smh"])
def test_a_run_that_is_killed_after_each_epoch_ends_with_the_same_file(
    method, arguments, monkeypatch
):
    command = [*arguments, "--method", method, "--refits", "1", "--shift", "2", "--no-test"]
    mnist_curve.main([*command, "--out", "whole"])
    Path("results/mnist_tried.csv").unlink()

    class Killed(mnist_training.State):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            raise KeyboardInterrupt

    monkeypatch.setattr(mnist_training, "State", Killed)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            mnist_curve.main([*command, "--out", "killed"])
    mnist_curve.main([*command, "--out", "killed"])
    files = {path.name: path.read_bytes() for path in Path("whole").iterdir()}
    assert files and files == {path.name: path.read_bytes() for path in Path("killed").iterdir()}


@pytest.mark.slow
def test_what_is_made_of_the_dense_network(folder, arguments, capsys):
    """Shrunk into so many bytes, and with fewer multiply-adds, trained on."""
    dense = [*arguments, "--network", "lenet_5", "--method", "dense", "--rate", "0.002"]
    mnist_curve.main([*dense, "--no-test"])
    mnist_curve.main([*dense[:-4], "--method", "shrunk", "--rate", "0.002", "--target", "60000"])
    (row,) = mnist_tables.rows_of(Path("results/mnist.csv"))
    assert 55_000 < int(row["file_bytes"]) <= 60_000 and float(row["test_error"]) < 30
    (file,) = (p for p in Path("out/mnist").glob("lenet_5-dense*.smh") if "whole" not in p.name)
    capsys.readouterr()
    options = ["--network", "lenet_5", "--data", "mnist", "--epochs", "1", "--batch", "50"]
    arguments = ["--data-dir", f"{folder}", "--file", f"{file}", *options, "--teacher", f"{file}"]
    slim_curve.main(arguments)
    found = sides(capsys)
    assert [side["way"] for side in found] == ["dense", "magnitude", "fisher"]
    whole, *slim = (side["multiply_adds"] for side in found)
    assert all(0.3 * whole < work <= 0.5 * whole for work in slim)
    assert all(side["test_error"] < 40 for side in found)
    times = {path: path.stat().st_mtime_ns for path in Path("out/slim").iterdir()}
    slim_curve.main([*arguments, "--ways", "magnitude", "--sizes", "30000"])
    again, small = sides(capsys)
    assert again == found[1] and times == {path: path.stat().st_mtime_ns for path in times}
    assert small["multiply_adds"] == again["multiply_adds"]
    assert 29_000 < small["bytes"] <= 30_000 and small["test_error"] < 40
    (masked,) = Path("out/slim").glob("masked-lenet_5-magnitude-*.smh")
    slim_curve.main([*arguments, "--ways", "again", "--file", f"{masked}"])
    (on,) = sides(capsys)
    assert on["multiply_adds"] == again["multiply_adds"] and on["file"] != again["file"]
    assert on["test_error"] < 40
    slim_file = ["--ways", "file", "--file", f"out/slim/{again['file']}", "--sizes", "6000"]
    slim_curve.main([*arguments, *slim_file, "--rounded-epochs", "1"])
    as_it_was, tiny, trained = sides(capsys)
    assert as_it_was | {"way": ""} == again | {"way": ""}
    assert trained["way"] == "file, shrunk, trained" and tiny["bytes"] <= 6_000
    assert trained["bytes"] < 8_000 and trained["test_error"] <= tiny["test_error"]


def test_fused_normalisation_reaches_pruned_layers(monkeypatch):
    layers = [
        keras.layers.Conv2D(8, 3),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(2, 3),
    ]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    calls, fused = [], mnist_training.tf.raw_ops.FusedBatchNormV3

    def counted(**arguments):
        calls.append(arguments)
        return fused(**arguments)

    monkeypatch.setattr(mnist_training.tf.raw_ops, "FusedBatchNormV3", counted)
    with mnist_training.fused_normalisation():
        smh.prune(model, 0.5, structure="channels", seed=0)
        model(np.ones((2, 8, 8, 3), "float32"), training=True)
    assert len(calls) == 1 and np.count_nonzero(calls[0]["scale"]) == 4


def sides(capsys):
    """The rows that were printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == "{"]
