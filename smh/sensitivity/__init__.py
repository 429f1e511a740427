"""Which weights a model can do without: `smh.sensitivity_scan` and `smh.bits_scan`.

`scan` prunes or clusters one weight after the other, evaluates, and puts it back; `result` holds
what was measured; `suggestion` turns that into a sparsity or a number of bits for each weight.
`fisher` says which numbers the outputs depend on.
"""

from smh.sensitivity.importance import fisher
from smh.sensitivity.result import ScanResult, ScanRow
from smh.sensitivity.scan import bits_scan, sensitivity_scan

__all__ = ["ScanResult", "ScanRow", "bits_scan", "fisher", "sensitivity_scan"]
