"""MLPerf Tiny's ResNet-8, and ResNet-20 of the zoo, on CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

import smh
from networks.network import Network, drop, moved
from networks.photos import cifar10


def resnet_8(folder: Path) -> Network:
    """87.19 %; `pretrainedResnet.h5` of mlcommons/tiny in `folder`."""
    model = keras.saving.load_model(folder / "pretrainedResnet.h5", compile=False)
    data = cifar10(folder)
    loss = drop(model, data["x_test"].astype("float32"), data["y_test"])
    calibration = data["x_train"][:512].astype("float32")

    def lessons(number: int):
        return moved(data["x_train"], number).astype("float32")

    return Network("resnet_8", model, calibration, loss, "points", (0.1, 0.5, 1.0), lessons)


def resnet_20(folder: Path) -> Network:
    """88.06 %, after 15 epochs; `resnet_20.smh` in `folder`, a dense run of `mnist_curve.py`.

    Its file with the architecture, `out/mnist/resnet_20-dense-...whole.smh`.
    """
    model = smh.load(folder / "resnet_20.smh")
    data = cifar10(folder)
    mean, deviation = np.float32((0.4914, 0.4822, 0.4465)), np.float32((0.2470, 0.2435, 0.2616))
    x, x_test = (
        (data[part].astype("float32") / 255 - mean) / deviation for part in ("x_train", "x_test")
    )
    loss = drop(model, x_test, data["y_test"])

    def lessons(number: int):
        return moved(x, number)

    return Network("resnet_20", model, x[:512], loss, "points", (0.1, 0.5, 1.0), lessons)
