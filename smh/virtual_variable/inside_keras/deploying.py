"""Switches live layers between training and the modes in which a model is deployed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import keras

from smh.typing import Tensor
from smh.virtual_variable import once
from smh.virtual_variable.inside_keras import torch_storage
from smh.virtual_variable.inside_keras.attachment import virtual_variables
from smh.virtual_variable.inside_keras.holder import dense_copy
from smh.virtual_variable.inside_keras.own import holder_of, own_layers
from smh.virtual_variable.variable import VirtualVariable

# They call what is below them in a loop, in which nothing should be computed.
_LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed)


def stream(model: keras.Layer) -> None:
    """Makes every layer compute its own weights when it is called, and nothing before."""
    in_loops = {
        id(below)
        for layer in own_layers(model)
        if isinstance(layer, _LOOPS)
        for below in own_layers(layer)
        if below is not layer
    }
    for layer in own_layers(model):
        once.stream_call(layer, () if id(layer) in in_loops else _streamed_by(layer))


def cache(model: keras.Layer) -> None:
    """Keeps the present value of every virtual variable, one dense weight after the other."""
    for layer in own_layers(model):
        holder = holder_of(layer)
        if holder is not None:
            holder.cache()
        if isinstance(layer, keras.Model):
            layer.__dict__["make_train_function"] = _refusing_to_train(layer)
    torch_storage.list_stored(own_layers(model))


def undeploy(model: keras.Layer) -> None:
    """Goes back to computing everything once per outermost call; the factors never changed."""
    for layer in own_layers(model):
        once.stream_call(layer, None)
        layer.__dict__.pop("make_train_function", None)
        holder = holder_of(layer)
        if holder is not None:
            holder.forget()
    torch_storage.list_stored(own_layers(model))


def is_deployed(model: keras.Layer) -> bool:
    """Whether the model, or a part of it, is deployed."""
    return any("_smh_streamed" in layer.__dict__ for layer in own_layers(model)) or any(
        virtual._cached is not None for virtual in virtual_variables(model)
    )


def deployed_mode(model: keras.Layer) -> str:
    """The mode in which the model, or a part of it, is deployed; `"train"` if it is not."""
    if any(virtual._cached is not None for virtual in virtual_variables(model)):
        return "cached"
    return "stream" if is_deployed(model) else "train"


@contextlib.contextmanager
def running_as(model: keras.Layer, mode: str) -> Iterator[None]:
    """Inside, `model` computes as if it were deployed in `mode`; afterwards it is as it was.

    Unlike the functions above this changes nothing that the model lists, saves or has compiled.
    """
    layers, virtuals = list(own_layers(model)), virtual_variables(model)
    streamed = [layer.__dict__.get("_smh_streamed") for layer in layers]
    cached = [virtual._cached for virtual in virtuals]
    try:
        for layer in layers:
            once.stream_call(layer, None)
        for virtual, value in zip(virtuals, cached, strict=True):
            virtual._cached = None
            if mode == "cached":
                virtual._cached = dense_copy(virtual) if value is None else value
        if mode == "stream":
            stream(model)
        yield
    finally:
        for layer, below in zip(layers, streamed, strict=True):
            once.stream_call(layer, below)
        for virtual, value in zip(virtuals, cached, strict=True):
            virtual._cached = value


@contextlib.contextmanager
def changed_by(model: keras.Layer, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside, each computed weight of `model` is `change(weight)`, of the same shape."""
    parametrizations = [virtual.parametrization for virtual in virtual_variables(model)]

    def changing(value):
        return lambda piece: change(value(piece))

    try:
        for parametrization in parametrizations:
            parametrization.__dict__["value"] = changing(parametrization.value)
        yield
    finally:
        for parametrization in parametrizations:
            parametrization.__dict__.pop("value", None)


def _refusing_to_train(model: keras.Model) -> Callable:
    """Checks before `fit` begins: on JAX an error inside of it leaves the model without weights.

    Relies on: `fit` and `train_on_batch` call `make_train_function` before the first step.
    """

    @functools.wraps(model.make_train_function)
    def make_train_function(*args, **kwargs):
        once.check_trainable(virtual_variables(model))
        return type(model).make_train_function(model, *args, **kwargs)

    return make_train_function


def _streamed_by(layer: keras.Layer) -> list[VirtualVariable]:
    if isinstance(layer, _LOOPS):
        return virtual_variables(layer)
    holder = holder_of(layer)
    return holder.virtuals if holder is not None else []
