"""Residual networks for small images.

Two families: the thin ones of the CIFAR experiments (ResNet-20, 32, 56, and a ResNet-8), and the
ImageNet ones (ResNet-18, 34, 50) with a 3 x 3 stem and no pooling in front, as small images need.

Reference: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR
2016: section 4.2 and table 6 for the thin ones, table 1 for the others.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from smh.typing import Shape


def resnet_8(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds ResNet-8, one block a stage: 75,290 trained numbers. See `resnet_32`.

    It is in no table of the paper, whose thin networks begin with 20 layers. It is the one to try
    things on: training on 4,096 images of 28 x 28 took 4 s of one CPU core with AMX in bfloat16.
    """
    return _thin(8, input_shape, classes)


def resnet_20(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds ResNet-20: 269,722 trained numbers (0.27 M). See `resnet_32`."""
    return _thin(20, input_shape, classes)


def resnet_32(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds ResNet-32, on which the SMH paper reports.

    Args:
        input_shape: shape of one image, `(height, width, channels)`.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 464,154 numbers (0.46 M in the paper's table 6).

    Example:
        >>> from smh.zoo import resnet_32
        >>> model = resnet_32()

    Reference: He et al. (2016), section 4.2, shortcuts of kind A (without weights).
    """
    return _thin(32, input_shape, classes)


def resnet_56(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds ResNet-56: 853,018 trained numbers (0.85 M). See `resnet_32`."""
    return _thin(56, input_shape, classes)


def resnet_18(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds ResNet-18 for small images: 11,173,962 trained numbers. See `resnet_34`."""
    return _wide("resnet_18", _basic, (2, 2, 2, 2), input_shape, classes)


def resnet_34(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds ResNet-34 for small images, on which FeatherMap reports.

    Args:
        input_shape: shape of one image, `(height, width, channels)`.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 21,282,122 numbers.

    Example:
        >>> from smh.zoo import resnet_34
        >>> model = resnet_34()

    Reference: He et al. (2016), table 1; shortcuts of kind B (1 x 1 convolutions).
    """
    return _wide("resnet_34", _basic, (3, 4, 6, 3), input_shape, classes)


def resnet_50(input_shape: Shape = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Builds ResNet-50 for small images: 23,520,842 trained numbers. See `resnet_34`."""
    return _wide("resnet_50", _bottleneck, (3, 4, 6, 3), input_shape, classes)


def _thin(depth: int, input_shape: Shape, classes: int) -> keras.Model:
    name = f"resnet_{depth}"
    inputs = keras.Input(input_shape)
    x = _conv(inputs, 16, 3, 1, "stem")
    for stage, filters in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            stride = 2 if stage and not block else 1
            x = _basic(x, filters, stride, f"stage{stage + 1}_block{block + 1}", _pad_shortcut)
    return _with_head(inputs, x, classes, name)


def _wide(name, block, counts, input_shape: Shape, classes: int) -> keras.Model:
    inputs = keras.Input(input_shape)
    x = _conv(inputs, 64, 3, 1, "stem")
    for stage, count in enumerate(counts):
        for number in range(count):
            stride = 2 if stage and not number else 1
            x = block(x, 64 * 2**stage, stride, f"stage{stage + 1}_block{number + 1}")
    return _with_head(inputs, x, classes, name)


def _with_head(inputs, x, classes: int, name: str) -> keras.Model:
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=name)


def _basic(x, filters: int, stride: int, name: str, shortcut=None):
    y = _conv(x, filters, 3, stride, f"{name}_conv1")
    y = _conv(y, filters, 3, 1, f"{name}_conv2", relu=False)
    return _added(x, y, stride, name, shortcut or _conv_shortcut)


def _bottleneck(x, filters: int, stride: int, name: str):
    y = _conv(x, filters, 1, 1, f"{name}_conv1")
    y = _conv(y, filters, 3, stride, f"{name}_conv2")
    y = _conv(y, 4 * filters, 1, 1, f"{name}_conv3", relu=False)
    return _added(x, y, stride, name, _conv_shortcut)


def _added(x, y, stride: int, name: str, shortcut):
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        x = shortcut(x, y.shape[-1], stride, f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _conv_shortcut(x, filters: int, stride: int, name: str):
    return _conv(x, filters, 1, stride, name, relu=False)


def _pad_shortcut(x, filters: int, stride: int, name: str):
    """Every second pixel, and zeros for the channels that are new: no weights."""
    del name
    new = filters - x.shape[-1]
    return ops.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))


def _conv(x, filters: int, size: int, stride: int, name: str, relu: bool = True):
    """Convolution without bias, batch normalisation and, if asked for, ReLU.

    A stride is padded on both sides alike, as in the papers' frameworks; `"same"` in Keras is not.
    """
    if stride > 1 and size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    else:
        padding = "same"
    conv = layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
    # Keras' default momentum of 0.99 needs far more steps than a short run has.
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(conv(x))
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x
