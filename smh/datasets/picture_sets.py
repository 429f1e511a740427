"""Data sets that are folders of pictures: Imagenette, and anybody's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smh.datasets import places
from smh.datasets.class_folders import Pictures, list_pictures, read_part
from smh.datasets.dataset import Dataset, Published, Split, as_dataset, split_indices
from smh.datasets.pictures import Look
from smh.errors import ArgumentError, DataFormatError, MissingDataError

_IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
_IMAGENETTE_COUNTS = (9_469, 3_925)
# The smallest that has enough pixels is taken.
_IMAGENETTE_SIZES = {"imagenette2-160": 160, "imagenette2-320": 320, "imagenette2": 10**6}


def imagenette(
    data_dir: places.DataDir = None,
    image_size: int | tuple[int, int] = 160,
    *,
    validation: int | float = 1000,
    seed: int = 0,
    dtype: str = "float32",
) -> Dataset:
    """Loads Imagenette (version 2): ten classes of ImageNet that are easy to tell apart.

    It is looked for in `data_dir` and in the folder where Keras keeps data: `imagenette2-160.tgz`,
    `imagenette2-320.tgz` or `imagenette2.tgz`, or what these unpack to. Of several the smallest is
    taken whose pictures are not smaller than `image_size`. Its folder `val` is the test part.

    Args:
        data_dir: a folder.
        image_size: height and width in pixels. The shorter side is scaled to it, the longer one
            cut at both ends.
        validation: how many training images become the validation part, of each class its share;
            a float below 1 is a share. 0: no validation part.
        seed: which images these are.
        dtype: "float32" for images in [0, 1] (4.1 GB at 160 pixels); "uint8" for bytes (1.0 GB),
            which `smh.datasets.batches` scales batch by batch.

    Returns:
        A `Dataset` of 8,469 training, 1,000 validation and 3,925 test images `[n, h, w, 3]`.

    Raises:
        MissingDataError: it is nowhere; the message says how to get it.
        DataFormatError: an archive or a picture is damaged, or a class is not there.
        ArgumentError: an argument is out of range, or `data_dir` is no folder.
        MissingPackageError: Pillow is not installed.

    Warns:
        SmhWarning: there are other numbers of images than in the published set.

    Cost: all images in memory; decoding runs on all cores.

    Example:
        `data = smh.datasets.imagenette("data", 128, dtype="uint8")`

    Reference: J. Howard, "Imagenette", github.com/fastai/imagenette (2019).
    """
    look, split = Look.of(image_size, 3), Split(validation, seed, dtype)
    root = places.checked_data_dir(data_dir)
    source = _find_imagenette(root, max(look.height, look.width))
    pictures = list_pictures(source)
    if set(pictures.classes) != set(_IMAGENETTE) or set(pictures.parts) != {"train", "validation"}:
        raise DataFormatError(
            f"{source} is not Imagenette: expected the folders train and val with the classes "
            f"{', '.join(_IMAGENETTE)}, found the parts {', '.join(pictures.parts) or 'none'} with "
            f"{', '.join(pictures.classes[:12]) or 'no class'}."
        )
    counts = [len(pictures.parts[part]) for part in ("train", "validation")]
    places.warn_about_counts("imagenette", str(source), counts, _IMAGENETTE_COUNTS)
    train, test = (read_part(pictures, part, look) for part in ("train", "validation"))
    names = tuple(_IMAGENETTE[name] for name in pictures.classes)
    return as_dataset(Published(train, test, "imagenette", names, str(source)), split)


def image_folder(
    data_dir: places.DataDir,
    image_size: int | tuple[int, int] = 160,
    *,
    channels: int = 3,
    test: float = 0.2,
    validation: int | float = 0.1,
    seed: int = 0,
    dtype: str = "float32",
) -> Dataset:
    """Loads a folder of pictures, one folder per class.

    Either `data_dir/CLASS/picture.png`, or `data_dir/train/CLASS/...` with `test/` or `val/` beside
    it. With all three, `val` is the validation part. With `train` and `val` only, `val` is the test
    part, and the validation images come from `train`. Without parts, both are drawn at random.
    A class's label is its place among the sorted names.

    Args:
        data_dir: the folder.
        image_size: height and width in pixels, `(height, width)` or one number. The side that is
            too short is scaled to it, the other cut at both ends.
        channels: 3 for colour, 1 for grey.
        test: share of each class for the test part, where the folder has no parts.
        validation: how many training images become the validation part, of each class its share;
            a float below 1 is a share. 0: no validation part. Unused where `val` is it.
        seed: which images go where.
        dtype: "float32" for images in [0, 1]; "uint8" for bytes, a quarter of the memory, which
            `smh.datasets.batches` scales batch by batch.

    Returns:
        A `Dataset` named as the folder.

    Raises:
        MissingDataError: there are no pictures in folders there.
        DataFormatError: a picture is damaged, or a part lacks a class; the message names it.
        ArgumentError: an argument is out of range, or `data_dir` is no folder.
        MissingPackageError: Pillow is not installed.

    Cost: all images in memory; decoding runs on all cores.

    Example:
        `data = smh.datasets.image_folder("photos", 96)`
    """
    look, split = Look.of(image_size, channels), Split(validation, seed, dtype)
    if not isinstance(test, (int, float)) or not 0 < test < 1:
        raise ArgumentError(f"test must be a share above 0 and below 1, got {test!r}.")
    root = places.checked_data_dir(data_dir)
    if root is None:
        raise ArgumentError("image_folder needs data_dir, the folder with one folder per class.")
    pictures = list_pictures(root)
    if not pictures.parts or "train" not in pictures.parts and "" not in pictures.parts:
        parts = ", ".join(pictures.parts) or "no picture"
        raise MissingDataError(
            f"{root} has {parts}, expected CLASS/picture.png or train/CLASS/picture.png with test/ "
            "or val/ beside train/."
        )
    if "" in pictures.parts:
        return _without_parts(pictures, look, test, split)
    return _with_parts(pictures, look, split)


def _without_parts(pictures: Pictures, look: Look, share: float, split: Split) -> Dataset:
    images, labels = read_part(pictures, "", look)
    rows = split_indices(labels, share, split.seed)
    train, test = ((images[part], labels[part]) for part in rows)
    return as_dataset(_published(pictures, train, test), split)


def _with_parts(pictures: Pictures, look: Look, split: Split) -> Dataset:
    names = [name for name in ("test", "validation") if name in pictures.parts]
    if not names:
        raise MissingDataError(
            f"{pictures.source} has train/ but neither test/ nor val/ beside it. Add one, or give "
            f"{pictures.source / 'train'} as data_dir: then parts are drawn from it."
        )
    parts = [read_part(pictures, name, look) for name in ("train", *names)]
    return as_dataset(_published(pictures, *parts), split)


def _published(pictures: Pictures, train: tuple, test: tuple, validation=None) -> Published:
    source = pictures.source
    return Published(train, test, source.name, pictures.classes, str(source), validation)


def _find_imagenette(root: Path | None, pixels: int) -> Path:
    found: list[tuple[int, Path]] = []
    for folder in (*([root] if root else []), places.keras_cache()):
        candidates = [(folder.name, folder)] if folder.name in _IMAGENETTE_SIZES else []
        candidates += [(name, folder / name) for name in _IMAGENETTE_SIZES]
        candidates += [(name, folder / f"{name}.tgz") for name in _IMAGENETTE_SIZES]
        found += [
            (_IMAGENETTE_SIZES[name], path)
            for name, path in candidates
            if path.is_file() or (path / "train").is_dir()
        ]
        if found:
            break
    if not found:
        raise MissingDataError(places.missing("imagenette", _ways()))
    enough = [entry for entry in found if entry[0] >= pixels] or [max(found, key=lambda e: e[0])]
    return min(enough, key=lambda entry: entry[0])[1]


def _ways() -> Sequence[str]:
    return (
        "imagenette2-160.tgz (99 MB), imagenette2-320.tgz or imagenette2.tgz, as "
        "github.com/fastai/imagenette lists them, in a folder: "
        "smh.datasets.imagenette(data_dir=FOLDER)",
        "the same unpacked: tar -xzf imagenette2-160.tgz -C FOLDER",
    )
