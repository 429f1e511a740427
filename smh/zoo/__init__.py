"""Models to compress: networks with published parameter counts.

All are built and uncompiled, take images in [0, 1] and give logits. The names are there without
Keras; a function is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from smh.zoo.known import OWN, names

if TYPE_CHECKING:
    from smh.zoo.alexnets import alexnet as alexnet
    from smh.zoo.alexnets import alexnet_small as alexnet_small
    from smh.zoo.building import build as build
    from smh.zoo.lenet import lenet_5 as lenet_5
    from smh.zoo.lenet import lenet_300_100 as lenet_300_100
    from smh.zoo.mobile import efficientnet_b0 as efficientnet_b0
    from smh.zoo.mobile import efficientnet_b1 as efficientnet_b1
    from smh.zoo.mobile import efficientnet_b2 as efficientnet_b2
    from smh.zoo.mobile import efficientnet_b3 as efficientnet_b3
    from smh.zoo.mobile import efficientnet_b4 as efficientnet_b4
    from smh.zoo.mobile import efficientnet_b5 as efficientnet_b5
    from smh.zoo.mobile import efficientnet_b6 as efficientnet_b6
    from smh.zoo.mobile import mobilenet_v2 as mobilenet_v2
    from smh.zoo.mobile import mobilenet_v3_large as mobilenet_v3_large
    from smh.zoo.mobile import mobilenet_v3_small as mobilenet_v3_small
    from smh.zoo.resnet import resnet_8 as resnet_8
    from smh.zoo.resnet import resnet_18 as resnet_18
    from smh.zoo.resnet import resnet_20 as resnet_20
    from smh.zoo.resnet import resnet_32 as resnet_32
    from smh.zoo.resnet import resnet_34 as resnet_34
    from smh.zoo.resnet import resnet_50 as resnet_50
    from smh.zoo.resnet import resnet_56 as resnet_56
    from smh.zoo.vgg import vgg_11 as vgg_11
    from smh.zoo.vgg import vgg_11_small as vgg_11_small
    from smh.zoo.vgg import vgg_16 as vgg_16
    from smh.zoo.vgg import vgg_16_small as vgg_16_small

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


def __getattr__(name: str):
    if name == "build":
        return importlib.import_module("smh.zoo.building").build
    if name not in OWN:
        raise AttributeError(f"module 'smh.zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"smh.zoo.{OWN[name]}"), name)


def __dir__():
    return sorted(__all__)
