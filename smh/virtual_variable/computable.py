"""Weights that cannot be computed, because of what a layer does with them in training.

A computed weight cannot be assigned to. Spectral normalisation, for one, puts the normalised kernel
into the place of the kernel at every training step: with a virtual kernel the first of them fails.
And a function with a gradient of its own (`keras.ops.custom_gradient`) that reads a weight itself,
not as an argument, gives a gradient for that variable: TensorFlow hands it to the stored variables
that the function has read, and what the weight is computed from is none of them. Such a weight is
refused before anything is changed.

How they are found: a layer whose `call`, or a method or function that it calls, names `assign` or
`custom_gradient` is tried (`trying.py`). What cannot be tried is left alone: `VirtualVariable` then
says what is wrong when the layer assigns.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from smh.errors import SelectionError
from smh.virtual_variable.inside_keras.own import own_layers, own_variables
from smh.virtual_variable.trying import names_used, tried
from smh.virtual_variable.variable import VirtualVariable

_TELLING = frozenset({"assign", "assign_add", "assign_sub", "set_weights", "custom_gradient"})


def check_computable(model: keras.Layer, variables: Sequence[keras.Variable]) -> None:
    """Raises `SelectionError` if one of `variables` cannot be computed in training.

    Args:
        model: a built model.
        variables: what is to be computed from now on. Those that are computed already are not
            looked at again.

    Cost: a symbolic call of each layer that is tried and has one of `variables` in it or below.
    """
    wanted = {id(v): v for v in variables if not isinstance(v, VirtualVariable)}
    worth_it: dict[type, bool] = {}
    for layer in own_layers(model):
        kind = type(layer)
        if kind not in worth_it:
            worth_it[kind] = _is_worth_a_trial(kind)
        if not worth_it[kind]:
            continue
        below = {id(v) for part in own_layers(layer) for v in own_variables(part)}
        _check(layer, [wanted[key] for key in below & wanted.keys()])


def _check(layer: keras.Layer, variables: Sequence[keras.Variable]) -> None:
    if not variables:
        return
    trial = tried(layer, variables)
    for variable in trial.assigned:
        path = variable.path
        raise SelectionError(f"{_why(path, layer)} Leave it as it is: exclude={path!r}.")
    for variable in trial.own_gradient:
        path = variable.path
        raise SelectionError(
            f"'{path}' cannot be computed: a function in '{layer.name}' ({type(layer).__name__}) "
            "reads it and has a gradient of its own, which would not reach what the weight is "
            "computed from. Give the weight to the function as an argument, with a gradient for "
            f"it; or leave it as it is: exclude={path!r}."
        )


def check_not_normalised(enclosing: Sequence[keras.Layer], path: str) -> None:
    """Raises `SelectionError` if a weight that is being made is for `SpectralNormalization`.

    A layer that is not built cannot be tried: of those that assign only Keras' own is known then.

    Args:
        enclosing: the layers that are being built.
        path: of the weight.
    """
    for layer in enclosing:
        if isinstance(layer, keras.layers.SpectralNormalization):
            raise SelectionError(
                f"{_why(path, layer)} Leave it dense by an `apply_to` that does not match it, or "
                "build the layer outside of the scope."
            )


def _why(path: str, layer: keras.Layer) -> str:
    return (
        f"'{path}' cannot be computed: '{layer.name}' ({type(layer).__name__}) assigns to it in "
        "each training step."
    )


def _is_worth_a_trial(kind: type) -> bool:
    """Whether the layers of a class may do such things, as its code has it.

    Relies on: of Keras' own layers only `SpectralNormalization` assigns to a trained weight. To try
    a recurrent layer, which may assign to its states, would take up to a second.
    """
    if kind.__module__.startswith("keras."):
        return issubclass(kind, keras.layers.SpectralNormalization)
    return any(names & _TELLING for names in names_used(kind))
