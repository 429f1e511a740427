"""Data sets by name, for the command line and for scripts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

from smh.datasets.cifar import cifar10, cifar100
from smh.datasets.dataset import Dataset
from smh.datasets.mnist_like import fashion_mnist, mnist
from smh.datasets.own import find_own
from smh.datasets.picture_sets import image_folder, imagenette
from smh.datasets.places import DataDir, checked_data_dir
from smh.datasets.scikit_digits import digits
from smh.errors import ArgumentError

_LOADERS: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenette": imagenette,
    "image_folder": image_folder,
}


def names() -> tuple[str, ...]:
    """Returns the names that `load` knows."""
    return tuple(_LOADERS)


def load(name: str, data_dir: DataDir = None, **options: Any) -> Dataset:
    """Loads a data set by its name.

    Args:
        name: one of `names()` (`fashion-mnist` is taken for `fashion_mnist`), or examples of your
            own: a `.npz` file with `x` and `y` (or `x_train`, `y_train`, `x_test`, `y_test`), a
            folder of pictures, or `module:function`, called without arguments, which returns
            `(x, y)`, two such pairs or a `Dataset`.
        data_dir: the folder to look in first; see the function of that name. `digits` needs none.
        **options: passed on to that function: `validation`, `seed`, `dtype`, `image_size`, ...

    Returns:
        A `Dataset`.

    Raises:
        ArgumentError: nothing has this name, or it has no such option.
        MissingDataError: the set is nowhere; the message says how to get it.
        DataFormatError: a file is damaged; the message names it.

    Example:
        >>> from smh.datasets import load
        >>> load("digits", image_size=8, validation=0.2).x_validation.shape
        (251, 8, 8, 1)
    """
    loader = check(name, data_dir, options)
    if loader is digits or isinstance(loader, functools.partial):
        return loader(**options)
    return loader(data_dir, **options)


def check(name: str, data_dir: DataDir, options: Collection[str]) -> Callable[..., Dataset]:
    """Returns the function that loads a data set; nothing is read yet, and Keras not needed.

    Args:
        name: as in `load`.
        data_dir: as in `load`.
        options: the names of the options.

    Raises:
        ArgumentError: nothing has this name, it has no such option, or `data_dir` is no folder.
    """
    loader = _LOADERS.get(name.replace("-", "_")) if isinstance(name, str) else None
    if loader is None and isinstance(name, str):
        loader = find_own(name)
    if loader is None:
        raise ArgumentError(
            f"No data set is called {name!r}. There are: {', '.join(_LOADERS)}; or give a .npz "
            "file, a folder of pictures or MODULE:FUNCTION."
        )
    known = [option for option in inspect.signature(loader).parameters if option != "data_dir"]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ArgumentError(
            f"{name} has no option {', '.join(unknown)}. It has: {', '.join(known)}."
        )
    checked_data_dir(data_dir)
    return loader
