"""Which weights a model can do without: `smh.sensitivity_scan` and `smh.bits_scan`.

`scan` prunes or clusters one weight after the other, evaluates, and puts it back; `result` holds
what was measured; `suggestion` turns that into a sparsity or a number of bits for each weight.
`fisher` says which numbers the outputs depend on, `words` how a metric is shown.

The names below are loaded when they are first used, so that `words` stays without Keras.
"""

import importlib
from typing import TYPE_CHECKING

_HOME = {
    "ScanResult": "smh.sensitivity.result",
    "ScanRow": "smh.sensitivity.result",
    "bits_scan": "smh.sensitivity.scan",
    "fisher": "smh.sensitivity.importance",
    "sensitivity_scan": "smh.sensitivity.scan",
}

__all__ = ["ScanResult", "ScanRow", "bits_scan", "fisher", "sensitivity_scan"]

if TYPE_CHECKING:
    from smh.sensitivity.importance import fisher as fisher
    from smh.sensitivity.result import ScanResult as ScanResult
    from smh.sensitivity.result import ScanRow as ScanRow
    from smh.sensitivity.scan import bits_scan as bits_scan
    from smh.sensitivity.scan import sensitivity_scan as sensitivity_scan


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'smh.sensitivity' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])
