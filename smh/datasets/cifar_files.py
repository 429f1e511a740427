"""The two formats in which CIFAR-10 and CIFAR-100 are published: pickles, and plain records.

An image is 3,072 bytes: 1,024 red, then green, then blue, row by row. In the binary version a
record is its label (CIFAR-100: coarse label, fine label), then the image.

Reference: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), and the
data set's page.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smh.datasets.archives import read_members
from smh.errors import DataFormatError

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarFormat:
    """One version of one of the two sets.

    Attributes:
        folders: what the archive unpacks to; more than one where tools differ.
        archive: the name of the archive.
        train: names of the files of the training part.
        test: name of the test file.
        names: the file of the classes' names.
        labels: pickles: the key of the labels; `names_key` that of their names.
        names_key: see `labels`.
        label_bytes: records: how many labels come before an image; `label_at` is the one wanted.
        label_at: see `label_bytes`.
        lists: pictures: the files of the training and of the test labels.
    """

    folders: tuple[str, ...]
    archive: str
    train: tuple[str, ...]
    test: str
    names: str
    labels: bytes = b""
    names_key: bytes = b""
    label_bytes: int = 0
    label_at: int = 0
    lists: tuple[str, ...] = ()


def read_cifar(source: Path, kind: CifarFormat, classes: int) -> tuple[tuple, tuple, tuple]:
    """Reads a folder or an archive of one version.

    Args:
        source: the folder or the archive.
        kind: which version it is.
        classes: labels are below this.

    Returns:
        Training images `[n, 32, 32, 3]` (uint8) and labels `[n]`, the same of the test part, and
        the classes' names.

    Raises:
        DataFormatError: a file is not there, is damaged, or has labels out of range.
    """
    wanted = [*kind.train, kind.test, kind.names]
    files = read_members(source, wanted)
    absent = [name for name in wanted[:-1] if name not in files]
    if absent:
        raise DataFormatError(f"{source} is incomplete: {', '.join(absent)} not found in it.")
    read = _pickled if kind.labels else _records
    parts = [read(files[n], kind, f"{n} in {source}", classes) for n in (*kind.train, kind.test)]
    train = tuple(np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    return train, parts[-1], _names(files.get(kind.names), kind, f"{kind.names} in {source}")


def _pickled(data: bytes, kind: CifarFormat, where: str, classes: int) -> tuple:
    batch = _unpickled(data, where)
    if b"data" not in batch or kind.labels not in batch:
        raise DataFormatError(
            f"{where} has no 'data' and '{kind.labels.decode()}', but {sorted(batch)!r:.200}."
        )
    images, labels = np.asarray(batch[b"data"]), np.asarray(batch[kind.labels])
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != _PIXELS:
        raise DataFormatError(
            f"{where} has images as {images.dtype} {images.shape}, expected uint8 [n, {_PIXELS}]."
        )
    return _checked(images, labels, where, classes)


def _records(data: bytes, kind: CifarFormat, where: str, classes: int) -> tuple:
    size = kind.label_bytes + _PIXELS
    if not data or len(data) % size:
        raise DataFormatError(
            f"{where} is truncated: it has {len(data):,} bytes, expected a multiple of {size:,} "
            "(an image and its labels)."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    return _checked(records[:, kind.label_bytes :], records[:, kind.label_at], where, classes)


def _checked(images: np.ndarray, labels: np.ndarray, where: str, classes: int) -> tuple:
    if labels.shape != images.shape[:1] or not len(labels) or labels.dtype.kind not in "iu":
        raise DataFormatError(
            f"{where} has {len(images):,} images and labels of shape {labels.shape}, "
            f"{labels.dtype}; expected one whole number for each image."
        )
    if labels.min() < 0 or labels.max() >= classes:
        worst = labels.min() if labels.min() < 0 else labels.max()
        raise DataFormatError(f"{where} has the label {worst}, expected 0 to {classes - 1}.")
    pixels = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), labels.astype("int64")


def _names(data: bytes | None, kind: CifarFormat, where: str) -> tuple[str, ...]:
    if data is None:
        return ()
    if not kind.labels:
        return tuple(line.strip() for line in data.decode().splitlines() if line.strip())
    names = _unpickled(data, where).get(kind.names_key, ())
    return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)


class _ArraysOnly(pickle.Unpickler):
    """A pickle may name any function and have it called; these files need arrays only."""

    _ALLOWED = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("multiarray", "_reconstruct"),
        ("numeric", "_frombuffer"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        # NumPy has moved these since the files were made: numpy.core, then numpy._core.
        short = module.rpartition(".")[2] if module.startswith("numpy.") else module
        if (short, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        if short in ("multiarray", "numeric"):
            module = f"numpy._core.{short}" if hasattr(np, "_core") else f"numpy.core.{short}"
        return super().find_class(module, name)


def _unpickled(data: bytes, where: str) -> dict:
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises whatever it stumbles over
        raise DataFormatError(f"{where} is no pickle of arrays, or is damaged: {error}.") from error
    if not isinstance(batch, dict):
        raise DataFormatError(f"{where} holds a {type(batch).__name__}, expected a dict.")
    return {k.encode() if isinstance(k, str) else k: value for k, value in batch.items()}
