"""Labelled images from files that are there, split the same way every time.

`digits` is always there. The others say how to get them, and `load` also takes examples of your
own. `batches` feeds `fit`.
"""

from smh.datasets.augmentation import Augmentation
from smh.datasets.cifar import cifar10, cifar100
from smh.datasets.dataset import Dataset
from smh.datasets.loading import load, names
from smh.datasets.mnist_like import fashion_mnist, mnist
from smh.datasets.picture_sets import image_folder, imagenette
from smh.datasets.pipeline import batches
from smh.datasets.scikit_digits import digits

__all__ = [
    "Augmentation",
    "Dataset",
    "batches",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "image_folder",
    "imagenette",
    "load",
    "mnist",
    "names",
]
