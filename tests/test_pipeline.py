"""Batches hold every image once, in an order and with changes that the seed decides."""

import keras
import numpy as np
import pytest

from smh import datasets
from smh.datasets import Augmentation, batches
from smh.errors import ArgumentError

tf = pytest.importorskip("tensorflow", reason="makes the batches on every backend")
pytestmark = pytest.mark.backend_agnostic


def numbered(n=50, size=6, channels=1):
    """Image i is i all over, and so is its label."""
    x = np.broadcast_to(
        np.arange(n, dtype=np.float32)[:, None, None, None], (n, size, size, channels)
    )
    return np.ascontiguousarray(x), np.arange(n)


def passed(dataset):
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def test_an_epoch_has_every_image_once_with_its_label():
    x, y = numbered()
    train = batches(x, y, 8)
    assert len(train) == 7
    one, two = passed(train), passed(train)
    for images, labels in (one, two):
        assert sorted(labels) == list(range(50))
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
    assert not np.array_equal(one[1], two[1]), "each epoch has the same order"
    in_order = passed(batches(x, y, 8, shuffle=False))
    np.testing.assert_array_equal(in_order[0], x)
    assert len(passed(batches(x, y, 8, drop_remainder=True))[1]) == 48


def test_bytes_are_scaled():
    x, y = numbered()
    images, _ = passed(batches(x.astype(np.uint8), y, shuffle=False))
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, x / 255, rtol=1e-6)


def test_the_seed_and_the_epoch_decide_whatever_the_global_seed():
    x = np.random.default_rng(0).random((20, 9, 9, 3), np.float32)
    change = Augmentation(shift=2, flip=True, rotation=20, zoom=0.2, shear=9, crop=0.5)

    def epochs(count, global_seed, **options):
        keras.utils.set_random_seed(global_seed)
        dataset = batches(x, np.arange(20), 6, augmentation=change, **options)
        return [passed(dataset) for _ in range(count)]

    first, again = epochs(3, 1, seed=5), epochs(3, 2, seed=5)
    for (x1, y1), (x2, y2) in zip(first, again, strict=True):
        np.testing.assert_array_equal(x1, x2)
        np.testing.assert_array_equal(y1, y2)
    (resumed,) = epochs(1, 3, seed=5, first_epoch=2)
    np.testing.assert_array_equal(resumed[0], first[2][0])
    (rest,) = epochs(1, 3, seed=5, first_epoch=2, first_step=2)
    np.testing.assert_array_equal(rest[0], first[2][0][12:])
    (other,) = epochs(1, 1, seed=6)
    assert not np.array_equal(other[1], first[0][1])


def changed(image, augmentation, count=400):
    x = np.repeat(image[None], count, 0)
    return passed(batches(x, np.arange(count), 100, augmentation=augmentation, shuffle=False))[0]


def test_shifts_are_whole_pixels_each_as_likely():
    image = np.zeros((7, 7, 1), np.float32)
    image[3, 3] = 1
    moved = changed(image, Augmentation(shift=2))
    assert set(np.unique(moved)) == {0, 1} and (moved.sum((1, 2, 3)) == 1).all()
    rows, columns = np.divmod(moved.reshape(len(moved), -1).argmax(1), 7)
    counts = np.zeros((7, 7), int)
    np.add.at(counts, (rows, columns), 1)
    assert counts[1:6, 1:6].sum() == 400 and counts[1:6, 1:6].min() >= 4  # 16 on average


def test_flips_are_exact_and_half():
    image = np.random.default_rng(1).random((5, 6, 3), np.float32)
    flipped = changed(image, Augmentation(flip=True))
    same = (flipped == image).all((1, 2, 3))
    mirrored = (flipped == image[:, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all() and 160 < same.sum() < 240


def test_rotation_zoom_and_shear_stay_in_their_bounds():
    """Measured on a bar: its direction and length after the change."""
    image = np.zeros((41, 41, 1), np.float32)
    image[19:22, 10:31] = 1
    at = np.arange(41) - 20.0

    def moments(images):
        mass = images[..., 0] / images.sum((1, 2, 3))[:, None, None]
        xx, yy = (mass * at**2).sum((1, 2)), (mass * at[:, None] ** 2).sum((1, 2))
        xy = (mass * at * at[:, None]).sum((1, 2))
        return xx, yy, xy

    xx, yy, xy = moments(changed(image, Augmentation(rotation=30)))
    angles = np.degrees(np.arctan2(2 * xy, xx - yy) / 2)
    assert 27 < np.abs(angles).max() < 31 and abs(angles.mean()) < 3
    xx, yy, xy = moments(changed(image, Augmentation(zoom=0.3)))
    length = np.sqrt(xx / moments(image[None])[0])
    assert 0.68 < length.min() < 0.75 and 1.25 < length.max() < 1.32
    upright = np.ascontiguousarray(image.transpose(1, 0, 2))
    xx, yy, xy = moments(changed(upright, Augmentation(shear=20)))
    leaning = np.degrees(np.arctan(xy / yy))
    assert 18 < np.abs(leaning).max() < 21


def test_crops_stay_inside_and_keep_the_share_asked_for():
    """On an image whose value is its column (or row), a crop's values say where it was cut."""
    ramp = np.broadcast_to(np.arange(1.0, 33, dtype=np.float32), (32, 32))
    image = np.stack([ramp, ramp.T], -1)
    cut = changed(image, Augmentation(crop=0.25))
    assert cut[:, 1:-1, 1:-1].min() >= 1, "something from outside is in it"
    widths, heights = (
        (cut[:, 16, -2, 0] - cut[:, 16, 1, 0]) / 29,
        (cut[:, -2, 16, 1] - cut[:, 1, 16, 1]) / 29,
    )
    areas = widths * heights
    assert 0.23 < areas.min() < 0.35 and areas.max() > 0.85
    assert (widths / heights).max() < 4 / 3 + 0.02 and (widths / heights).min() > 3 / 4 - 0.02


@pytest.mark.parametrize("fill, expected", [("zero", 0), ("nearest", 1), ("reflect", 1)])
def test_what_lies_outside(fill, expected):
    moved = changed(np.ones((5, 5, 1), np.float32), Augmentation(shift=3, fill=fill), 40)
    assert moved.min() == expected and moved.max() == 1


def test_every_data_set_has_a_usual_augmentation_but_no_other():
    for name in datasets.names():
        assert Augmentation.usual(name) != Augmentation()
    assert not any(Augmentation.usual(name).flip for name in ("digits", "mnist"))
    with pytest.raises(ArgumentError, match="No augmentation is usual for 'svhn'"):
        Augmentation.usual("svhn")


WRONG = [
    ({"batch_size": 0}, "batch_size must be a whole number, at least 1, got 0"),
    ({"batch_size": 2.5}, "batch_size must be"),
    ({"seed": -1}, "seed must be"),
    ({"first_epoch": -1}, "first_epoch must be"),
    ({"first_step": 7, "batch_size": 8}, "first_step must be below the 7 batches"),
    ({"batch_size": 51, "drop_remainder": True}, "50 images make no batch of 51"),
    ({"y": np.zeros(49)}, r"n labels in y, got shapes \(50, 6, 6, 1\) and \(49,\)"),
    ({"x": np.zeros((50, 3)), "augmentation": Augmentation(shift=1)}, r"images \[n, h, w, c\]"),
    ({"augmentation": "flip"}, "an Augmentation or None, got str"),
    ({"y": None}, r"y must be the labels, \[n, ...\]; got None"),
    ({"x": 3, "y": 4}, r"x must be images .* got shapes \(\) and \(\)"),
    ({"y": 4}, r"x must be images .* and \(\)"),
]


def test_wrong_arguments():
    x, y = numbered()
    for options, message in WRONG:
        with pytest.raises(ArgumentError, match=message):
            batches(**{"x": x, "y": y} | options)
    for options, message in [
        ({"shift": -1}, "shift must be between 0"),
        ({"shift": 1.5}, "a whole number of pixels, got 1.5"),
        ({"rotation": 200}, "rotation must be between 0 and 180, got 200"),
        ({"zoom": 1}, "zoom must be between"),
        ({"crop": 0}, "crop must be above 0 and at most 1, got 0"),
        *(({name: "x"}, f"{name} must be ") for name in vars(Augmentation())),
        *(({name: None}, f"{name} must be ") for name in vars(Augmentation())),
        *(({name: [1]}, f"{name} must be ") for name in vars(Augmentation())),
        ({"shift": np.inf}, "shift must be between 0"),
        ({"fill": "black"}, "fill must be one of zero, nearest, reflect, got 'black'"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            Augmentation(**options)


def test_fit_learns_from_batches_on_every_backend():
    """Unmodified `fit` and `evaluate`: bright images against dark ones, given as bytes."""
    random = np.random.default_rng(0)
    y = np.arange(64) % 2
    x = (random.integers(0, 100, (64, 8, 8, 1)) + 150 * y[:, None, None, None]).astype(np.uint8)
    train = batches(x, y, 16, augmentation=Augmentation(shift=1, flip=True, fill="nearest"))
    test = batches(x, y, 16, shuffle=False)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    history = model.fit(train, epochs=15, validation_data=test, verbose=0)
    assert history.history["val_accuracy"][-1] == 1
