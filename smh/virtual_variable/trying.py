"""What a layer does with its weights, seen before anything is changed: by its code and on trial.

On trial, a layer is called once on symbolic tensors, in a stateless scope that catches what is
assigned. Nothing is computed, and the model does not change.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import keras

from smh.virtual_variable.inside_keras import custom_gradients


def tried(layer: keras.Layer, variables: Sequence[keras.Variable]) -> Trial:
    """Returns what a training call of `layer` does with `variables`, as far as can be seen.

    A layer that cannot be called on the shapes that it was built for does nothing.
    """
    trial = Trial(layer, variables)
    for dtype in (layer.compute_dtype, "int32"):
        try:
            args, kwargs = _symbolic_inputs(layer, dtype)
            trial.compute_output_spec(*args, **kwargs)
            break
        except Exception as error:  # a layer of any kind, on inputs that are a guess
            trial.own_gradient += custom_gradients.refused_by(error, variables)
    return trial


class Trial(keras.Operation):
    """Calls a layer as an operation, in training.

    Attributes:
        assigned: the variables that it assigned to.
        own_gradient: the variables whose gradient a function of the layer gives by itself.
    """

    def __init__(self, layer: keras.Layer, variables: Sequence[keras.Variable]):
        super().__init__()
        self.layer, self.variables = layer, variables
        self.assigned: list[keras.Variable] = []
        self.own_gradient: list[keras.Variable] = []

    def call(self, *args, **kwargs):
        """Relies on: what is assigned inside a stateless scope goes into the scope alone."""
        with keras.StatelessScope() as scope:
            outputs = self.layer(*args, training=True, **kwargs)
        self.assigned = [v for v in self.variables if scope.get_current_value(v) is not None]
        self.own_gradient = custom_gradients.given_for(self.variables)
        return outputs


def names_used(kind: type) -> Iterator[frozenset[str]]:
    """Yields the names in the code of `kind.call` and of what it calls, function by function."""
    kinds = [vars(base) for base in kind.__mro__ if base not in keras.Model.__mro__]
    pending, seen = [base.get("call") for base in kinds], set()
    while pending:
        function = _function_of(pending.pop())
        if function is None or function in seen:
            continue
        seen.add(function)
        names = frozenset(_names(function.__code__))
        yield names
        for name in names:  # `super()` reaches what a base class calls so, too
            pending += [base.get(name) for base in kinds] + [function.__globals__.get(name)]


def _function_of(found: Any) -> FunctionType | None:
    """The function behind a method, a property or a decorator, if Python can read it."""
    found = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    found = inspect.unwrap(found) if callable(found) else found
    return found if isinstance(found, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:  # functions inside the function
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _symbolic_inputs(layer: keras.Layer, dtype: str) -> tuple[list[Any], dict[str, Any]]:
    """Tensors of the shapes that the layer was built for.

    Relies on: `get_build_config` has the shape of the only input, or those of all by argument.
    """
    config = layer.get_build_config() or {}
    if "input_shape" in config:
        return [_symbolic(config["input_shape"], dtype)], {}
    shapes = config["shapes_dict"].items()
    return [], {name.removesuffix("_shape"): _symbolic(shape, dtype) for name, shape in shapes}


def _symbolic(shape: Any, dtype: str) -> Any:
    if isinstance(shape, dict):
        return {name: _symbolic(part, dtype) for name, part in shape.items()}
    if all(n is None or isinstance(n, int) for n in shape):
        return keras.KerasTensor(tuple(shape), dtype)
    return [_symbolic(part, dtype) for part in shape]
