"""What model and data of a run may be called. No Keras: a wrong name is answered at once."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Any

from smh.container import check_magic
from smh.errors import ArgumentError, ArtifactError
from smh.training.foreign import explained, is_hdf5
from smh.zoo.known import find_name

if TYPE_CHECKING:
    from smh.datasets import Dataset

SUFFIXES = (".keras", ".smh")


def find_model(name: str) -> str:
    """Returns the file that `name` is, or the zoo's name for it.

    Raises:
        ArgumentError: there is no such file, or no model is called so.
    """
    if name.endswith(SUFFIXES):
        check_model_file(name)
        return name
    if os.path.exists(name):
        raise ArgumentError(explained(name))
    return find_name(name)


def check_model_file(path: str) -> None:
    """Checks by name and first bytes that `path` is a `.keras` or a `.smh` file.

    Raises:
        ArgumentError: it is not there, or another kind of file.
        ArtifactError: it is damaged from the beginning on.
        OSError: from the file system.
    """
    if not path.endswith(SUFFIXES):
        raise ArgumentError(explained(path))
    if not os.path.exists(path):
        raise ArgumentError(f"{path}: No such file or directory")
    if os.path.isdir(path):
        raise ArgumentError(f"'{path}' is a folder; a file is expected.")
    if not os.path.isfile(path):
        return  # a pipe, of which each byte comes once
    if path.endswith(".smh"):
        check_magic(path)
    elif is_hdf5(path):
        raise ArgumentError(explained(path))
    elif not zipfile.is_zipfile(path):
        raise ArtifactError(f"'{path}' is damaged: a .keras file is a zip archive.")


def check_data(name: str, data_dir: str | None = None, image_size: int | None = None) -> None:
    """Raises `ArgumentError` if there is no such data set, or it cannot be had so."""
    from smh.datasets.loading import check

    check(name, data_dir, _options(name, image_size, 0.0))


def is_same_data(one: str, other: str) -> bool:
    """Whether two names mean the same data: the same set, file, folder or function."""
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return one.replace("-", "_") == other.replace("-", "_")


def load_data(
    name: str,
    data_dir: str | None = None,
    *,
    image_size: int | None = None,
    validation: float = 0.1,
    limit: int | None = None,
    whole: bool = False,
    labels: bool = True,
) -> Dataset:
    """Loads a data set with a validation part, split the same way every time.

    Args:
        name: one of `smh.datasets.names()`.
        data_dir: the folder to look in first.
        image_size: pixels per side, of those sets that can be scaled.
        validation: see `TrainingConfig`.
        limit: see `TrainingConfig`.
        whole: whether all examples of a user's own are each part, where nobody made parts: for a
            model that is not trained on them.
        labels: whether they are needed; examples of a user's own may have none.

    Raises:
        As `smh.datasets.load`.
        ArgumentError: labels are needed, and there are none.
    """
    from smh import datasets
    from smh.datasets.dataset import limited

    options = _options(name, image_size, validation)
    if whole and _is_own(name):
        options["whole"] = True
    data = datasets.load(name, data_dir, **options)
    if labels and data.y_train is None:
        raise ArgumentError(
            f"{name} has no labels, and they are needed here: a .npz file with x and y. Without "
            "them go smh shrink --target-size or --quality, and smh export --activations int8."
        )
    return data if limit is None else limited(data, limit)


def _options(name: str, image_size: int | None, validation: float) -> dict[str, Any]:
    options: dict[str, Any] = {"validation": validation}
    if image_size is not None:
        options["image_size"] = image_size
    if name.replace("-", "_") != "digits" and not _is_own(name):
        options["dtype"] = "uint8"  # a quarter of the memory; scaled batch by batch
    return options


def _is_own(name: str) -> bool:
    """Whether it is arrays of a user's own; pictures in a folder are split as always."""
    return name.endswith(".npz") or ":" in name
