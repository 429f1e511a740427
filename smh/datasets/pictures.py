"""Picture files as arrays of one size."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from smh.errors import ArgumentError, DataFormatError, MissingPackageError
from smh.progress import task

ENDINGS = (".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm")
_AT_ONCE = 256  # files held in memory beside the result


@dataclass(frozen=True)
class Look:
    """What every picture is made into.

    Attributes:
        height: in pixels.
        width: in pixels.
        channels: 3 for colour, 1 for grey.
    """

    height: int
    width: int
    channels: int

    @classmethod
    def of(cls, image_size: int | tuple[int, int], channels: int) -> Look:
        """Checks what the caller gave.

        Raises:
            ArgumentError: sizes below one pixel, or other than one or three channels.
        """
        sizes = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if len(sizes) != 2 or not all(isinstance(n, int) and n > 0 for n in sizes):
            raise ArgumentError(
                "image_size must be a number of pixels, or (height, width), each at least 1; got "
                f"{image_size!r}."
            )
        if channels not in (1, 3):
            raise ArgumentError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}.")
        return cls(*sizes, channels)


def decode_all(files: Iterable[tuple[int, str, bytes]], count: int, look: Look) -> np.ndarray:
    """Decodes picture files, on all cores.

    The shorter side is scaled to its size and the longer one cut at both ends, as is usual for the
    evaluation on ImageNet.

    Args:
        files: the row of the result, the name for messages, and the content of each.
        count: how many there are.
        look: what they are made into.

    Returns:
        Images `[count, h, w, c]`, uint8.

    Raises:
        DataFormatError: one is no picture, or is damaged; the message names it.
        MissingPackageError: Pillow is not installed.

    Cost: the result, and the content of 256 files at a time.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "Reading pictures needs Pillow, which is not installed. Install it with `pip install "
            "pillow` or `pip install structured-multihashing[data]`."
        ) from error
    images = np.empty((count, look.height, look.width, look.channels), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool, task("reading pictures", count) as advance:
        for chunk in _chunks(files):
            rows = [row for row, _, _ in chunk]
            decoded = pool.map(lambda file: _decode(file[1], file[2], look), chunk)
            for row, image in zip(rows, decoded, strict=True):
                images[row] = image
            advance(len(rows))
    return images


def _chunks(files: Iterable) -> Iterator[list]:
    iterator = iter(files)
    while chunk := list(islice(iterator, _AT_ONCE)):
        yield chunk


def _decode(name: str, data: bytes, look: Look) -> np.ndarray:
    from PIL import Image, ImageOps

    mode = "RGB" if look.channels == 3 else "L"
    size = (look.width, look.height)
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.draft(mode, size)  # a large JPEG is decoded at half its size or less
            scaled = ImageOps.fit(picture.convert(mode), size, Image.Resampling.BILINEAR)
    except Image.UnidentifiedImageError as error:  # names an object in memory
        raise DataFormatError(f"{name} is no picture, or is damaged.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataFormatError(f"{name} is no picture, or is damaged: {error}") from error
    return np.asarray(scaled, np.uint8).reshape(look.height, look.width, look.channels)
