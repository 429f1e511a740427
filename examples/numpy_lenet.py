"""LeNet-5 from an artifact with NumPy alone: no Keras, no TensorFlow.

`python examples/numpy_lenet.py model.smh images.npy` prints the class of each image [b, 28, 28, 1].
"""

import sys

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import smh


def convolve_and_pool(x, kernel, bias):
    patches = sliding_window_view(x, kernel.shape[:2], axis=(1, 2))  # [b, h, w, c, kh, kw]
    y = np.maximum(np.einsum("bhwcij,ijco->bhwo", patches, kernel, optimize=True) + bias, 0)
    b, h, w, c = y.shape
    return y.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def logits(weights, x):
    for name in ("conv1", "conv2"):
        x = convolve_and_pool(x, *weights_of(weights, name))
    kernel, bias = weights_of(weights, "fc1")
    x = np.maximum(x.reshape(len(x), -1) @ kernel + bias, 0)
    kernel, bias = weights_of(weights, "logits")
    return x @ kernel + bias


def weights_of(weights, layer):
    return [weights[f"lenet_5/{layer}/{name}"] for name in ("kernel", "bias")]


def main(artifact, images):
    print(*logits(smh.runtime.load(artifact), np.load(images)).argmax(axis=-1))


if __name__ == "__main__":
    main(*sys.argv[1:])
