"""`digits` is what its docstring says, and the same each time."""

import dataclasses
import sys

import numpy as np
import pytest

from smh.datasets import digits
from smh.errors import ArgumentError

pytestmark = pytest.mark.backend_agnostic


def test_shapes_types_and_range():
    data = digits()
    assert data.name == "digits"
    assert data.x_train.shape == (1257, 28, 28, 1) and data.x_test.shape == (540, 28, 28, 1)
    assert data.y_train.shape == (1257,) and data.y_test.shape == (540,)
    for x in (data.x_train, data.x_test):
        assert x.dtype == np.float32 and x.min() == 0 and x.max() == 1
    for y in (data.y_train, data.y_test):
        assert y.dtype == np.int64 and set(y) == set(range(10))


def test_it_is_printed_without_its_images():
    assert repr(digits(8, validation=57)) == (
        "Dataset(digits: 1,200 training, 57 validation, 540 test images 8x8x1, float32)"
    )


def test_split_is_stratified():
    data = digits(8)
    train, test = (np.bincount(y) / len(y) for y in (data.y_train, data.y_test))
    np.testing.assert_allclose(train, test, atol=0.002)


def test_no_image_is_lost_or_in_both_parts():
    data = digits(8)
    images = np.concatenate([data.x_train, data.x_test]).reshape(1797, 64)
    assert len(np.unique(images, axis=0)) == 1797


def test_seed_decides_the_split():
    one, again, other = digits(8, seed=1), digits(8, seed=1), digits(8, seed=2)
    np.testing.assert_array_equal(one.x_test, again.x_test)
    assert not np.array_equal(one.x_test, other.x_test)


def test_original_size_is_the_original():
    from sklearn.datasets import load_digits

    ours = digits(8).x_train[..., 0].reshape(-1, 64)
    theirs = {row.tobytes() for row in (load_digits().data / 16).astype("float32")}
    assert all(row.tobytes() in theirs for row in ours)


def test_enlarging_shifts_nothing():
    """At three times the size, the centre of each 3 x 3 block is the original pixel."""
    np.testing.assert_allclose(digits(24).x_test[:, 1::3, 1::3], digits(8).x_test, atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 28])
def test_other_sizes(size):
    data = digits(size)
    assert data.x_train.shape[1:] == (size, size, 1)
    np.testing.assert_array_equal(data.y_train, digits(8).y_train)


def test_dataset_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits(8).name = "other"


def test_bad_size():
    with pytest.raises(ArgumentError, match="at least 1 pixel, got 0"):
        digits(0)


def test_missing_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install structured-multihashing\[data\]"):
        digits()
