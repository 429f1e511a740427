"""Models to compress: networks with published parameter counts."""

from smh.zoo.lenet import lenet_5, lenet_300_100
from smh.zoo.resnet import resnet_18, resnet_20, resnet_32, resnet_34, resnet_50, resnet_56

__all__ = [
    "lenet_300_100",
    "lenet_5",
    "resnet_18",
    "resnet_20",
    "resnet_32",
    "resnet_34",
    "resnet_50",
    "resnet_56",
]
