"""MLPerf Tiny's ResNet-8 on CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import keras

from networks.network import Network, drop
from networks.photos import cifar10


def resnet_8(folder: Path) -> Network:
    """87.19 %; `pretrainedResnet.h5` of mlcommons/tiny in `folder`."""
    model = keras.saving.load_model(folder / "pretrainedResnet.h5", compile=False)
    data = cifar10(folder)
    loss = drop(model, data["x_test"].astype("float32"), data["y_test"])
    calibration = data["x_train"][:512].astype("float32")
    return Network("resnet_8", model, calibration, loss, "points", (0.1, 0.5, 1.0))
