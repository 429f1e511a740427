"""A penalty on the weights themselves, computed or stored."""

from __future__ import annotations

from typing import Any

import keras

from smh.doors.selection import make_matcher
from smh.doors.weight_roles import is_taken
from smh.errors import SelectionError, UnbuiltModelError
from smh.errors.limits import AT_LEAST_0
from smh.recipes.losses import AddedL2, own_regularizer
from smh.typing import Selector
from smh.virtual_variable import own_layers, owners_of, virtual_variables
from smh.virtual_variable.given import check_is_model


def penalise_weights(
    model: keras.Model, l2: float, apply_to: Selector | None = None
) -> keras.Model:
    """Adds `l2` times the squares of the weights to the loss: weight decay that survives SMH.

    The factors of a pool are not penalised: their decay pulls the weights of all layers at once,
    by their scales squared. The decay `d` of papers, `d * w` in each gradient, is `l2 = d / 2`.

    What a layer asks for itself (`kernel_regularizer`) goes on, beside this. Called again, only
    what this has added is replaced, also after loading a `.keras` or a `.smh` file. Such a file has
    the penalty of kernels and embeddings, and is read where smh is imported. In what
    `smh.materialize` and `smh.slim` return it is Keras' own `L1L2`, the sum of both; in a file of
    such a model it counts as the layer's own.

    Args:
        model: a built Keras model, compressed or to be compressed. It is changed in place. Compile
            it afterwards.
        l2: not negative. 0 takes away what this has added before.
        apply_to: which of the trained weights, as in `smh.compress`. Default: kernels, embeddings
            and other weights of rank 2 or more.

    Returns:
        The same model.

    Raises:
        ArgumentError: `l2` is negative or no number, or `model` is no Keras model.
        UnbuiltModelError: the model has no weights yet.
        SelectionError: nothing was selected.

    Cost: one pass over the weights per step.

    Example:
        >>> import smh
        >>> model = smh.compress(smh.zoo.lenet_300_100(), fraction=0.1)
        >>> model = smh.recipes.penalise_weights(model, 5e-5)
    """
    l2 = AT_LEAST_0.checked(l2, "l2")
    penalise(model, to_penalise(model, apply_to), l2)
    return model


def to_penalise(model: keras.Model, apply_to: Selector | None = None) -> set[int]:
    """Returns the `id` of each weight that `penalise_weights` selects; raises as it does."""
    check_is_model(model)
    if not model.built:
        raise UnbuiltModelError(f"'{model.name}' has no weights yet. Build it, or call it once.")
    weights, owners = {id(v): v for v in _weights(model)}, owners_of(own_layers(model))
    paths = [v.path for v in weights.values()]
    matches = None if apply_to is None else make_matcher(apply_to, "apply_to", paths)
    chosen = {
        key
        for key, v in weights.items()
        if (is_taken(v, owners[key][1]) if matches is None else matches(v.path, v.name, v))
    }
    if not chosen:
        raise SelectionError(
            f"Nothing to penalise was selected in '{model.name}'. It has: {', '.join(paths)}"
        )
    return chosen


def penalise(model: keras.Model, chosen: set[int], l2: float) -> None:
    """Gives the weights `chosen` the penalty, beside what their layers ask for."""
    for variable in _weights(model):
        if id(variable) in chosen:
            variable.regularizer = _with(l2, variable.regularizer)
    # For the file: a layer that is made again from its configuration has the penalty again.
    for layer in own_layers(model):
        for name in ("kernel", "embeddings", "depthwise_kernel", "pointwise_kernel"):
            regularizer = f"{name}_regularizer"
            if hasattr(layer, regularizer) and id(getattr(layer, name, None)) in chosen:
                setattr(layer, regularizer, _with(l2, getattr(layer, regularizer)))


def _with(l2: float, regularizer: Any) -> Any:
    own = own_regularizer(regularizer)
    return AddedL2(l2, own) if l2 else own


def _weights(model: keras.Model) -> list:
    """The trained weights as the layers see them: virtual ones, and no factors and scales."""
    virtuals = virtual_variables(model)
    hidden = set()
    for virtual in virtuals:
        parametrization = virtual.parametrization
        hidden |= {id(part) for part in parametrization.parts}
        if parametrization.source is not None:
            hidden |= {id(v) for v in parametrization.source.trainable_variables}
    stored = [v for v in model.trainable_variables if id(v) not in hidden]
    return [*stored, *(v for v in virtuals if v.trainable)]
