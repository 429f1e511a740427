"""Handwritten digits that need no download."""

from __future__ import annotations

import numpy as np

from smh.datasets.dataset import Dataset, Published, Split, as_dataset
from smh.errors import ArgumentError

_TEST_SHARE = 0.3


def digits(image_size: int = 28, seed: int = 0, *, validation: int | float = 0) -> Dataset:
    """Loads the 1,797 handwritten digits that ship with scikit-learn.

    They are the data of demo and tests: small enough to train on in seconds. They are easier than
    MNIST, and the test images share their writers with the training images.

    Args:
        image_size: height and width in pixels. The originals have 8 x 8; other sizes are bilinear.
        seed: which images go into the test part, 30 % of each class.
        validation: how many of the training images become the validation part, of each class its
            share; a float below 1 is a share.

    Returns:
        A `Dataset` of 1,257 training and 540 test images `[n, image_size, image_size, 1]`.

    Raises:
        ArgumentError: `image_size` is below 1, or `validation` is out of range.
        ImportError: scikit-learn is not installed.

    Example:
        >>> from smh.datasets import digits
        >>> digits().x_train.shape
        (1257, 28, 28, 1)

    Reference: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository (1998), test part.
    """
    if image_size < 1:
        raise ArgumentError(f"image_size must be at least 1 pixel, got {image_size}.")
    split = Split(validation, seed, "float32")
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            "smh.datasets.digits needs scikit-learn, which is not installed. Install it with "
            "`pip install scikit-learn` or `pip install structured-multihashing[data]`."
        ) from error
    raw = load_digits()
    images = _resize(raw.images.astype("float32") / 16, image_size)[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, raw.target, test_size=_TEST_SHARE, random_state=seed, stratify=raw.target
    )
    names, source = tuple("0123456789"), "sklearn.datasets.load_digits"
    data = Published((x_train, y_train), (x_test, y_test), "digits", names, source)
    return as_dataset(data, split)


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    """Scales square images `[n, s, s]` to `[n, size, size]`, bilinear, pixel centres aligned."""
    weights = _interpolation(images.shape[1], size)  # [size, s]
    return np.clip(weights @ images @ weights.T, 0, 1).astype("float32")


def _interpolation(old: int, new: int) -> np.ndarray:
    """The matrix `[new, old]` that interpolates a line of `old` pixels at `new` points."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    distance = np.abs(at[:, None] - np.arange(old))
    return np.maximum(0, 1 - distance).astype("float32")
