"""What Keras' trainer keeps of a model whose variables have changed."""

from __future__ import annotations

from typing import Any

import keras

from smh.virtual_variable.inside_keras.own import models_around, own_layers
from smh.virtual_variable.inside_keras.replicas import creation_scope
from smh.virtual_variable.inside_keras.traces import forget_traces, is_running
from smh.virtual_variable.variable import copy_of


def reset_training(model: keras.Layer, build: bool = False) -> None:
    """Drops the compiled functions, and the optimizer's state for variables that are gone.

    The optimizer of a model around this one stays, if it trains what it trained before.

    Relies on: an optimizer that is not built is built when `fit` begins, or in its first step; so
    that of a model whose `fit` is under way is built at once.

    Args:
        model: the model; those inside it, and around it, may have been compiled as well.
        build: whether a new optimizer is built at once, so that its state can be loaded.
    """
    own, around = list(own_layers(model)), models_around(model)
    forget_traces([*own, *around])
    for layer in [*own, *(outer for outer in around if not _trains_the_same(outer))]:
        if not isinstance(layer, keras.Model):
            continue
        optimizer = getattr(layer, "optimizer", None)
        if optimizer is not None and optimizer.built:
            layer.optimizer = type(optimizer).from_config(optimizer.get_config())
            _keep_exceptions(optimizer, layer.optimizer, layer)
            if build or is_running(layer):
                build_optimizer(layer)


def _trains_the_same(model: keras.Model) -> bool:
    """Whether the optimizer has state of the very variables that the model trains now.

    Relies on: a built optimizer keeps its variables in `_trainable_variables`.
    """
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    trained = getattr(optimizer, "_trainable_variables", None) or []
    return [id(v) for v in trained] == [id(v) for v in model.trainable_variables]


def build_optimizer(model: keras.Model) -> None:
    """Gives the model's optimizer its state, where it has none, as the first step would.

    State of variables that TensorFlow mirrors is mirrored with them.

    Relies on: the first step of an optimizer with `use_ema` sets its averages to the variables, and
    the end of `fit` sets the variables to the averages.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or optimizer.built:
        return
    with creation_scope(model.trainable_variables):
        optimizer.build(model.trainable_variables)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if getattr(inner, "use_ema", False):
        averages = inner._model_variables_moving_average
        for average, variable in zip(averages, inner._trainable_variables, strict=True):
            average.assign(copy_of(variable))


def _keep_exceptions(old: Any, new: Any, model: keras.Model) -> None:
    """Lets an optimizer spare of weight decay what the old one did, of variables that are left.

    Relies on: `exclude_from_weight_decay` leaves the keys of variables and a pattern for names in
    these attributes, which no configuration has; a loss-scaling optimizer's is the one it wraps.
    """
    old, new = (getattr(one, "inner_optimizer", one) for one in (old, new))
    if hasattr(old, "_exclude_from_weight_decay"):
        there = {old._var_key(variable) for variable in model.trainable_variables}
        new._exclude_from_weight_decay = {*old._exclude_from_weight_decay} & there
        new._exclude_from_weight_decay_pattern = old._exclude_from_weight_decay_pattern


def steps_made(model: keras.Model) -> int:
    """Returns how many steps the model's optimizer has made; 0 if it has none.

    Relies on: `Optimizer._iterations` counts every step, also those that only accumulate gradients,
    which the public `iterations` divides by; it is saved with the optimizer. A loss-scaling
    optimizer counts in the one that it wraps.
    """
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return 0 if optimizer is None else int(keras.ops.convert_to_numpy(optimizer._iterations))
