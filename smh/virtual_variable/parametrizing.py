"""The door for parametrizations of one's own: `parametrize`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable.computable import check_computable
from smh.virtual_variable.given import check_not_deployed
from smh.virtual_variable.inside_keras.attachment import attach, wrap_calls
from smh.virtual_variable.inside_keras.own import own_layers, own_weights, owners_of
from smh.virtual_variable.inside_keras.training_state import reset_training
from smh.virtual_variable.parametrization import Parametrization
from smh.virtual_variable.variable import VirtualVariable

Pair = tuple[keras.Variable, Parametrization]


def parametrize(model: keras.Model, pairs: Sequence[Pair]) -> keras.Model:
    """Lets weights of a built model be computed by parametrizations, in place.

    Use it for a `Parametrization` of your own, as `smh.compress` does for slices of a pool. All is
    checked first; then every layer that has one of the variables gets the computed weight, and what
    Keras compiled for the model (also its `predict`) and the optimizer's state are dropped, because
    they are of the variables that were there. A pool that is not built yet is built.

    Args:
        model: a built model; compiled or not, trained or not.
        pairs: each a variable of the model, and what is to compute its value. A weight that layers
            share is given once.

    Returns:
        The same model.

    Raises:
        ArgumentError: a variable that is not the model's, not in a layer's list of trainable ones,
            computed already or given twice; a parametrization whose value has another shape or
            dtype than the variable, whose parts have equal names or are the variable itself, or
            that has a source and no slot.
        SelectionError: a variable that its layer assigns to (`SpectralNormalization`).
        DeployedModelError: the model is deployed.
        In every case, and if a parametrization raises, the model is as it was.

    Cost: each value is computed once.

    Example:
        >>> from smh.virtual_variable import parametrize
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="b")], name="a")
        >>> kernel = model.layers[0].kernel
        >>> try:
        ...     parametrize(model, [(kernel, "half")])
        ... except smh.errors.ArgumentError as error:
        ...     print(error)
        'a/b/kernel' needs a Parametrization, got str.
    """
    check_not_deployed(model, "its weights are computed in another way")
    owners, pairs = owners_of(own_layers(model), own_weights), list(pairs)
    _check_pairs(model, pairs, owners)
    for variable, parametrization in pairs:
        _check_value(variable, parametrization)
    check_computable(model, [variable for variable, _ in pairs])
    for variable, parametrization in pairs:
        attach(owners[id(variable)][1], variable, parametrization)
    wrap_calls(model)
    reset_training(model)
    return model


def _check_pairs(model: keras.Layer, given: list[Any], own: Container[int]) -> None:
    if not given or any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in given):
        raise ArgumentError(f"pairs must be (variable, parametrization) pairs, got {given!r:.200}.")
    for variable, parametrization in given:
        path = getattr(variable, "path", repr(variable))
        if isinstance(variable, VirtualVariable):
            raise ArgumentError(
                f"'{path}' is computed already, from {variable.parametrization.describe()}. Begin "
                "with smh.materialize(model), or leave it out."
            )
        if id(variable) not in own:
            raise ArgumentError(
                f"'{path}' is no trainable variable of '{model.name}', which has "
                f"{', '.join(v.path for v in model.trainable_variables) or 'none; is it built?'}"
            )
        if not isinstance(parametrization, Parametrization):
            kind = type(parametrization).__name__
            raise ArgumentError(f"'{path}' needs a Parametrization, got {kind}.")
    for number, what in enumerate(("variable", "parametrization")):
        if len({id(pair[number]) for pair in given}) < len(given):
            raise ArgumentError(f"A {what} is in two of the pairs; each may be in one.")


def _check_value(variable: keras.Variable, parametrization: Parametrization) -> None:
    """Checks what the parametrization is made of, and the shape and dtype that it computes."""
    names, path = [part.name for part in parametrization.parts], variable.path
    if len(set(names)) < len(names):
        raise ArgumentError(f"The parts for '{path}' need different names, got {names}.")
    if any(part is variable for part in parametrization.parts):
        raise ArgumentError(
            f"'{path}' cannot be a part of what replaces it: it will have no storage. Make a part "
            "by stored_variable(path, value)."
        )
    value = parametrization.value(_piece(path, parametrization))
    found = tuple(value.shape), keras.backend.standardize_dtype(value.dtype)
    expected = tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype)
    if found != expected:
        raise ArgumentError(
            f"The value for '{path}' must be of shape {expected[0]} and dtype {expected[1]}, got "
            f"{found[0]} and {found[1]} from {type(parametrization).__name__}.value."
        )


def _piece(path: str, parametrization: Parametrization) -> Any:
    source, slot = parametrization.source, parametrization.slot
    if source is None:
        return None
    if slot is None:
        raise ArgumentError(
            f"The parametrization of '{path}' has a source and no slot. Take one by "
            "pool.allocate(shape)."
        )
    if not source.built:
        source.build(None)
    return source.piece(slot, parametrization.scale)
