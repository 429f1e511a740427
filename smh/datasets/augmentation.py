"""Random changes of training images, a whole batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from smh.errors import ArgumentError
from smh.errors.limits import Limit

_FILLS = {"zero": "CONSTANT", "nearest": "NEAREST", "reflect": "REFLECT"}
_DRAWS = 10
_LIMITS = {
    "shift": Limit(
        float,
        "between 0 and the image's side, a whole number of pixels",
        lambda value: value >= 0 and value % 1 == 0,
    ),
    "rotation": Limit(float, "between 0 and 180", lambda value: 0 <= value <= 180),
    "zoom": Limit(float, "between 0 and 0.99", lambda value: 0 <= value <= 0.99),
    "shear": Limit(float, "between 0 and 80", lambda value: 0 <= value <= 80),
    "crop": Limit(float, "above 0 and at most 1", lambda value: 0 < value <= 1),
}


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each training image anew: one affine map, so one interpolation.

    `Augmentation.usual(name)` has what is usual for a data set.

    Attributes:
        shift: up to so many pixels in each direction, whole ones, so that a shift blurs nothing.
        flip: left and right are exchanged in half of the images.
        rotation: up to so many degrees, either way.
        zoom: size times `1 - zoom` to `1 + zoom`.
        shear: up to so many degrees, either way.
        crop: the least share of the area that a random crop keeps, which is then scaled to the
            whole image; its sides have ratios of 3:4 to 4:3. 1: no crop.
        fill: what lies outside the image: "zero", "nearest" (its edge) or "reflect".

    Raises:
        ArgumentError: a value is out of range.

    Example:
        >>> from smh.datasets import Augmentation
        >>> Augmentation(shift=4, flip=True).crop
        1.0

    Reference: crop: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6;
    shift and flip: K. He et al., "Deep Residual Learning", CVPR 2016, section 4.2.
    """

    shift: int = 0
    flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    crop: float = 1.0
    fill: str = "zero"

    def __post_init__(self):
        for name, limit in _LIMITS.items():
            limit.checked(getattr(self, name), name)
        if not isinstance(self.flip, bool | np.bool_):
            raise ArgumentError(f"flip must be True or False, got {self.flip!r:.100}.")
        if not isinstance(self.fill, str) or self.fill not in _FILLS:
            raise ArgumentError(f"fill must be one of {', '.join(_FILLS)}, got {self.fill!r}.")

    @classmethod
    def usual(cls, name: str) -> Augmentation:
        """Returns what is usual for a data set.

        Args:
            name: of the data set. Digits are moved and bent, and never flipped. CIFAR's images are
                shifted by up to four pixels and flipped. Pictures are cropped and flipped.

        Raises:
            ArgumentError: nothing is usual for this name.
        """
        if name not in _USUAL:
            raise ArgumentError(
                f"No augmentation is usual for {name!r}, only for {', '.join(_USUAL)}. Make one: "
                "Augmentation(shift=2, rotation=10)."
            )
        return _USUAL[name]

    def __call__(self, images: Any, seed: Any) -> Any:
        """Changes a batch of images.

        Args:
            images: a TensorFlow tensor `[b, h, w, c]`, floating point.
            seed: two int32. The same changes for the same seed.

        Returns:
            A tensor of the same shape and dtype.
        """
        import tensorflow as tf

        if self == Augmentation(fill=self.fill):
            return images
        shape = tf.shape(images)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=self._maps(shape[0], shape[1], shape[2], seed),
            output_shape=shape[1:3],
            interpolation="BILINEAR",
            fill_mode=_FILLS[self.fill],
            fill_value=0.0,
        )

    def _maps(self, count: Any, height: Any, width: Any, seed: Any) -> Any:
        """Draws for each image the map from its new pixels to its old ones: `[b, 8]`."""
        import tensorflow as tf

        area, ratio, *draws = tf.unstack(tf.random.stateless_uniform([_DRAWS, count], seed))
        mirror = tf.where(draws[0] < 0.5, -1.0, 1.0) if self.flip else 1.0
        zoom, turn, lean, right, down, x_shift, y_shift = (2 * d - 1 for d in draws[1:])
        height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
        x_crop, y_crop = self._crops(area, ratio)  # [b], shares of the sides
        # Seen from the centre of the image: mirror and scale, then shear, then turn, then move.
        size = 1 / (1 + self.zoom * zoom)
        x_scale, y_scale = x_crop * size * mirror, y_crop * size
        angle, slope = math.radians(self.rotation) * turn, tf.tan(math.radians(self.shear) * lean)
        cos, sin = tf.cos(angle), tf.sin(angle)
        xx, xy = cos * x_scale, (cos * slope - sin) * y_scale
        yx, yy = sin * x_scale, (sin * slope + cos) * y_scale
        x_move = self._pixels(x_shift) + (1 - x_crop) * width / 2 * right
        y_move = self._pixels(y_shift) + (1 - y_crop) * height / 2 * down
        x_mid, y_mid = (width - 1) / 2, (height - 1) / 2
        x_begin = x_mid + x_move - xx * x_mid - xy * y_mid
        y_begin = y_mid + y_move - yx * x_mid - yy * y_mid
        zeros = tf.zeros_like(xx)
        return tf.stack([xx, xy, x_begin, yx, yy, y_begin, zeros, zeros], axis=1)

    def _crops(self, area: Any, ratio: Any) -> tuple[Any, Any]:
        """Width and height of the crops as shares of the image's, from two draws in [0, 1)."""
        import tensorflow as tf

        if self.crop == 1:
            return tf.ones_like(area), tf.ones_like(area)
        kept = self.crop + (1 - self.crop) * area
        aspect = tf.exp(math.log(4 / 3) * (2 * ratio - 1))
        return tuple(tf.minimum(1.0, tf.sqrt(side)) for side in (kept * aspect, kept / aspect))

    def _pixels(self, draw: Any) -> Any:
        """A whole number of pixels from -shift to shift, each as likely, from a draw in [-1, 1)."""
        import tensorflow as tf

        return tf.floor((draw + 1) / 2 * (2 * self.shift + 1)) - self.shift


_USUAL = {
    "digits": Augmentation(shift=2, rotation=10, zoom=0.1, shear=5),
    "mnist": Augmentation(shift=2, rotation=10, zoom=0.1, shear=5),
    "fashion_mnist": Augmentation(shift=2, flip=True),
    "cifar10": Augmentation(shift=4, flip=True),
    "cifar100": Augmentation(shift=4, flip=True),
    "imagenette": Augmentation(crop=0.35, flip=True),
    "image_folder": Augmentation(crop=0.35, flip=True),
}
