"""The mechanism: a variable of a layer that is computed instead of stored.

`parametrization` says what computes a weight, `variable` is what the layer sees, `once` computes
all of them once per outermost call, `holder` and `attachment` put them into live layers, and
`parametrize` does so for a model, checked, with parametrizations of a user's own.
"""

from smh.typing import Tally
from smh.virtual_variable.inside_keras.attachment import (
    attach,
    attach_when_tracked,
    exchange,
    forget_all_traces,
    in_creation_order,
    put_holder,
    virtual_variables,
    wrap_calls,
)
from smh.virtual_variable.inside_keras.holder import VirtualWeights, resume
from smh.virtual_variable.inside_keras.own import (
    calls_as_keras,
    holder_of,
    own_layers,
    own_variables,
    own_weights,
    owners_of,
)
from smh.virtual_variable.inside_keras.replicas import creation_scope
from smh.virtual_variable.parametrization import Parametrization, Source
from smh.virtual_variable.parametrizing import parametrize
from smh.virtual_variable.variable import (
    VirtualVariable,
    copy_of,
    floats_of,
    rename,
    stored_variable,
    unset_variable,
    view_of,
    virtualize,
)
from smh.virtual_variable.wrapping import seen, wrap, wrapping_of

__all__ = [
    "Parametrization",
    "Source",
    "Tally",
    "VirtualVariable",
    "VirtualWeights",
    "attach",
    "attach_when_tracked",
    "copy_of",
    "creation_scope",
    "exchange",
    "floats_of",
    "forget_all_traces",
    "holder_of",
    "in_creation_order",
    "calls_as_keras",
    "own_layers",
    "own_variables",
    "own_weights",
    "owners_of",
    "parametrize",
    "put_holder",
    "rename",
    "resume",
    "seen",
    "stored_variable",
    "unset_variable",
    "view_of",
    "virtual_variables",
    "virtualize",
    "wrap",
    "wrap_calls",
    "wrapping_of",
]
