"""Learning rates of their own for some of the variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from smh.doors.selection import make_matcher
from smh.errors import ArgumentError, SelectionError
from smh.errors.limits import AT_LEAST_0


def with_rates(optimizer: Any, rates: Mapping[str, float]) -> keras.optimizers.Optimizer:
    """Makes an optimizer with other learning rates for some of the variables.

    For a compressed model: `{"scale": 0.1}` for the trained scales, `{"ProductVariablePool": 2.0}`
    for the factors, of all pools. It is the step that is multiplied, not the gradient, which Adam
    would undo. A schedule, mixed precision and saving work as with the plain optimizer. Decoupled
    weight decay (`AdamW`, `weight_decay=`) keeps the common rate, and its exceptions
    (`exclude_from_weight_decay`).

    Args:
        optimizer: one of `keras.optimizers`: SGD, RMSprop, Adam, AdamW, Nadam or Adamax, and none
            that is derived from them, which has not been used yet; or its name.
        rates: for each pattern, as in `smh.compress`, the factor on the learning rate, 0 or more;
            the first that matches counts. Variables that none matches keep the common rate.

    Returns:
        A new optimizer.

    Raises:
        ArgumentError: another optimizer, a used one, or a factor or expression that is none.
        SelectionError: when training starts, if an expression matches no variable.

    Example:
        >>> import keras
        >>> from smh.recipes import with_rates
        >>> optimizer = with_rates(keras.optimizers.Adam(1e-2), {"scale": 0.1})
    """
    optimizer = keras.optimizers.get(optimizer)
    rated = _RATED.get(_plain(type(optimizer)))
    if rated is None:
        raise ArgumentError(
            f"optimizer must be one of {', '.join(sorted(_KNOWN))} of keras.optimizers, got "
            f"{type(optimizer).__name__}."
        )
    if optimizer.built:
        raise ArgumentError(
            f"This {type(optimizer).__name__} has been used, and knows its variables. Make a new "
            "one, and compile the model with what with_rates returns."
        )
    made = rated.from_config({**optimizer.get_config(), "rates": dict(rates)})
    _hand_on(optimizer, made)
    return made


def _hand_on(optimizer: Any, made: Any) -> None:
    """Gives a new optimizer what the old one was told after it was made, which no config has.

    `exclude_from_weight_decay` for example, or the step at which it begins.
    """
    for name in vars(optimizer).keys() - vars(made).keys():
        setattr(made, name, getattr(optimizer, name))
    for variable, value in zip(made.variables, optimizer.variables, strict=True):
        variable.assign(value)


class _Rated:
    """What is added to an optimizer of Keras."""

    _factors: list[float]

    def __init__(self, *args, rates: Mapping[str, float], **kwargs):
        make_matcher(list(rates), "rates")  # raises before anything is made
        rates = {p: AT_LEAST_0.checked(rate, f"The rate of {p!r}") for p, rate in rates.items()}
        super().__init__(*args, **kwargs)
        self.rates = rates
        # Behind Keras' tracker, which would wrap the lists.
        self.__dict__.update(_factors=[])

    def build(self, variables):
        """Decides each variable's factor, and makes the slots."""
        paths = [variable.path for variable in variables]
        matchers = [make_matcher(pattern, "rates", paths) for pattern in self.rates]
        matching = [[m(v.path, v.name, v) for m in matchers] for v in variables]
        unused = [p for i, p in enumerate(self.rates) if not any(row[i] for row in matching)]
        if unused:
            raise SelectionError(
                f"rates: {', '.join(map(repr, unused))} matches none of the trained variables: "
                + ", ".join(paths)
            )
        rates = [*self.rates.values(), 1.0]
        self.__dict__["_factors"] = [rates[[*row, True].index(True)] for row in matching]
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient, variable, learning_rate):
        """Changes one variable, at its own rate."""
        # Relies on: every optimizer of Keras finds its slots of a variable by this method, which
        # also knows the backend's own variables that it is given here.
        factor = self._factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]

    def get_config(self):
        """Returns the plain optimizer's configuration, and the rates."""
        return {**super().get_config(), "rates": self.rates}  # type: ignore[misc]


def _plain(cls: type) -> type:
    """The class that Keras shows: on PyTorch its constructor returns one of Keras' derived from it.

    One that somebody else has derived may make other steps, and is taken for none of Keras'.
    """
    of_keras = cls.__module__.partition(".")[0] == "keras"
    return next((c for c in cls.__mro__ if of_keras and c in _RATED), cls)


_KNOWN = ("SGD", "RMSprop", "Adam", "AdamW", "Nadam", "Adamax")
_RATED: dict[type, Any] = {}
for _name in _KNOWN:
    _base = getattr(keras.optimizers, _name)
    _class = type(f"Rated{_name}", (_Rated, _base), {"__module__": __name__})
    # A class of its own for each, under a name that a file can hold.
    _RATED[_base] = keras.saving.register_keras_serializable("smh")(_class)
