"""What a model takes, and which part of what was given that is: labels beside it are left out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

import keras

from smh.virtual_variable.inside_keras.graph import input_names

MOST_PARTS = 3  # (inputs, labels, weights of the examples), as Keras reads what a data set gives

Shape = tuple[int | None, ...]


class Inputs:
    """The inputs of a model.

    Args:
        model: of a subclassed one the ranks are known, from the call that built it, or nothing.

    Attributes:
        shapes: of each input, flat, with the axis of examples; `None` if nothing is known.
        bind: whether nothing else goes in; a subclassed model may take other ranks.
        batch: how many examples it was built for at a time; `None`: any number.
    """

    def __init__(self, model: keras.Layer):
        self._model = model
        self._nest = _symbolic(model)
        self.bind, self.batch = self._nest is not None, None
        if not self.bind:  # subclassed
            self._names: list[str] = []
            self._keys = [self._names]
            built = model.get_build_config()
            self.shapes = _ranks(built.get("input_shape")) if isinstance(built, Mapping) else None
            return
        tensors = keras.tree.flatten(self._nest)
        named = isinstance(self._nest, Mapping)
        self._names = sorted(self._nest) if named else input_names(tensors)
        # A dict may also have the names of the tensors, by which Keras reads it.
        self._keys = [self._names, [] if named else [x.name for x in tensors]]
        self.shapes = [tuple(x.shape) for x in tensors]
        self.batch = next((shape[0] for shape in self.shapes if shape), None)

    def of(self, given: Any) -> Any:
        """Returns the part of a batch, or of all examples, that is the inputs, nested as they are.

        What does not fit is read as `fit` reads it, so that the model says what is wrong with it.
        """
        readings = [self._named(given)]
        if isinstance(given, tuple | list) and 0 < len(given) <= MOST_PARTS:
            first = self._named(given[0])
            readings = [first, *readings] if isinstance(given, tuple) else [*readings, first]
        return self._nested(max(readings, key=self.fit))  # the first of equals

    def fit(self, given: Any) -> int:
        """How well it fits: 2, 1 if only the number of arrays is right, 0 if that is not."""
        flat = keras.tree.flatten(given)
        if not flat or not all(hasattr(x, "shape") for x in flat):
            return 0
        if self.shapes is None:
            return 0 if refusal(self._model, keras.tree.map_structure(_one, given)) else 2
        if len(flat) != len(self.shapes):
            return 0
        return 2 if all(map(_agree, self.shapes, [tuple(x.shape) for x in flat])) else 1

    def lack_an_axis(self, flat: list[Any]) -> bool:
        """Whether these are single examples, without the axis along which there are many."""
        taken = self.shapes or []
        return len(taken) == len(flat) and any(
            len(x.shape) < len(shape) and not _agree(shape, tuple(x.shape))
            for shape, x in zip(taken, flat, strict=True)
        )

    def described(self) -> str:
        """What the model takes, for an error; empty if that is not known."""
        if self.shapes is None or not all(self.shapes):
            return ""
        found = [str(shape[1:]).replace("None", "any") for shape in self.shapes]
        if len(found) == 1:
            return f"It takes examples of shape {found[0]}. "
        names = self._names if len(self._names) == len(found) else range(len(found))
        pairs = ", ".join(f"{name}: {shape}" for name, shape in zip(names, found, strict=True))
        return f"It takes {len(found)} arrays, of examples of shapes {pairs}. "

    def _named(self, given: Any) -> Any:
        """Of a dictionary, what the inputs are called; in their order, if they are in a list."""
        for names in self._keys if isinstance(given, Mapping) else ():
            if names and set(names) <= set(given):
                found = {name: given[name] for name in names}
                return found if isinstance(self._nest, Mapping) else list(found.values())
        return given

    def _nested(self, given: Any) -> Any:
        """As the model's inputs are nested, if names or the order tell which is which."""
        if not self.bind or not self.fit(given):
            return given
        if isinstance(given, Mapping):
            if set(given) != set(self._names):
                return given
            given = [given[name] for name in self._names]
        elif isinstance(self._nest, Mapping) and list(self._nest) != self._names:
            return given  # Keras does not guess an order either
        return keras.tree.pack_sequence_as(self._nest, keras.tree.flatten(given))


def refusal(model: keras.Layer, one: Any) -> Exception | None:
    """Calls a model, of which no state changes if it can be called so; returns its error."""
    error: Exception | None = None
    for scope in (keras.StatelessScope(), contextlib.nullcontext()):  # in which it makes variables
        try:
            with scope:
                model(one, training=False)
        except Exception as raised:  # whatever its layers raise
            error = raised
        else:
            return None
    return error


def told(error: Exception) -> str:
    """The part of Keras' message that says something: neither where, nor all numbers."""
    text = re.sub(r"\x1b\[\d+m|\{\{.*?\}\}|\[Op:.*", "", str(error))
    text = text.split("\n\nArguments received")[0]
    text = re.sub(r"^Exception encountered when calling .*\n", "", text)
    text = re.sub(r"(for input) .*?( with name)", r"\1\2", text, flags=re.DOTALL)
    return (" ".join(text.split()) or type(error).__name__)[:300]


def _symbolic(model: keras.Layer) -> Any:
    try:
        return model.input
    except (AttributeError, ValueError):
        found = getattr(model, "inputs", None)  # of a `Sequential`
        return found[0] if found else None


def _ranks(built: Any) -> list[Shape] | None:
    """Of nested shapes that a model was built with: sizes of the first call bind no other one."""
    if isinstance(built, Mapping):
        built = [built[name] for name in sorted(built)]
    if not isinstance(built, tuple | list) or not built:
        return None
    if all(size is None or isinstance(size, int) for size in built):
        return [(None,) * len(built)]
    parts = [_ranks(part) for part in built]
    return None if None in parts else [shape for part in parts for shape in part or []]


def _agree(taken: Shape, given: Shape) -> bool:
    """Whether Keras lets them pass: a last axis of one is added or dropped."""
    if len(given) == len(taken) + 1 and given[-1] == 1:
        given = given[:-1]
    if len(given) == len(taken) - 1 and taken[-1] == 1:
        taken = taken[:-1]
    return len(given) == len(taken) and all(
        None in pair or pair[0] == pair[1] for pair in zip(taken[1:], given[1:], strict=True)
    )


def _one(array: Any) -> Any:
    return array[:1] if len(array.shape) else array
