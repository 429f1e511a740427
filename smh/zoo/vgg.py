"""The VGG networks, and their kind for small images.

Reference: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015, tables 1 and 2: A is VGG-11 (133 M), D is VGG-16 (138 M).
"""

from __future__ import annotations

import keras
from keras import layers

from smh.typing import Shape

_FILTERS = (64, 128, 256, 512, 512)
_COUNTS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}


def vgg_11(input_shape: Shape = (224, 224, 3), classes: int = 1000) -> keras.Model:
    """Builds VGG-11: 132,863,336 trained numbers. See `vgg_16`."""
    return _large(11, input_shape, classes)


def vgg_16(input_shape: Shape = (224, 224, 3), classes: int = 1000) -> keras.Model:
    """Builds VGG-16.

    Args:
        input_shape: shape of one image, `(height, width, channels)`, 32 x 32 at least.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 138,357,544 numbers (138 M in the paper), 123,642,856 of them in
        its three dense layers.

    Cost: 550 MB for the weights, and as much again while they are drawn.

    Example: `model = smh.zoo.vgg_16(classes=10)`

    Reference: Simonyan and Zisserman (2015), table 1, column D.
    """
    return _large(16, input_shape, classes)


def vgg_11_small(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds VGG-11 for small images: 9,492,042 trained numbers. See `vgg_16_small`."""
    return _small(11, input_shape, classes)


def vgg_16_small(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds VGG-16 for small images: batch normalisation, and 512 units in place of twice 4096.

    Args:
        input_shape: shape of one image, `(height, width, channels)`, 32 x 32 at least.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 14,987,722 numbers.

    Example:
        >>> from smh.zoo import vgg_16_small
        >>> model = vgg_16_small()

    Reference: H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf, "Pruning Filters for Efficient
    ConvNets", ICLR 2017, tables 1 and 2 (1.5 * 10^7). Here no convolution has a bias: the
    normalisation behind it would take it out.
    """
    return _small(16, input_shape, classes)


def _large(depth: int, input_shape: Shape, classes: int) -> keras.Model:
    inputs = keras.Input(input_shape)
    x = _convolutions(inputs, depth, activation="relu")
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name=name)(x)
        x = layers.Dropout(0.5, name=f"{name}_dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=f"vgg_{depth}")


def _small(depth: int, input_shape: Shape, classes: int) -> keras.Model:
    inputs = keras.Input(input_shape)
    x = _convolutions(inputs, depth, use_bias=False)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = _normalised(layers.Dense(512, kernel_initializer="he_normal", name="fc1")(x), "fc1")
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=f"vgg_{depth}_small")


def _convolutions(x, depth: int, **options):
    """Five blocks of convolutions; those without a bias are normalised."""
    for block, (filters, count) in enumerate(zip(_FILTERS, _COUNTS[depth], strict=True), start=1):
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(
                filters, 3, padding="same", kernel_initializer="he_normal", name=name, **options
            )(x)
            x = x if options.get("use_bias", True) else _normalised(x, name)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return x


def _normalised(x, name: str):
    # Momentum and epsilon as in `resnet`.
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
