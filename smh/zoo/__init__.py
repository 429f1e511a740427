"""Models to compress: networks with published parameter counts.

All are built and uncompiled, take images in [0, 1] and give logits.
"""

from smh.zoo.alexnets import alexnet, alexnet_small
from smh.zoo.building import build, names
from smh.zoo.lenet import lenet_5, lenet_300_100
from smh.zoo.mobile import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
)
from smh.zoo.resnet import (
    resnet_8,
    resnet_18,
    resnet_20,
    resnet_32,
    resnet_34,
    resnet_50,
    resnet_56,
)
from smh.zoo.vgg import vgg_11, vgg_11_small, vgg_16, vgg_16_small

__all__ = [
    "alexnet",
    "alexnet_small",
    "build",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "lenet_300_100",
    "lenet_5",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "names",
    "resnet_18",
    "resnet_20",
    "resnet_32",
    "resnet_34",
    "resnet_50",
    "resnet_56",
    "resnet_8",
    "vgg_11",
    "vgg_11_small",
    "vgg_16",
    "vgg_16_small",
]
