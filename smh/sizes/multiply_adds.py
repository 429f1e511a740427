"""How many multiply-adds a model's layers take for one example, from shapes alone.

The model is called on symbolic tensors, which computes nothing and allocates no values, and each
layer that has a rule says what its call takes. Sums, activations, normalisation, pooling and
table look-ups are not counted: they are few beside the products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.sizes.layer_rules import counts_what_is_inside, rule_of
from smh.virtual_variable import own_layers, own_variables
from smh.virtual_variable.inside_keras.recording import calls_through


@dataclass(frozen=True)
class Cost:
    """What `count` found.

    Attributes:
        multiply_adds: of one example.
        not_counted: names of layers with weights of rank 2 or more that no rule covers.
    """

    multiply_adds: int
    not_counted: tuple[str, ...]


def count_multiply_adds(model: keras.Layer, input_shape: Any = None) -> Cost:
    """Counts the multiply-adds of one example, forward.

    Args:
        model: a built model or layer. It is not changed.
        input_shape: shape of one example without the batch, or a list of them; needed where the
            model does not say, or leaves an axis free.

    Raises:
        ArgumentError: the shape of the input is not known, or the model cannot be called on
            symbolic tensors of that shape.

    Example:
        >>> from smh.sizes.multiply_adds import count_multiply_adds
        >>> count_multiply_adds(keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)]))
        Cost(multiply_adds=24, not_counted=())
    """
    inputs, tally = _symbolic_inputs(model, input_shape), _Tally()
    with calls_through(filter(rule_of, own_layers(model)), tally.count):
        try:
            _Probe(model).compute_output_spec(inputs)
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ArgumentError(
                f"'{model.name}' cannot be called on symbolic tensors, so its multiply-adds are "
                f"not known: {lines[-1]}"
            ) from error
    missing = [x.name for x in own_layers(model) if _has_matrix(x) and id(x) not in tally.counted]
    return Cost(tally.total, tuple(missing))


class _Tally:
    """What the calls so far took."""

    def __init__(self) -> None:
        self.total = 0
        self.counted: set[int] = set()  # layers, by themselves or as a part of another
        self.muted = 0  # above 0 inside a layer that counts for all that is in it

    def count(self, layer: keras.Layer, call: Callable, args: tuple, kwargs: dict) -> Any:
        """Calls a layer that has a rule, and counts what that takes."""
        flat, whole = keras.tree.flatten((args, kwargs)), counts_what_is_inside(layer)
        inputs = [tuple(t.shape) for t in flat if hasattr(t, "shape") and len(t.shape) > 1]
        self.muted += whole
        try:
            outputs = call(*args, **kwargs)
        finally:
            self.muted -= whole
        self.counted.update(map(id, own_layers(layer) if whole else [layer]))
        rule = rule_of(layer)
        if rule is not None and not self.muted:
            self.total += rule(layer, inputs, keras.tree.flatten(outputs)[0].shape)
        return outputs


class _Probe(keras.Operation):
    """Calls a model as an operation, whatever kind of model it is."""

    def __init__(self, model: keras.Layer):
        super().__init__()
        self._model = model

    def call(self, inputs):
        """Calls the model."""
        return self._model(inputs)


def _has_matrix(layer: keras.Layer) -> bool:
    return any(len(v.shape) > 1 and v.trainable for v in own_variables(layer))


def _symbolic_inputs(model: keras.Layer, given: Any) -> Any:
    """Tensors without values, for a batch of one."""
    own = _own_inputs(model)
    if given is not None:
        shapes = [given] if all(isinstance(n, int) for n in given) else list(given)
        if own is None:
            own = [keras.KerasTensor((None, *shape)) for shape in shapes]
            own = own[0] if len(own) == 1 else own
        elif len(shapes) != len(keras.tree.flatten(own)):
            raise ArgumentError(
                f"'{model.name}' has {len(keras.tree.flatten(own))} inputs, got {len(shapes)} "
                "shapes in input_shape."
            )
    elif own is not None:
        shapes = [t.shape[1:] for t in keras.tree.flatten(own)]
    if own is None or any(n is None for shape in shapes for n in shape):
        raise ArgumentError(
            f"What '{model.name}' takes for one example depends on the shape of its input, which "
            "is not fixed. Pass input_shape=, without the batch: (32, 32, 3)."
        )
    tensors = [
        keras.KerasTensor((1, *shape), dtype=t.dtype)
        for shape, t in zip(shapes, keras.tree.flatten(own), strict=True)
    ]
    return keras.tree.pack_sequence_as(own, tensors)


def _own_inputs(model: keras.Layer) -> Any:
    """The inputs that the model says it has, as it nests them, or `None`."""
    try:
        return model.input
    except (AttributeError, ValueError):  # subclassed, or a layer that was never called in a graph
        shape = (model.get_build_config() or {}).get("input_shape")
        flat = isinstance(shape, (tuple, list)) and all(isinstance(n, int | None) for n in shape)
        return keras.KerasTensor((None, *shape[1:])) if flat and shape else None
