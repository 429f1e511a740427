"""The two LeNets on which most compression papers report.

Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86 (1998). The sizes are those of tables 2 and 3 in S. Han,
H. Mao, W. J. Dally, "Deep Compression", ICLR 2016.
"""

import keras
from keras import layers

from smh.typing import Shape


def lenet_300_100(input_shape: Shape = (28, 28, 1), classes: int = 10) -> keras.Model:
    """Builds LeNet-300-100: two hidden dense layers.

    Args:
        input_shape: shape of one image, `(height, width, channels)`; any shape works.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 266,610 numbers, 266,200 of them in its three kernels.

    Example:
        >>> from smh.zoo import lenet_300_100
        >>> lenet_300_100().count_params()
        266610
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(name="flatten"),
            layers.Dense(300, activation="relu", name="fc1"),
            layers.Dense(100, activation="relu", name="fc2"),
            layers.Dense(classes, name="logits"),
        ],
        name="lenet_300_100",
    )


def lenet_5(input_shape: Shape = (28, 28, 1), classes: int = 10) -> keras.Model:
    """Builds LeNet-5 in Caffe's sizes: 20 and 50 filters of 5 x 5, then 500 dense units.

    Caffe's network has a ReLU after the dense layer only; here, as in most later versions, each
    convolution has one too. It changes no count.

    Args:
        input_shape: shape of one image, `(height, width, channels)`, 16 x 16 at least.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` to logits `[b, classes]`. With the
        default arguments it trains 431,080 numbers, 430,500 of them in its four kernels.

    Example:
        >>> from smh.zoo import lenet_5
        >>> lenet_5().count_params()
        431080

    Reference: `examples/mnist/lenet_train_test.prototxt` of Caffe (Y. Jia et al., 2014).
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(20, 5, activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(50, 5, activation="relu", name="conv2"),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(500, activation="relu", name="fc1"),
            layers.Dense(classes, name="logits"),
        ],
        name="lenet_5",
    )
