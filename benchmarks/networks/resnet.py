"""MLPerf Tiny's ResNet-8, and ResNet-20 of the zoo, on CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

import smh
from networks.network import Network, drop, moved
from networks.photos import cifar10

KEPT = Path(__file__).parents[2] / "results" / "networks"  # trained by `examples/mnist_curve.py`


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
    """89.53 %, after 35 epochs; the network is kept in `results/networks`."""
    return _of_the_zoo("resnet_20", "resnet_20-seed1.smh", folder)


def resnet_20_half(folder: Path) -> Network:
    """88.22 %: half of the multiply-adds of `resnet_20`, by `smh.slim`; kept beside it."""
    return _of_the_zoo("resnet_20_half", "resnet_20-half-seed1.smh", folder)


def resnet_20_quarter(folder: Path) -> Network:
    """85.20 %: a quarter of the multiply-adds of `resnet_20`, in the same way; kept beside it."""
    return _of_the_zoo("resnet_20_quarter", "resnet_20-quarter-seed1.smh", folder)


def _of_the_zoo(name: str, file: str, folder: Path) -> Network:
    model = smh.load(KEPT / file)
    data = cifar10(folder)
    mean, deviation = np.float32((0.4914, 0.4822, 0.4465)), np.float32((0.2470, 0.2435, 0.2616))
    x, x_test = (
        (data[part].astype("float32") / 255 - mean) / deviation for part in ("x_train", "x_test")
    )
    loss = drop(model, x_test, data["y_test"])

    def lessons(number: int):
        return moved(x, number)

    return Network(name, model, x[:512], loss, "points", (0.1, 0.5, 1.0), lessons)
