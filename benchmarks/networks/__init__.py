"""Trained networks that come inside packages, and how each is judged without its own data.

`load(name, folder)` gives a `Network`. `benchmarks/README.md` says what the folder holds.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from networks.network import Network

# In the module of each: `load(folder) -> Network`, or a function of the network's name.
MODULES = {
    "lenet_5": "lenet",
    "resnet_8": "resnet",
    "resnet_20": "resnet",
    "resnet_20_half": "resnet",
    "resnet_20_quarter": "resnet",
    "vww_96": "mlperf_tiny",
    "ad01": "mlperf_tiny",
    "deeplc": "deeplc",
    "g2p_en": "g2p",
    "efficientnet_lite0": "efficientnet",
}


def load(name: str, folder: Path) -> Network:
    """Returns a network of `MODULES`, with what it needs from `folder`."""
    return getattr(importlib.import_module(f"networks.{MODULES[name]}"), name)(Path(folder))
