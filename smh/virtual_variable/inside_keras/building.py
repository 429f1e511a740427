"""Makes a variable virtual at the moment in which Keras creates it (TensorFlow backend)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import keras

from smh.errors import SmhWarning
from smh.virtual_variable.inside_keras import attachment
from smh.virtual_variable.inside_keras.global_state import global_attribute
from smh.virtual_variable.inside_keras.own import own_layers
from smh.virtual_variable.parametrization import Parametrization, Source
from smh.virtual_variable.variable import virtualize
from smh.virtual_variable.weight_spec import FLOATS


@dataclass(frozen=True)
class Request:
    """A variable that a layer is about to create.

    Attributes:
        variable: the half-made Keras variable.
        enclosing: the layers being built, outermost first; the last one asked for it.
        owner: the layer that tracks it already (Keras created it late), or `None`.
    """

    variable: keras.Variable
    enclosing: list[keras.Layer]
    owner: keras.Layer | None


def request_behind(kwargs: dict[str, Any]) -> Request | None:
    """Reads from TensorFlow's creator arguments which layer asks for which variable.

    Returns `None` for everything that must stay as it is: variables that are not trainable or not
    of a float type, of smh itself, of optimizers and metrics, and raw `tf.Variable`s.

    Relies on: `Variable._initialize_with_initializer` passes an `initial_value` whose closure
    holds the `keras.Variable`; the name scopes on the stack have the layers as `caller`.
    """
    variable = _variable_in_closure(kwargs.get("initial_value"))
    if variable is None:
        _warn_if_left_dense(kwargs)
        return None
    if not variable._trainable or variable._dtype not in FLOATS:
        return None
    enclosing = [s.caller for s in _name_scopes() if isinstance(s.caller, keras.Layer)]
    if not enclosing or isinstance(enclosing[-1], (Source, keras.metrics.Metric)):
        return None
    if not enclosing[-1].trainable:
        return None  # a frozen layer's variables are made trainable first and frozen after
    return Request(variable, enclosing, _tracking_layer(enclosing[-1], variable))


def adopt_while_building(request: Request, parametrization: Parametrization) -> None:
    """Makes the requested variable virtual, now or as soon as its layer has it."""
    if request.owner is not None:
        attachment.attach([request.owner], request.variable, parametrization)
        attachment.wrap_calls(request.enclosing[0])
        return
    virtualize(request.variable, parametrization)
    attachment.attach_when_tracked(request.enclosing[-1], request.enclosing[:-1])


def _variable_in_closure(initial_value: Any) -> keras.Variable | None:
    for cell in getattr(initial_value, "__closure__", None) or ():
        if isinstance(cell.cell_contents, keras.Variable):
            return cell.cell_contents
    return None


def _name_scopes() -> list:
    return global_attribute("name_scope_stack") or []


def _tracking_layer(layer: keras.Layer, variable: keras.Variable) -> keras.Layer | None:
    """The layer below `layer` that tracks `variable` already.

    A subclassed model is built by tracing its call, and Keras creates the variables after it.
    """
    for candidate in own_layers(layer):
        if any(variable is tracked for tracked in candidate._trainable_variables):
            return candidate
    return None


def _warn_if_left_dense(kwargs: dict[str, Any]) -> None:
    import tensorflow as tf

    dtype = kwargs.get("dtype")
    if kwargs.get("trainable") is False or dtype is None or tf.as_dtype(dtype).name not in FLOATS:
        return
    warnings.warn(
        f"The variable '{kwargs.get('name')}' was not made by a layer's add_weight with an "
        "initializer, so it stays dense. If a layer holds it, use self.add_weight(...), or call "
        "smh.compress(model, ...) once the model is built.",
        SmhWarning,
        stacklevel=2,
    )
