"""Where data sets lie, and what to tell who has none."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smh.errors import ArgumentError, MissingDataError, SmhWarning

DataDir = str | os.PathLike | None
_DEBIAN = Path("/usr/share/datasets")


def checked_data_dir(data_dir: DataDir) -> Path | None:
    """Returns `data_dir` as a path.

    Raises:
        ArgumentError: it is no folder.
    """
    if data_dir is None:
        return None
    if not isinstance(data_dir, (str, os.PathLike)):
        raise ArgumentError(f"data_dir must be a path, got {type(data_dir).__name__}.")
    path = Path(data_dir).expanduser()
    if not path.is_dir():
        what = "is a file; give the folder that it lies in" if path.exists() else "does not exist"
        raise ArgumentError(f"data_dir={str(data_dir)!r} {what}.")
    return path


def debian_folder(package: str) -> Path | None:
    """The folder in which a Debian package of a data set has its files, or None."""
    usual = _DEBIAN / package.removeprefix("dataset-")
    if usual.is_dir():
        return usual
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return None
    done = subprocess.run([dpkg, "-L", package], capture_output=True, text=True, check=False)
    listed = [Path(line) for line in done.stdout.splitlines() if "idx" in line]
    return listed[0].parent if done.returncode == 0 and listed else None


def npm_folders(package: str, data_dir: Path | None, below: str = "") -> list[Path]:
    """Where npm puts a package below `data_dir` and the current folder, if it is there."""
    roots = [Path.cwd()] if data_dir is None else [data_dir, Path.cwd()]
    folders = [root / "node_modules" / package / below for root in roots]
    return [folder for folder in folders if folder.is_dir()]


def keras_cache() -> Path:
    """The folder in which `keras.datasets` keeps what it has loaded."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets"


def from_keras(name: str, ways: Sequence[str], download: bool, **options: Any) -> tuple:
    """Loads a set by `keras.datasets`, from the network if need be: the last resort.

    Returns:
        `(x_train, y_train), (x_test, y_test)` as Keras returns them.

    Raises:
        MissingDataError: `download` is False, or Keras could not get it. The message lists `ways`.
    """
    if not download:
        raise MissingDataError(missing(name, ways, "download=False forbids the network"))
    import keras

    loader: Callable = getattr(keras.datasets, name).load_data
    try:
        return loader(**options)
    except Exception as error:  # Keras raises bare Exception where the network fails
        why = f"keras.datasets.{name} failed with: {str(error) or type(error).__name__}"
        raise MissingDataError(missing(name, ways, why)) from error


def missing(name: str, ways: Sequence[str], why: str | None = None) -> str:
    """The message for a set that is nowhere."""
    last = f"\nLast, {why}." if why else ""
    return f"The data set '{name}' was not found. Ways to get it:\n- " + "\n- ".join(ways) + last


def warn_about_counts(name: str, source: str, found: Sequence[int], published: Sequence[int]):
    """Warns if a set has other numbers of images than the published one."""
    if tuple(found) != tuple(published):
        warnings.warn(
            f"'{name}' in {source} has {found[0]:,} training and {found[1]:,} test images, the "
            f"published set has {published[0]:,} and {published[1]:,}: figures made with it cannot "
            "be compared with published ones.",
            SmhWarning,
            stacklevel=4,
        )
