"""The images of `mnist_curve.py`: MNIST or Fashion-MNIST, their split, and batches of them."""

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
SIDE = 28


@dataclass(frozen=True)
class Images:
    """Images `[n, 28, 28, 1]` in [0, 1], and labels `[n]`."""

    x: np.ndarray
    y: np.ndarray


def load(folder: Path | None, name: str = "mnist") -> tuple[Images, Images]:
    """All training images, and the test images."""
    data = getattr(smh.datasets, name)(folder, validation=0, download=False)
    return (
        Images(data.x_train, data.y_train.astype("int32")),
        Images(data.x_test, data.y_test.astype("int32")),
    )


def split(images: Images) -> tuple[Images, Images]:
    """Training and validation images."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images.y))
    held, kept = order[:VALIDATION], np.sort(order[VALIDATION:])
    return Images(images.x[kept], images.y[kept]), Images(images.x[held], images.y[held])


def transforms(run: Run, count: int, seed: Tensor) -> Tensor:
    """Random affine maps about the centre, in the form of ImageProjectiveTransform `[b, 8]`."""
    draw = tf.random.stateless_uniform([4, count], seed, -1.0, 1.0)
    angle = draw[0] * (run.rotate * math.pi / 180)
    scale = 1 + draw[1] * run.zoom
    a, b = tf.cos(angle) / scale, tf.sin(angle) / scale
    centre = (SIDE - 1) / 2
    dx = centre - a * centre + b * centre + draw[2] * run.shift
    dy = centre - b * centre - a * centre + draw[3] * run.shift
    zero = tf.zeros_like(a)
    if not run.flip:
        return tf.stack([a, -b, dx, b, a, dy, zero, zero], axis=1)
    sign = tf.sign(tf.random.stateless_uniform([count], seed + 1, -1.0, 1.0))
    first = centre + sign * (dx - centre)  # of every second image, the columns from right to left
    return tf.stack([sign * a, -sign * b, first, b, a, dy, zero, zero], axis=1)


def batches(run: Run, data: Images, stage: int) -> tf.data.Dataset:
    """Endless batches, shuffled and changed at random; `stage` gives each fit its own numbers."""
    x, y = tf.constant(data.x), tf.constant(data.y)
    moved = run.shift or run.rotate or run.zoom or run.flip

    def take(step, rows):
        images = tf.gather(x, rows)
        seed = tf.stack([tf.cast(step, tf.int32), 1_000 * run.seed + stage])
        if moved:
            images = tf.raw_ops.ImageProjectiveTransformV3(
                images=images,
                transforms=transforms(run, run.batch, seed),
                output_shape=[SIDE, SIDE],
                fill_value=0.0,
                interpolation="BILINEAR",
                fill_mode="CONSTANT",
            )
        if run.noise:
            images += run.noise * tf.random.stateless_normal(tf.shape(images), seed)
        return images, tf.gather(y, rows)

    order = tf.data.Dataset.range(len(data.y)).shuffle(len(data.y), seed=run.seed + 7_919 * stage)
    rows = order.repeat().batch(run.batch, drop_remainder=True)
    return tf.data.Dataset.zip((tf.data.Dataset.counter(), rows)).map(take).prefetch(4)


def error(model: keras.Model, data: Images) -> float:
    """Percent of the images that the model gets wrong."""
    labels = [
        np.argmax(keras.ops.convert_to_numpy(model.predict_on_batch(data.x[i : i + 1_000])), -1)
        for i in range(0, len(data.y), 1_000)
    ]
    return round(100 * float(np.mean(np.concatenate(labels) != data.y)), 4)
