"""Puts virtual variables into live layers, and nothing else changes for the layer.

Each use of Keras' bookkeeping says what it relies on; `tests/test_keras_internals.py` fails first
when Keras changes it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import keras

from smh.errors import ArgumentError, VirtualVariableError
from smh.virtual_variable import once
from smh.virtual_variable.inside_keras import overrides, torch_storage
from smh.virtual_variable.inside_keras.holder import VirtualWeights, trained_parts
from smh.virtual_variable.inside_keras.own import (
    HOLDER,
    holder_of,
    models_around,
    own_layers,
    own_variables,
    set_trainable_alone,
)
from smh.virtual_variable.inside_keras.serialization import describe_when_serialized
from smh.virtual_variable.inside_keras.traces import forget_traces
from smh.virtual_variable.parametrization import Parametrization
from smh.virtual_variable.variable import VirtualVariable, virtualize


def attach(
    owners: list[keras.Layer], variable: keras.Variable, parametrization: Parametrization
) -> VirtualVariable:
    """Makes `variable` virtual in every layer that tracks it.

    The layers stop tracking it, and track the parametrization's parts and source instead. Its
    trainable state and its regulariser stay.
    """
    virtual = virtualize(variable, parametrization)
    for owner in owners:
        holder = _holder_of(owner)
        holder.hold(virtual, position=_untrack(owner, virtual))
    return virtual


def exchange(virtual: VirtualVariable, parametrization: Parametrization) -> None:
    """Computes a virtual variable, which has no source, from other parts from now on."""
    with contextlib.ExitStack() as letting_go:
        for holder in virtual._holders:
            letting_go.enter_context(holder.parts_let_go())
        virtual._parametrization = parametrization
    for part in trained_parts(virtual):
        part.trainable = virtual.trainable


def put_holder(owner: keras.Layer, place: int) -> None:
    """Puts the holder at `place` among the layers of `owner`, and gives it the owner's state.

    A holder that was made while its layer was built comes before the layers made after it, and the
    order of layers is the order of variables. Not by `trainable`, which would freeze the weights
    once more.

    Relies on: `Layer._layers` is the list that a layer's variables are collected from.
    """
    holder = holder_of(owner)
    if holder is not None:
        set_trainable_alone(holder, owner.trainable)
        others = [layer for layer in owner._layers if layer is not holder]
        owner._layers[:] = [*others[:place], holder, *others[place:]]


def place_of_holder(owner: keras.Layer) -> int:
    """Where the holder is among the layers of `owner`, for `put_holder`."""
    return [layer is holder_of(owner) for layer in owner._layers].index(True)


def in_creation_order(variables: list[keras.Variable]) -> list[keras.Variable]:
    """Sorts variables by when they were created, where the backend knows; else leaves them.

    A model lists its layers by their depth, which in a model with branches is not the order in
    which they were built, and slots follow the latter in a creator scope.

    Relies on: TensorFlow numbers its variables, `_unique_id` being `kernel_17`.
    """
    stamps = [str(getattr(v._value, "_unique_id", "")).rpartition("_")[2] for v in variables]
    if not all(stamp.isdecimal() for stamp in stamps):
        return variables
    order = sorted(range(len(variables)), key=lambda i: int(stamps[i]))
    return [variables[i] for i in order]


def virtual_variables(model: keras.Layer) -> list[VirtualVariable]:
    """All virtual variables of a model, each once, in the order of its layers."""
    found: dict[int, VirtualVariable] = {}
    for layer in own_layers(model):
        holder = holder_of(layer)
        if holder is not None:
            found.update((id(v), v) for v in holder.virtuals)
    return list(found.values())


def forget_all_traces(model: keras.Layer) -> None:
    """Lets Keras trace anew what reads the weights of `model`, around it and of its pools, too."""
    forget_traces([*own_layers(model), *models_around(model)])
    every = [virtual.parametrization.source for virtual in virtual_variables(model)]
    for source in {id(source): source for source in every if source is not None}.values():
        forget_traces(source.models())


def wrap_calls(model: keras.Layer) -> None:
    """Makes `model` and every layer of it compute the virtual variables below them when called."""
    for layer in own_layers(model):
        below = virtual_variables(layer)
        if below:
            _wrap(layer, below)
            for virtual in below:
                for holder in virtual._holders:
                    holder.above.add(layer)
    torch_storage.list_anew(own_layers(model))


def attach_when_tracked(owner: keras.Layer, enclosing: list[keras.Layer]) -> None:
    """Lets `owner` take virtual variables while it is being built.

    Relies on: `add_weight` hands the finished variable to `_track_variable`, looked up on the
    instance, after it has set the regulariser and the constraint.
    """
    if "_track_variable" in owner.__dict__:
        return

    @functools.wraps(owner._track_variable)
    def track(variable):
        if not isinstance(variable, VirtualVariable):
            type(owner)._track_variable(owner, variable)
            return
        position = len(owner._trainable_variables)
        _remember_as_tracked(owner, variable)
        _holder_of(owner).hold(variable, position)
        for layer in [*enclosing, owner]:
            _wrap(layer, [*once.virtuals_below(layer), variable])

    owner.__dict__["_track_variable"] = track


def _wrap(layer: keras.Layer, below: list[VirtualVariable]) -> None:
    once.wrap_call(layer, below)
    _refuse(layer, "quantize")
    if isinstance(layer, keras.Model):
        _refuse(layer, "enable_lora")  # of Keras-Hub: it freezes what it comes across first
    describe_when_serialized(layer)


def _holder_of(owner: keras.Layer) -> VirtualWeights:
    holder = holder_of(owner)
    if holder is None:
        holder = VirtualWeights()
        # Relies on: setting a layer as an attribute tracks it; a built layer's tracker is locked.
        locked = owner._tracker.locked
        owner._tracker.unlock()
        setattr(owner, HOLDER, holder)
        if locked:
            owner._tracker.lock()
        _save_only_what_is_tracked(owner)
        _refuse(owner, "enable_lora")
    return holder


def _untrack(owner: keras.Layer, variable: keras.Variable) -> int:
    """Stops tracking `variable`; returns its position among the trainable ones."""
    position = [id(v) for v in owner._trainable_variables].index(id(variable))
    owner._untrack_variable(variable)
    _remember_as_tracked(owner, variable)
    return position


def _remember_as_tracked(owner: keras.Layer, variable: keras.Variable) -> None:
    """Keeps `owner.kernel = variable` from tracking it again.

    Relies on: `Tracker.track` adds nothing whose id is in `stored_ids`.
    """
    owner._tracker.stored_ids["trainable_variables"].add(id(variable))


def _save_only_what_is_tracked(owner: keras.Layer) -> None:
    """Keeps Keras' own layers from saving the dense kernel by name.

    Relies on: `Layer.save_own_variables` and `load_own_variables` walk the tracked variables;
    `Dense`, `EinsumDense`, `Embedding` and the convolutions override them and name the kernel.
    A user's own override is stood between, see `overrides`, and that of a quantised layer, which
    makes its variables in another order when it is made again.
    """
    save, load = overrides.save, overrides.load
    hooks = type(owner).save_own_variables, type(owner).load_own_variables
    quantised = getattr(owner, "quantization_mode", None) is not None
    if all(hook.__module__.startswith("keras.") for hook in hooks) and not quantised:
        save, load = keras.Layer.save_own_variables, _load_own_variables
    owner.__dict__["save_own_variables"] = functools.partial(save, owner)
    owner.__dict__["load_own_variables"] = functools.partial(load, owner)


def _load_own_variables(owner: keras.Layer, store) -> None:
    dense, expected = len(own_variables(owner)), len(owner._trainable_variables)
    expected += len(owner._non_trainable_variables)
    if len(store.keys()) == dense != expected:
        raise ArgumentError(overrides.stored_dense(owner))
    keras.Layer.load_own_variables(owner, store)


def _refuse(layer: keras.Layer, method: str) -> None:
    """Makes `layer.method()` an error: it would replace the kernel behind the pool's back."""
    if hasattr(type(layer), method):
        layer.__dict__[method] = _refusal(layer, method)


def _refusal(layer: keras.Layer, method: str) -> Callable:
    def refuse(*args, **kwargs):
        del args, kwargs
        raise VirtualVariableError(
            f"`{method}()` cannot work on '{layer.name}': its weights are computed from a pool "
            f"and not stored. Call `plain = smh.materialize(model)` and `plain.{method}(...)`, "
            "or keep the layer dense with `smh.compress(..., exclude=...)`."
        )

    return refuse
