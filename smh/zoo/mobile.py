"""MobileNets and EfficientNets, as `keras.applications` has them, without trained weights.

They take images in [0, 1] and give logits, as all models of the zoo. The published figures are
rounded and leave out the statistics of batch normalisation. Keras trains:

| model | paper | trained here | with statistics |
| --- | --- | --- | --- |
| MobileNetV2 | 3.4 M | 3,504,872 | 3,538,984 |
| MobileNetV3, small | 2.5 M | 2,542,856 | 2,554,968 |
| MobileNetV3, large | 5.4 M | 5,483,032 | 5,507,432 |
| EfficientNet-B0 | 5.3 M | 5,288,548 | 5,330,571 |
| EfficientNet-B1 | 7.8 M | 7,794,184 | 7,856,239 |
| EfficientNet-B2 | 9.2 M | 9,109,994 | 9,177,569 |
| EfficientNet-B3 | 12 M | 12,233,232 | 12,320,535 |
| EfficientNet-B4 | 19 M | 19,341,616 | 19,466,823 |
| EfficientNet-B5 | 30 M | 30,389,784 | 30,562,527 |
| EfficientNet-B6 | 43 M | 43,040,704 | 43,265,143 |

each for 1000 classes. torchvision trains the same numbers, to the last one. MobileNetV2 and
MobileNetV3-large are 0.1 M above their papers' figures in both.

Reference: M. Sandler et al., "MobileNetV2", CVPR 2018, table 4; A. Howard et al., "Searching for
MobileNetV3", ICCV 2019, table 3; M. Tan, Q. Le, "EfficientNet", ICML 2019, table 2.
"""

from __future__ import annotations

import keras

from smh.typing import Shape
from smh.zoo.applications import application


def mobilenet_v2(input_shape: Shape = (224, 224, 3), classes: int = 1000) -> keras.Model:
    """Builds MobileNetV2.

    Args:
        input_shape: shape of one image, `(height, width, channels)`, 32 x 32 at least. The network
            halves the size five times: small images are better enlarged before.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` in [0, 1] to logits
        `[b, classes]`. With the default arguments it trains 3,504,872 numbers.

    Example:
        >>> from smh.zoo import mobilenet_v2
        >>> model = mobilenet_v2((96, 96, 3), classes=10)

    Reference: Sandler et al. (2018), table 2.
    """
    return application("MobileNetV2", input_shape, classes)


def mobilenet_v3_small(input_shape: Shape = (224, 224, 3), classes: int = 1000) -> keras.Model:
    """Builds MobileNetV3-small: 2,542,856 trained numbers. See `mobilenet_v3_large`."""
    return application("MobileNetV3Small", input_shape, classes)


def mobilenet_v3_large(input_shape: Shape = (224, 224, 3), classes: int = 1000) -> keras.Model:
    """Builds MobileNetV3-large: 5,483,032 trained numbers for 1000 classes.

    Arguments and result are those of `mobilenet_v2`.

    Reference: Howard et al. (2019), tables 1 and 2.
    """
    return application("MobileNetV3Large", input_shape, classes)


def efficientnet_b0(input_shape: Shape = (224, 224, 3), classes: int = 1000) -> keras.Model:
    """Builds EfficientNet-B0: 5,288,548 trained numbers for 1000 classes.

    Arguments and result are those of `mobilenet_v2`. B1 to B6 are wider and deeper, and made for
    larger images, which are their defaults.

    Reference: Tan and Le (2019), table 1.
    """
    return application("EfficientNetB0", input_shape, classes)


def efficientnet_b1(input_shape: Shape = (240, 240, 3), classes: int = 1000) -> keras.Model:
    """Builds EfficientNet-B1: 7,794,184 trained numbers. See `efficientnet_b0`."""
    return application("EfficientNetB1", input_shape, classes)


def efficientnet_b2(input_shape: Shape = (260, 260, 3), classes: int = 1000) -> keras.Model:
    """Builds EfficientNet-B2: 9,109,994 trained numbers. See `efficientnet_b0`."""
    return application("EfficientNetB2", input_shape, classes)


def efficientnet_b3(input_shape: Shape = (300, 300, 3), classes: int = 1000) -> keras.Model:
    """Builds EfficientNet-B3: 12,233,232 trained numbers. See `efficientnet_b0`."""
    return application("EfficientNetB3", input_shape, classes)


def efficientnet_b4(input_shape: Shape = (380, 380, 3), classes: int = 1000) -> keras.Model:
    """Builds EfficientNet-B4: 19,341,616 trained numbers. See `efficientnet_b0`."""
    return application("EfficientNetB4", input_shape, classes)


def efficientnet_b5(input_shape: Shape = (456, 456, 3), classes: int = 1000) -> keras.Model:
    """Builds EfficientNet-B5: 30,389,784 trained numbers. See `efficientnet_b0`."""
    return application("EfficientNetB5", input_shape, classes)


def efficientnet_b6(input_shape: Shape = (528, 528, 3), classes: int = 1000) -> keras.Model:
    """Builds EfficientNet-B6: 43,040,704 trained numbers. See `efficientnet_b0`."""
    return application("EfficientNetB6", input_shape, classes)
