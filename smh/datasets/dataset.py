"""Labelled images, split into training, validation and test."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np

from smh.errors import ArgumentError

DTYPES = ("float32", "uint8")


@dataclass(frozen=True)
class Dataset:
    """Labelled images, split once; of a user's own also other examples.

    Choose (epochs, rates, the best of several models) on the validation part. The test part is for
    the figure that is reported, once.

    Attributes:
        x_train: images `[n, h, w, c]`, float32 in [0, 1], or uint8 in 0..255 where asked for; what
            a user gave is any array `[n, ...]`, or several of them.
        y_train: labels `[n]`, int64; what a user gave may be numbers `[n, ...]` to predict, or
            those of several outputs by their names; None if there are no labels.
        x_test: as `x_train`.
        y_test: as `y_train`.
        name: what it is called in tables.
        x_validation: as `x_train`, images that were taken out of the training set; or None.
        y_validation: as `y_train`; or None.
        classes: the name of each label; empty where nobody gave them names.
        source: where it was read from.
    """

    x_train: np.ndarray
    y_train: Any
    x_test: np.ndarray
    y_test: Any
    name: str
    x_validation: np.ndarray | None = None
    y_validation: Any = None
    classes: tuple[str, ...] = ()
    source: str = ""

    def __repr__(self) -> str:
        """How many images there are, of which form; not the images."""
        parts = {"training": self.x_train, "validation": self.x_validation, "test": self.x_test}
        counts = ", ".join(f"{count_of(x):,} {part}" for part, x in parts.items() if x is not None)
        if not isinstance(self.x_train, np.ndarray):
            return f"Dataset({self.name}: {counts} examples of several arrays)"
        form = "x".join(map(str, self.x_train.shape[1:]))
        return f"Dataset({self.name}: {counts} images {form}, {self.x_train.dtype})"


@dataclass(frozen=True)
class Split:
    """How a published training set becomes training and validation images.

    Attributes:
        validation: number of images, or their share if it is a float below 1.
        seed: which images.
        dtype: "float32" or "uint8".
    """

    validation: int | float
    seed: int
    dtype: str

    def __post_init__(self):
        number = isinstance(self.validation, numbers.Real) and not isinstance(self.validation, bool)
        # Neither is true of NaN.
        share = number and 0 <= self.validation < 1
        if not share and not (number and self.validation >= 1 and self.validation % 1 == 0):
            raise ArgumentError(
                "validation must be a number of images, or a share of the training set below 1, "
                f"got {self.validation!r}."
            )
        if not isinstance(self.seed, numbers.Integral) or not 0 <= self.seed < 2**32:
            raise ArgumentError(f"seed must be a whole number of 32 bits, got {self.seed!r}.")
        if self.dtype not in DTYPES:
            raise ArgumentError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}.")


@dataclass(frozen=True)
class Published:
    """A data set as its authors split it; images in bytes, or in [0, 1] already.

    Attributes:
        train: images `[n, h, w, c]`, uint8, and labels `[n]`.
        test: the same.
        name: as in `Dataset`.
        classes: as in `Dataset`.
        source: as in `Dataset`.
        validation: images and labels, if the authors made that part too.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    name: str
    classes: tuple[str, ...]
    source: str
    validation: tuple[np.ndarray, np.ndarray] | None = None


def as_dataset(data: Published, split: Split) -> Dataset:
    """Takes the validation images out of the training set, if there are none yet, and scales.

    Raises:
        ArgumentError: fewer than one training image would be left.
    """
    train, held_out = data.train, data.validation
    if held_out is None and split.validation:
        rows = split_indices(train[1], split.validation, split.seed)
        train, held_out = ((train[0][part], train[1][part]) for part in rows)
    x_validation, y_validation = (None, None) if held_out is None else _final(held_out, split)
    return Dataset(
        *_final(train, split),
        *_final(data.test, split),
        data.name,
        x_validation,
        y_validation,
        data.classes,
        data.source,
    )


def map_arrays(function: Callable[[Any], Any], x: Any) -> Any:
    """Applies a function to `x`, or to each array where a model has several inputs."""
    if isinstance(x, Mapping):
        return {name: function(array) for name, array in x.items()}
    if isinstance(x, list | tuple) and all(hasattr(array, "shape") for array in x):
        return type(x)(function(array) for array in x)
    return function(x)


def scaled(x: Any) -> Any:
    """Images in bytes as float32 in [0, 1], as `smh.datasets.batches` gives them to a model."""
    return map_arrays(
        lambda a: a.astype("float32") / 255 if a.dtype == np.uint8 and a.ndim == 4 else a, x
    )


def as_arrays(y: Any) -> Any:
    """Labels as an array; those of several outputs, a mapping or a list of arrays, as they are."""
    several = isinstance(y, list | tuple) and all(
        np.ndim(one) and hasattr(one, "shape") for one in y
    )
    return y if isinstance(y, Mapping) or several else np.asarray(y)


def numbers_of(x: Any) -> set[int]:
    """How many examples each array has."""
    found: set[int] = set()
    map_arrays(lambda array: found.add(len(array) if np.ndim(array) else -1), x)
    return found


def count_of(x: Any) -> int:
    """How many examples there are, of one array or of several."""
    return max(numbers_of(x))


def limited(data: Dataset, count: int) -> Dataset:
    """Draws at most `count` examples of each part, the same ones every time."""
    new: dict[str, Any] = {}
    made: dict[int, tuple[Any, Any]] = {}  # one part may stand for all of them
    for part in ("train", "test", "validation"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        if x is None or count_of(x) <= count:
            continue
        if id(x) not in made:
            taken = np.sort(np.random.RandomState(0).permutation(count_of(x))[:count])
            few = None if y is None else map_arrays(itemgetter(taken), y)
            made[id(x)] = map_arrays(itemgetter(taken), x), few
        new[f"x_{part}"], new[f"y_{part}"] = made[id(x)]
    return replace(data, **new)


def split_indices(
    labels: np.ndarray, held_out: int | float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws images at random, of each class its share, up to one image.

    The images are put in random order, then sorted by class; every `n / held_out`-th is taken.

    Args:
        labels: `[n]`.
        held_out: number of images, or their share if below 1.
        seed: decides which.

    Returns:
        The indices that stay and those that are held out, each in ascending order.

    Raises:
        ArgumentError: `held_out` is not below the number of images.
    """
    n = len(labels)
    count = round(held_out * n) if 0 < held_out < 1 else int(held_out)
    if count >= n:
        raise ArgumentError(
            f"{count} images to hold out of {n} leave none to train on; take fewer, or a share "
            "such as 0.1."
        )
    # RandomState and not a Generator: NumPy promises that its stream never changes.
    order = np.random.RandomState(seed).permutation(n)
    order = order[np.argsort(labels[order], kind="stable")]
    places = ((np.arange(count) + 0.5) * n / max(count, 1)).astype(int)
    taken = np.zeros(n, bool)
    taken[order[places]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def _final(part: tuple[np.ndarray, np.ndarray], split: Split) -> tuple[np.ndarray, np.ndarray]:
    images, labels = part
    if split.dtype == "float32" and images.dtype == np.uint8:
        images = np.divide(images, np.float32(255), dtype=np.float32)
    return images, labels.astype("int64")
