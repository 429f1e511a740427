"""Layers that assign to their own weights while they are trained.

A computed weight cannot be assigned to. Spectral normalisation, for one, puts the normalised kernel
into the place of the kernel at every training step: with a virtual kernel the first of them fails.
So such a weight is refused before anything is changed.

How they are found: a layer whose `call`, or a method or function that it calls, names `assign` is
called once on symbolic tensors, in a stateless scope that catches what is assigned. Nothing is
computed, and the model does not change. What cannot be called so is left alone: `VirtualVariable`
then says what is wrong when the layer assigns.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import keras

from smh.errors import SelectionError
from smh.virtual_variable.inside_keras.own import own_layers, own_variables
from smh.virtual_variable.variable import VirtualVariable

_ASSIGNING = frozenset({"assign", "assign_add", "assign_sub", "set_weights"})


def check_not_assigned(model: keras.Layer, variables: Sequence[keras.Variable]) -> None:
    """Raises `SelectionError` if a layer of `model` assigns to one of `variables` in training.

    Args:
        model: a built model.
        variables: what is to be computed from now on. Those that are computed already are not
            looked at again.

    Cost: a symbolic call of each layer that may assign and has one of `variables` in it or below.
    """
    wanted = {id(v): v for v in variables if not isinstance(v, VirtualVariable)}
    may_assign: dict[type, bool] = {}
    for layer in own_layers(model):
        kind = type(layer)
        if kind not in may_assign:
            may_assign[kind] = _may_assign(kind)
        if not may_assign[kind]:
            continue
        below = {id(v) for part in own_layers(layer) for v in own_variables(part)}
        assigned = _assigned(layer, [wanted[key] for key in below & wanted.keys()])
        if assigned:
            path = assigned[0].path
            raise SelectionError(f"{_why(path, layer)} Leave it as it is: exclude={path!r}.")


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


def _may_assign(kind: type) -> bool:
    """Whether the layers of a class assign to something, as its code has it.

    Relies on: of Keras' own layers only `SpectralNormalization` assigns to a trained weight. To try
    a recurrent layer, which may assign to its states, would take up to a second.
    """
    if kind.__module__.startswith("keras."):
        return issubclass(kind, keras.layers.SpectralNormalization)
    return any(names & _ASSIGNING for names in _names_used(kind))


def _names_used(kind: type) -> Iterator[frozenset[str]]:
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


def _assigned(layer: keras.Layer, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
    """Which of `variables` a training call of `layer` assigns to, as far as can be seen."""
    if not variables:
        return []
    for dtype in (layer.compute_dtype, "int32"):
        try:
            args, kwargs = _symbolic_inputs(layer, dtype)
            trial = _Trial(layer, variables)
            trial.compute_output_spec(*args, **kwargs)
            return trial.assigned
        except Exception:  # noqa: S112  (a layer of any kind, on inputs that are a guess)
            continue
    return []


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


class _Trial(keras.Operation):
    """Calls a layer as an operation, in training, and keeps what it assigned to."""

    def __init__(self, layer: keras.Layer, variables: Sequence[keras.Variable]):
        super().__init__()
        self.layer, self.variables = layer, variables
        self.assigned: list[keras.Variable] = []

    def call(self, *args, **kwargs):
        """Relies on: what is assigned inside a stateless scope goes into the scope alone."""
        with keras.StatelessScope() as scope:
            outputs = self.layer(*args, training=True, **kwargs)
        self.assigned = [v for v in self.variables if scope.get_current_value(v) is not None]
        return outputs
