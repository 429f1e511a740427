"""The images of `mnist_curve.py`: their split, and batches of them, changed at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from mnist_tables import Run

import smh
from smh.typing import Tensor

VALIDATION = 5_000  # of the training images, drawn with SPLIT_SEED: the same for all runs
SPLIT_SEED = 2_024
# CIFAR-10, of the first 45,000 training images: what `normalised` subtracts and divides by.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Images:
    """Images `[n, side, side, channels]`, and labels `[n]`."""

    x: np.ndarray
    y: np.ndarray


def load(folder: Path | None, name: str = "mnist") -> tuple[Images, Images]:
    """All training images, and the test images."""
    data = getattr(smh.datasets, name)(folder, validation=0, download=False)
    parts = ((data.x_train, data.y_train), (data.x_test, data.y_test))
    train, test = (Images(normalised(x), y.reshape(-1).astype("int32")) for x, y in parts)
    return train, test


def normalised(x: np.ndarray) -> np.ndarray:
    """Colours with mean 0 and deviation 1; grey images stay as they are, in [0, 1]."""
    if x.shape[-1] == 1:
        return x
    return (x - np.float32(MEAN)) / np.float32(STD)


def split(images: Images) -> tuple[Images, Images]:
    """Training and validation images."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images.y))
    held, kept = order[:VALIDATION], np.sort(order[VALIDATION:])
    return Images(images.x[kept], images.y[kept]), Images(images.x[held], images.y[held])


def transforms(run: Run, count: int, side: int, seed: Tensor) -> Tensor:
    """Random affine maps about the centre, in the form of ImageProjectiveTransform `[b, 8]`.

    Images that are only moved, are moved by whole pixels, so that nothing is blurred.
    """
    draw = tf.random.stateless_uniform([4, count], seed, -1.0, 1.0)
    angle = draw[0] * (run.rotate * math.pi / 180)
    scale = 1 + draw[1] * run.zoom
    a, b = tf.cos(angle) / scale, tf.sin(angle) / scale
    centre = (side - 1) / 2
    moved = draw[2:] * run.shift
    if run.whole_pixels:
        moved = tf.round(draw[2:] * (run.shift + 0.5))
    dx = centre - a * centre + b * centre + moved[0]
    dy = centre - b * centre - a * centre + moved[1]
    zero = tf.zeros_like(a)
    if not run.flip:
        return tf.stack([a, -b, dx, b, a, dy, zero, zero], axis=1)
    sign = tf.sign(tf.random.stateless_uniform([count], seed + 1, -1.0, 1.0))
    first = centre + sign * (dx - centre)  # of every second image, the columns from right to left
    return tf.stack([sign * a, -sign * b, first, b, a, dy, zero, zero], axis=1)


def batches(run: Run, data: Images, stage: int, done: int = 0) -> tf.data.Dataset:
    """Endless batches, shuffled and changed at random; `stage` gives each fit its own numbers.

    The first `done` batches are left out.
    """
    x, y = tf.constant(data.x), tf.constant(data.y)
    moved, side = run.shift or run.rotate or run.zoom or run.flip, data.x.shape[1]

    def take(step, rows):
        images = tf.gather(x, rows)
        seed = tf.stack([tf.cast(step, tf.int32), 1_000 * run.seed + stage])
        if moved:
            images = tf.raw_ops.ImageProjectiveTransformV3(
                images=images,
                transforms=transforms(run, run.batch, side, seed),
                output_shape=[side, side],
                fill_value=0.0,
                interpolation="BILINEAR",
                fill_mode="CONSTANT",
            )
        if run.noise:
            images += run.noise * tf.random.stateless_normal(tf.shape(images), seed)
        return images, tf.gather(y, rows)

    order = tf.data.Dataset.range(len(data.y)).shuffle(len(data.y), seed=run.seed + 7_919 * stage)
    rows = order.repeat().batch(run.batch, drop_remainder=True).skip(done)
    return tf.data.Dataset.zip((tf.data.Dataset.counter(done), rows)).map(take).prefetch(4)


def error(model: keras.Model, data: Images) -> float:
    """Percent of the images that the model gets wrong."""
    labels = [
        np.argmax(keras.ops.convert_to_numpy(model.predict_on_batch(data.x[i : i + 1_000])), -1)
        for i in range(0, len(data.y), 1_000)
    ]
    return round(100 * float(np.mean(np.concatenate(labels) != data.y)), 4)
