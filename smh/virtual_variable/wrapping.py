"""What the readers of a stored variable see in its place: a factor that is rounded, for example.

`attach` makes a layer's own variable virtual, and something else is stored. The factors of a pool
are read by the pool alone, so there the variable may stay what it is, and only its readers see
something computed from it: an optimizer keeps its state, a weights file its layout, and taking
the wrapping off gives the variable back as it is.
"""

from __future__ import annotations

from typing import Any

import keras

from smh.typing import Tensor

_WRAPPING = "_smh_wrapping"


def wrap(variable: keras.Variable, parametrization: Any | None) -> None:
    """Lets readers of `variable` see `parametrization` from now on, or itself again (`None`).

    What was traced before still shows what was seen then.
    """
    # Not setattr: the variable tracks what is set on it on TensorFlow's backend.
    variable.__dict__.pop(_WRAPPING, None)
    if parametrization is not None:
        variable.__dict__[_WRAPPING] = parametrization


def wrapping_of(variable: keras.Variable) -> Any | None:
    """What computes the value that readers see, or `None` if they see the variable itself."""
    return variable.__dict__.get(_WRAPPING)


def seen(variable: keras.Variable) -> Tensor:
    """The value that readers see, computed now."""
    wrapping = wrapping_of(variable)
    return variable.value if wrapping is None else wrapping.value(None)
