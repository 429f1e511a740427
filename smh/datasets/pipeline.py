"""Batches for `fit`, shuffled and augmented on all cores while the model trains."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smh.datasets.augmentation import Augmentation
from smh.datasets.dataset import as_arrays, map_arrays, numbers_of
from smh.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    import tensorflow as tf

_AHEAD = 4  # batches that are ready before they are asked for


def batches(
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int = 128,
    *,
    augmentation: Augmentation | None = None,
    shuffle: bool = True,
    drop_remainder: bool = False,
    seed: int = 0,
    first_epoch: int = 0,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Makes a `tf.data.Dataset` of batches, which `fit` takes on TensorFlow, JAX and PyTorch.

    Order and augmentation depend on `seed` and on the number of the epoch only, not on the global
    seeds and not on the number of cores. An epoch is one pass: each new iterator is the next. (The
    first `fit` after `compile` looks at a batch beforehand, which is a pass too.)

    Call `fit(batches, shuffle=False)`: the batches are shuffled already. By default Keras says of
    every `tf.data.Dataset` that it will not be shuffled. That is Keras' warning, and worth reading
    where it is about another dataset of yours, so it is not silenced here.

    Args:
        x: images `[n, h, w, c]`, float in [0, 1] or uint8, which become float32 in [0, 1] here.
            Without an augmentation also other arrays `[n, ...]`, or a list or mapping of them.
        y: labels `[n, ...]`, or a list or mapping of them for several outputs.
        batch_size: images in a batch.
        augmentation: what is changed at random; None for validation and test.
        shuffle: whether each epoch has another order; False for validation and test.
        drop_remainder: whether a last batch of fewer images is left out, for models that are
            compiled for one batch size.
        seed: decides order and augmentation.
        first_epoch: number of the first pass, to go on with a run that was stopped.
        first_step: batches of each pass to leave out, to go on within an epoch: `fit` this for one
            epoch, then batches that begin at the next.

    Returns:
        A dataset of `(images, labels)`, that knows its number of batches.

    Raises:
        ArgumentError: images and labels differ in number, or an argument is out of range.
        MissingPackageError: TensorFlow is not installed; it makes the batches on any backend.

    Cost: one copy of `x`. Batches are gathered and changed as a whole; there is no step per image.

    Example:
        >>> from smh.datasets import Augmentation, batches, digits
        >>> data = digits()
        >>> train = batches(data.x_train, data.y_train, 64, augmentation=Augmentation(shift=2))
        >>> len(train)  # then model.fit(train, epochs=5, shuffle=False)
        20
    """
    if y is None:
        raise ArgumentError("y must be the labels, [n, ...]; got None. Without them: predict(x).")
    y = as_arrays(y)
    count = max(numbers_of(y), default=0)
    shapes = map_arrays(np.shape, x)
    if (
        count < 0
        or numbers_of(x) != {count}
        or numbers_of(y) != {count}
        or augmentation is not None
        and np.ndim(x) != 4
    ):
        raise ArgumentError(
            f"x must be images [n, h, w, c] with n labels in y, got shapes {shapes} and "
            f"{map_arrays(np.shape, y)}."
        )
    if augmentation is not None and not isinstance(augmentation, Augmentation):
        raise ArgumentError(
            f"augmentation must be an Augmentation or None, got {type(augmentation).__name__}."
        )
    order = _Order(count, batch_size, shuffle, drop_remainder, seed, first_epoch, first_step)
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingPackageError(
            "smh.datasets.batches needs TensorFlow, which is not installed: `pip install "
            "tensorflow-cpu`. Or give the arrays to fit."
        ) from error
    change = augmentation or Augmentation()
    with tf.device("CPU"):
        images, labels = _tensors(x), _tensors(y)

        def scaled(array, rows):
            taken = tf.gather(array, rows)
            if taken.dtype == tf.uint8 and taken.shape.rank == 4:
                taken = tf.cast(taken, tf.float32) / 255
            return taken

        def batch(rows, seeds):
            taken = tf.nest.map_structure(lambda array: scaled(array, rows), images)
            told = tf.nest.map_structure(lambda array: tf.gather(array, rows), labels)
            return taken if augmentation is None else change(taken, seeds), told

        size = batch_size if drop_remainder else None
        rows, seeds = tf.TensorSpec([size], tf.int64), tf.TensorSpec([2], tf.int32)
        made = tf.data.Dataset.from_generator(order, output_signature=(rows, seeds))
        made = made.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return made.apply(tf.data.experimental.assert_cardinality(order.left)).prefetch(_AHEAD)


def _tensors(given: Any) -> Any:
    """As tensors; a list as a tuple, which is what `tf.data` nests by."""
    import tensorflow as tf

    given = as_arrays(given)
    return tf.nest.map_structure(tf.constant, tuple(given) if isinstance(given, list) else given)


@dataclass
class _Order:
    """The rows of each batch, and its seeds; each call is an epoch."""

    count: int
    batch_size: int
    shuffle: bool
    drop_remainder: bool
    seed: int
    epoch: int
    step: int

    def __post_init__(self):
        for name, least in (("batch_size", 1), ("seed", 0), ("epoch", 0), ("step", 0)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < least:
                argument = f"first_{name}" if name in ("epoch", "step") else name
                raise ArgumentError(
                    f"{argument} must be a whole number, at least {least}, got {value!r}."
                )
        if not self.steps:
            raise ArgumentError(
                f"{self.count} images make no batch of {self.batch_size}; take smaller batches"
                + (" or drop_remainder=False." if self.drop_remainder else " or more images.")
            )

        if not self.left > 0:
            raise ArgumentError(
                f"first_step must be below the {self.steps} batches of an epoch, got {self.step}."
            )

    @property
    def left(self) -> int:
        """Batches in a pass."""
        return self.steps - self.step

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        whole = self.count / self.batch_size
        return math.floor(whole) if self.drop_remainder else math.ceil(whole)

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # Not a plain default_rng(seed): an epoch must not depend on those before it.
        random = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        rows = random.permutation(self.count) if self.shuffle else np.arange(self.count)
        seeds = random.integers(0, 2**31 - 1, (self.steps, 2), dtype=np.int32)
        for step in range(self.step, self.steps):
            begin = step * self.batch_size
            yield rows[begin : begin + self.batch_size], seeds[step]
