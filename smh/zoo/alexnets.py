"""AlexNet, and a small one for small images.

Reference: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional
Neural Networks", NIPS 2012; A. Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", arXiv:1404.5997 (2014), for the network without two halves.
"""

from __future__ import annotations

import keras
from keras import layers

from smh.typing import Shape

_POOL_AFTER = (1, 2, 5)


def alexnet(input_shape: Shape = (224, 224, 3), classes: int = 10) -> keras.Model:
    """Builds AlexNet in one tower, as later works have it.

    The network of 2012 was two halves on two processors, with local response normalisation, and
    has 60.97 million numbers for 1000 classes. That of 2014 has neither and 61,100,840.

    Args:
        input_shape: shape of one image, `(height, width, channels)`, 63 x 63 at least.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 57,044,810 numbers, 54,534,144 of them in two dense kernels.

    Cost: 230 MB for the weights.

    Example: `model = smh.zoo.alexnet(classes=100)`

    Reference: Krizhevsky (2014), section 5; dropout as in Krizhevsky et al. (2012), section 4.2.
    """
    x = inputs = keras.Input(input_shape)
    for number, (filters, size) in enumerate(
        ((64, 11), (192, 5), (384, 3), (256, 3), (256, 3)), start=1
    ):
        # The first has a stride, and is padded by two pixels as in the papers' frameworks.
        if number == 1:
            x = layers.ZeroPadding2D(2, name="conv1_pad")(x)
            x = _conv(filters, size, 4, "valid", number)(x)
        else:
            x = _conv(filters, size, 1, "same", number)(x)
        if number in _POOL_AFTER:
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number in (6, 7):
        x = layers.Dropout(0.5, name=f"dropout{number}")(x)
        dense = layers.Dense(
            4096, activation="relu", kernel_initializer="he_normal", name=f"fc{number}"
        )
        x = dense(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="alexnet")


def alexnet_small(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds the AlexNet for CIFAR: the same convolutions, and one dense layer.

    Args:
        input_shape: shape of one image, `(height, width, channels)`, 32 x 32 at least.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 2,472,266 numbers.

    Example:
        >>> from smh.zoo import alexnet_small
        >>> alexnet_small().count_params()
        2472266

    Reference: W. Yang, "Classification on CIFAR-10/100 and ImageNet with PyTorch" (2017), which
    gives 2.47 M.
    """
    x = inputs = keras.Input(input_shape)
    x = layers.ZeroPadding2D(5, name="conv1_pad")(x)
    x = _conv(64, 11, 4, "valid", 1)(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = _conv(192, 5, 1, "same", 2)(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    for number, filters in ((3, 384), (4, 256), (5, 256)):
        x = _conv(filters, 3, 1, "same", number)(x)
    x = layers.MaxPooling2D(2, name="pool5")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="alexnet_small")


def _conv(filters: int, size: int, stride: int, padding: str, number: int) -> layers.Layer:
    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        activation="relu",
        kernel_initializer="he_normal",
        name=f"conv{number}",
    )
