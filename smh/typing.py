"""Names for the types that cross module boundaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Tensor = Any  # a tensor of the Keras backend in use
Shape = tuple[int, ...]
Selector = str | Callable[[Any], bool] | Sequence["str | Callable[[Any], bool]"]
