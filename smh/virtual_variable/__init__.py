"""The mechanism: a variable of a layer that is computed instead of stored.

`parametrization` says what computes a weight, `variable` is what the layer sees, `once` computes
all of them once per outermost call, `holder` and `attachment` put them into live layers.
"""

from smh.virtual_variable.attachment import (
    attach,
    attach_when_tracked,
    holder_of,
    in_creation_order,
    own_layers,
    own_variables,
    virtual_variables,
    wrap_calls,
)
from smh.virtual_variable.holder import VirtualWeights
from smh.virtual_variable.parametrization import Parametrization, Source
from smh.virtual_variable.variable import VirtualVariable, stored_variable, virtualize

__all__ = [
    "Parametrization",
    "Source",
    "VirtualVariable",
    "VirtualWeights",
    "attach",
    "attach_when_tracked",
    "holder_of",
    "in_creation_order",
    "own_layers",
    "own_variables",
    "stored_variable",
    "virtual_variables",
    "virtualize",
    "wrap_calls",
]
