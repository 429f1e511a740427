"""Smh's files on a device: no Keras, no TensorFlow.

`weights` reads an artifact with NumPy alone; `expanding` makes a small LiteRT file a fast one, and
`litert_file` opens and writes such files, for the exporter as well.
"""

from __future__ import annotations

from smh.runtime.expanding import expand
from smh.runtime.weights import Weights, load

__all__ = ["Weights", "expand", "load"]
