"""Models to compress: small networks with published parameter counts."""

from smh.zoo.lenet import lenet_5, lenet_300_100

__all__ = ["lenet_300_100", "lenet_5"]
