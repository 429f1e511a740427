"""Makes the model what was chosen, and measures its file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from smh.artifact.files import saved_parts
from smh.artifact.layout.reading import kind_of
from smh.artifact.tensors import Options, encoded_flat
from smh.blueprint.describe import describe
from smh.blueprint.restore import restore
from smh.coding.information import bytes_of
from smh.doors.candidates import Candidate, candidates, changed, reparametrize
from smh.parametrizations.counting import Steps
from smh.parametrizations.stepped import Stepped
from smh.sensitivity.examples import values
from smh.shrinking.flow import Rounded
from smh.shrinking.items import Item
from smh.virtual_variable import rename, virtual_variables
from smh.virtual_variable.inside_keras.rebuilding import dense_config, from_dense_config

_AS_SAVED = Options(None, "float32", "range")  # as `smh.save` does by default
_ENTRY = 30  # bytes of how a weight is rounded


def apply(model: keras.Layer, found: Sequence[Candidate], rounded: Sequence[Rounded]) -> None:
    """Computes the weights from whole numbers and steps from now on."""
    made = [
        (candidate, functools.partial(_stepped, candidate, one))
        for candidate, one in zip(found, rounded, strict=True)
    ]
    reparametrize(model, made)
    changed(found)


def _stepped(candidate: Candidate, one: Rounded) -> Stepped:
    mask = candidate.mask()
    numbers = one.integers * one.steps.spread(one.integers.ndim)
    return Stepped.of(candidate.path, numbers, one.steps, None if mask.all() else mask)


def zeros(items: Sequence[Item]) -> list[Rounded]:
    """What the coarsest steps make of the weights: nothing but zeros."""
    shapes = [tuple(item.candidate.variable._shape) for item in items]
    return [Rounded(np.zeros(shape, np.int32), Steps(1.0), 0.0) for shape in shapes]


class FileSize:
    """The bytes of the file that `smh.save` will write of a model once it is rounded.

    Args:
        model: as it is; its numbers count when a size is asked for.
        items: its weights.

    Attributes:
        is_known: whether `exactly` can tell.
    """

    def __init__(self, model: keras.Layer, items: Sequence[Item]):
        self._model, self._items, self.is_known = model, items, True
        self._frame: int | None = None  # bytes of names, shapes and steps
        self._whole: int | None = None  # of what is neither rounded nor given fewer digits
        own = [v for item in items for v in (item.stored, *_parts(item.candidate))]
        self._known = {id(v) for v in own}
        # What was last found exactly, of what, and how much of it was `_rest`, until it is used.
        self._exact: tuple[Sequence[Rounded], tuple[int, int], int] | None = None

    def exactly(self, rounded: Sequence[Rounded], is_last: bool = False) -> tuple[int, int]:
        """Of a copy, and how many of them are numbers.

        A model that cannot be made again from its configuration is estimated.
        """
        if self._exact is not None and self._exact[0] is rounded:  # the model has not moved since
            return self._exact[1]
        try:
            parts = _parts_of_copy(self._model, self._items, rounded)
        except Exception:  # whatever a model of somebody's own raises
            self.is_known = False
            return self.nearly(rounded), 0
        if not is_last:
            self._exact = rounded, parts, self._rest(_payload)
        return parts

    def nearly(self, rounded: Sequence[Rounded]) -> int:
        """All numbers exactly, and what was beside them when a size was last found exactly."""
        return sum(one.bytes for one in rounded) + self.beside

    def about(self, rounded: Sequence[Rounded]) -> float:
        """Of the numbers alone, by how often each integer and each byte occurs."""
        return sum(one.entropy for one in rounded) + self._rest(_entropy)

    @property
    def beside(self) -> int:
        """About the bytes of all but the rounded weights."""
        if self._exact is not None:
            rounded, (size, _), rest = self._exact
            self._exact = None  # so that its integers are not kept
            self._frame = size - sum(one.bytes for one in rounded) - rest
        if self._frame is None:
            size, numbers = saved_parts(self._model, architecture=False)
            self._frame = size - numbers + _ENTRY * len(self._items)
        return self._rest(_payload) + self._frame

    def _rest(self, measure: Callable[[Sequence[keras.Variable]], int]) -> int:
        others = [v for v in self._model.variables if id(v) not in self._known]
        if self._whole is None:  # what is left alone stays what it is
            self._whole = _payload([v for v in others if len(v.shape) > 1])
        return self._whole + measure([v for v in others if len(v.shape) <= 1])


def _parts(candidate: Candidate) -> Sequence[keras.Variable]:
    """What computes it: of a pruned weight its mask too, which its zeros tell."""
    parametrization = candidate.parametrization
    return [] if parametrization is None else list(parametrization.parts)


def _payload(variables: Sequence[keras.Variable]) -> int:
    """Bytes of the numbers of plain variables."""
    flat = [(v.dtype, kind_of(v.path), v.path, values(v.value)) for v in variables]
    return sum(len(tensor.payload) for tensor in encoded_flat(flat, 0, _AS_SAVED)[0])


def _entropy(variables: Sequence[keras.Variable]) -> int:
    """About as many: each kind for itself, byte by byte."""
    groups: dict[tuple[str, str], list[np.ndarray]] = {}
    for v in variables:
        numbers = np.ascontiguousarray(values(v.value)).reshape(-1, 1)
        groups.setdefault((v.dtype, kind_of(v.path)), []).append(numbers.view(np.uint8))
    planes = [plane for group in groups.values() for plane in np.concatenate(group).T]
    return sum(bytes_of(np.bincount(plane)) for plane in planes)


def _parts_of_copy(
    model: keras.Layer, items: Sequence[Item], rounded: Sequence[Rounded]
) -> tuple[int, int]:
    every = [one.variable for one in candidates(model, _all_of_them)]
    numbers = {id(variable): number for number, variable in enumerate(every)}
    copy = from_dense_config(dense_config(model), None, False)
    if virtual_variables(model):
        restore(copy, describe(model))
    for old, new in zip(model.variables, copy.variables, strict=True):
        new.assign(old.value)
        rename(new, old.path)  # a model that was built otherwise has longer ones
    for old, new in zip(virtual_variables(model), virtual_variables(copy), strict=True):
        rename(new, old.path)
    others = candidates(copy, _all_of_them)
    mine = [others[numbers[id(item.candidate.variable)]] for item in items]
    apply(copy, mine, rounded)
    return saved_parts(copy)


def _all_of_them(variable: Any) -> bool:
    return True
