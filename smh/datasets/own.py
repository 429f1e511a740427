"""A user's own examples: a `.npz` file, a folder of pictures, or a function. Needs no Keras."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smh.datasets.dataset import Dataset, as_arrays, count_of, map_arrays, numbers_of, split_indices
from smh.datasets.modules import has_module
from smh.datasets.picture_sets import image_folder
from smh.errors import ArgumentError, DataFormatError, SmhError, SmhWarning

_PARTS = ("train", "test", "validation")
_TEST = 0.2  # the share of the examples, where nobody made a test part


def find_own(name: str) -> Callable[..., Dataset] | None:
    """Returns what loads `data.npz`, a folder or `module:function`; `None` if it is none of these.

    Raises:
        ArgumentError: it looks like one of them, and there is no such file or module.
        DataFormatError: the file is no archive.
    """
    if name.endswith(".npz"):
        if not os.path.isfile(name):
            raise ArgumentError(f"{name}: No such file or directory")
        if not zipfile.is_zipfile(name):
            raise DataFormatError(f"{name} is no .npz file of NumPy, or is damaged.")
        return functools.partial(npz, name)
    if os.path.isdir(name):
        return functools.partial(image_folder, name)
    module, colon, function = name.partition(":")
    if not colon:
        return None
    if not function or not has_module(module):
        raise ArgumentError(f"No module named {module!r:.100}; data are MODULE:FUNCTION.")
    return functools.partial(called, module, function)


def npz(path: str, *, validation: int | float = 0.1, whole: bool = False) -> Dataset:
    """Loads the arrays `x` and `y`, or `x_train`, `y_train`, `x_test` and `y_test`.

    Without labels, `x` alone or `x_train`, all examples are each part.

    Args:
        path: the file.
        validation: see `image_folder`.
        whole: whether all examples are each part, where nobody made parts: for models that are
            not trained.

    Raises:
        ArgumentError: the file has no such arrays.
        DataFormatError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataFormatError(f"{path} is no .npz file of NumPy, or is damaged: {error}") from error
    if {"x_train", "y_train"} <= set(arrays):
        parts = {p: (arrays.get(f"x_{p}"), arrays.get(f"y_{p}")) for p in _PARTS}
        return _of_parts(parts, Path(path).stem, path, validation)
    x = arrays.get("x", arrays.get("x_train"))
    if x is None or "y_train" in arrays:
        raise ArgumentError(
            f"{path} needs the arrays x and y, or x_train, y_train, x_test and y_test; it has "
            f"{', '.join(arrays) or 'none'}: np.savez(path, x=x, y=y)."
        )
    return of_arrays(x, arrays.get("y"), Path(path).stem, path, validation, whole)


def called(
    module: str, function: str, *, validation: int | float = 0.1, whole: bool = False
) -> Dataset:
    """Calls a function without arguments: it returns `(x, y)`, two such pairs, or a `Dataset`.

    In place of `y` there may be `None`, and an array alone is examples without labels.

    Raises:
        ArgumentError: there is no such function, or it returns something else.
        DataFormatError: it raises an error, or its module does.
    """
    source = f"{module}:{function}"
    with _named(module):
        found = getattr(importlib.import_module(module), function, None)
    if not callable(found):
        raise ArgumentError(f"'{module}' has no function {function!r:.100}.")
    with _named(source):
        given = found()
    if isinstance(given, Dataset):
        return given
    if hasattr(given, "shape"):
        given = given, None
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ArgumentError(
            f"{source} must return (x, y), or ((x, y), (x_test, y_test)), or a Dataset; got "
            f"{type(given).__name__}."
        )
    first, second = given
    if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second) == 2:
        parts = {"train": first, "test": second, "validation": (None, None)}
        return _of_parts(parts, function, source, validation)
    return of_arrays(first, second, function, source, validation, whole)


@contextlib.contextmanager
def _named(source: str) -> Iterator[None]:
    """What a user's own code raises is an error of the data that it was to give."""
    try:
        yield
    except SmhError:
        raise  # which says what is wrong by itself
    except Exception as error:
        text = " ".join(str(error).split())
        raise DataFormatError(f"{source} raised {type(error).__name__}: {text:.300}") from error


def of_arrays(
    x: Any, y: Any, name: str, source: str, validation: int | float = 0.1, whole: bool = False
) -> Dataset:
    """Makes a data set of examples that have no parts.

    Args:
        x: an array `[n, ...]`, or a list, tuple or mapping of arrays for several inputs.
        y: `[n]` for classes, `[n, classes]` of zeros and ones likewise, or `[n, ...]` of numbers;
            for several outputs a mapping by their names; or None: there are no labels, and all
            examples are each part.
        name: what it is called.
        source: where it is from.
        validation: see `image_folder`.
        whole: see `npz`.

    Raises:
        ArgumentError: the numbers of examples differ, or there is none, or none to test on.
    """
    x, y = _checked((x, y), source)
    if whole or y is None:
        return Dataset(x, y, x, y, name, x, y, source=source)
    train, test = split_indices(_strata(y), _TEST, 0)
    if not len(test):
        raise ArgumentError(
            f"{source} has too few examples to keep some to test on, {len(train)}: a share of "
            f"{_TEST:g} is none. Give more, or parts: x_train, y_train, x_test and y_test."
        )
    parts = {
        part: (_at(x, rows), _at(y, rows)) for part, rows in (("train", train), ("test", test))
    }
    return _of_parts(parts, name, source, validation)


def _of_parts(
    parts: Mapping[str, tuple], name: str, source: str, validation: int | float
) -> Dataset:
    x, y = _checked(parts["train"], source)
    held_out = parts.get("validation", (None, None))
    if held_out[0] is None and validation:
        stay, out = split_indices(_strata(y), validation, 0)
        held_out = _at(x, out), _at(y, out)
        x, y = _at(x, stay), _at(y, stay)
    elif held_out[0] is not None:
        held_out = _checked(held_out, source)
    if parts["test"][0] is None:
        raise DataFormatError(f"{source} has x_train and y_train, and neither x_test nor y_test.")
    test = _checked(parts["test"], source)
    return Dataset(x, y, test[0], test[1], name, held_out[0], held_out[1], source=source)


def _checked(part: tuple[Any, Any], source: str) -> tuple[Any, Any]:
    x = map_arrays(np.asarray, part[0])
    y = None if part[1] is None else map_arrays(np.asarray, as_arrays(part[1]))
    counts = numbers_of(x)
    labels = counts if y is None else numbers_of(y)
    if counts != labels or len(counts) != 1 or counts & {0, -1}:
        labelled = "" if y is None else f", y has shape {map_arrays(np.shape, y)}"
        raise ArgumentError(
            f"{source}: x and y need as many examples each, at least one; x has "
            f"{', '.join(map(str, sorted(counts)))}{labelled}."
        )
    _warn_of_nan(x, source)
    return x, None if y is None else map_arrays(_plain, y)


def _warn_of_nan(x: Any, source: str) -> None:
    """A layer may know what to make of them; mostly they are a fault of whoever made the data."""
    arrays: list[np.ndarray] = []
    map_arrays(arrays.append, x)
    odd = sum(int((~np.isfinite(a)).sum()) for a in arrays if a.dtype.kind in "fc")
    if odd:
        warnings.warn(f"{source}: {odd:,} numbers of x are NaN or infinite.", SmhWarning, 2)


def _plain(y: np.ndarray) -> np.ndarray:
    """Labels of one column and one-hot ones as `[n]`; whole numbers as int64."""
    if y.ndim == 2 and y.shape[1] > 1 and ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all():
        y = y.argmax(axis=1)
    elif y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return y.astype("int64") if y.dtype.kind in "iub" else y


def _strata(y: Any) -> np.ndarray:
    """What is shared out evenly: classes, where there is one label each."""
    if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "iu":
        return y
    return np.zeros(count_of(y), "int64")


def _at(x: Any, rows: np.ndarray) -> Any:
    return map_arrays(lambda array: array[rows], x)
