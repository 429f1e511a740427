"""The weights and factors of a model that are whole numbers: rounded, stepped or shared."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import keras
import numpy as np

from smh.coding.axes import along
from smh.errors import SmhWarning
from smh.exporting.low_bit.matching import Found, Whole
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.integers import rounded_weight
from smh.parametrizations.masked import Masked
from smh.parametrizations.rounded import FakeQuantized
from smh.parametrizations.stepped import Stepped
from smh.virtual_variable import Source, VirtualVariable, stored_variable, virtual_variables
from smh.virtual_variable.wrapping import wrap, wrapping_of


@dataclasses.dataclass(frozen=True)
class Integers:
    """A weight or factor that is whole numbers.

    Attributes:
        whole: the numbers.
        dense: the same as a variable of float32, which a converter sees.
        is_factor: whether weights are computed from it, so that it must not be folded.
    """

    whole: Whole
    dense: keras.Variable
    is_factor: bool


@contextlib.contextmanager
def seen_as_constants(model: keras.Layer | None) -> Iterator[list[Integers]]:
    """Inside, each weight and factor that is whole numbers is read from a dense copy.

    Args:
        model: a model, or `None`: there are none.

    Yields:
        What these weights are.
    """
    if model is None:
        yield []
        return
    sources = _sources(model)
    factors = [factor for source in sources for factor in source.core_variables]
    wrapped = [factor for factor in factors if wrapping_of(factor) is not None]
    wrappings: list[Any] = [wrapping_of(factor) for factor in wrapped]
    computed = [f for f in factors if isinstance(f, VirtualVariable) and wrapping_of(f) is None]
    owned = {id(factor) for factor in computed}
    virtuals = {id(v): v for v in [*virtual_variables(model), *computed] if v.is_computed}
    weights = [(v, _numbers(v.parametrization)) for v in virtuals.values()]
    found: list[Integers] = []
    try:
        for factor, wrapping in zip(wrapped, wrappings, strict=True):
            parts = _numbers(wrapping)
            if parts is not None:
                found.append(_made(factor, wrapping.value(None), parts, True))
                wrap(factor, _Kept(found[-1].dense))
        for virtual, parts in weights:
            if parts is not None:
                found.append(_made(virtual, virtual.value, parts, id(virtual) in owned))
                virtual._cached = cast("keras.Variable", _Read(found[-1].dense, virtual.dtype))
        yield found
    finally:
        for factor, wrapping in zip(wrapped, wrappings, strict=True):
            wrap(factor, wrapping)
        for virtual, _ in weights:
            virtual._cached = None


def whole_weights(model: keras.Layer) -> list[Whole]:
    """The weights of a model that are whole numbers, however it is deployed; not its factors."""
    found = []
    for virtual in virtual_variables(model):
        parts = _numbers(virtual.parametrization)
        if parts is not None:
            dense = np.asarray(keras.ops.convert_to_numpy(virtual.value), np.float32)
            found.append(Whole(virtual.path, *parts, dense))
    return found


_File = TypeVar("_File")


def written_with(
    whole: Sequence[Integers],
    convert: Callable[[list[keras.Variable]], _File],
    replace: Callable[[_File, list[Whole]], Found],
) -> _File:
    """Returns a converted file in which weights are whole numbers.

    A converter may do with a constant what is not found again: it puts the gates of a recurrent
    layer in another order. Such weights are not to be constants then, as factors are not, and it
    converts once more.

    Args:
        whole: what is whole numbers.
        convert: returns a file, given what must not be folded.
        replace: puts whole numbers into it; returns which of them it found.
    """
    apart = [entry for entry in whole if entry.is_factor]
    file = convert([entry.dense for entry in apart])
    found = replace(file, [entry.whole for entry in whole])
    lost = [entry for entry in whole if entry.whole.path not in found.paths]
    if lost and not all(entry.is_factor for entry in lost):
        apart += [entry for entry in lost if not entry.is_factor]
        file = convert([entry.dense for entry in apart])
        found = replace(file, [entry.whole for entry in whole])
    lost = [entry for entry in whole if entry.whole.path not in found.paths]
    warn_of_floats(
        [entry.whole.path for entry in lost],
        "The converter computes with them beforehand: the file is as exact, and larger.",
    )
    warn_of_floats(
        sorted(found.floats),
        "Whole numbers of more than 16 bits, or with so many values, take no fewer bytes: the file "
        "is as exact. Round to fewer bits for a smaller one.",
    )
    return file


def warn_of_floats(paths: Sequence[str], why: str) -> None:
    """Names what a file holds as floats after all."""
    if paths:
        named = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
        warnings.warn(
            f"In the file these are floats, not the whole numbers they are in the model: {named}. "
            f"{why}",
            SmhWarning,
            stacklevel=2,
        )


def is_pruned(model: keras.Layer) -> bool:
    """Whether weights have zeros that a file may leave out."""
    return any(
        isinstance(v.parametrization, Masked) and v.is_computed for v in virtual_variables(model)
    )


class _Kept:
    """What readers of a factor see: a dense copy."""

    def __init__(self, dense: keras.Variable):
        self._dense = dense

    def value(self, piece: None) -> object:
        """The copy."""
        del piece
        return self._dense.value


@dataclasses.dataclass(frozen=True)
class _Read:
    """What readers of a weight see: a dense copy, in the weight's own type."""

    dense: keras.Variable
    dtype: str

    @property
    def value(self) -> object:
        """The copy."""
        return keras.ops.cast(self.dense.value, self.dtype)


def _sources(model: keras.Layer) -> list[Source]:
    """What computes weights now: those of a deployed model are kept."""
    computed = [v.parametrization.source for v in virtual_variables(model) if v.is_computed]
    return [source for source in {id(s): s for s in computed}.values() if source is not None]


_Parts = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def _numbers(parametrization: object) -> _Parts | None:
    """Numbers, steps and table, or `None` for a weight that is no whole numbers."""
    if isinstance(parametrization, FakeQuantized):
        stored = rounded_weight(parametrization)
        numbers = stored.integers.astype(np.int32)
        return numbers, stored.scales.reshape(along(stored.axis, numbers.ndim)), None
    if isinstance(parametrization, Stepped):
        numbers = parametrization.integers()
        steps = np.asarray(parametrization.steps().spread(numbers.ndim), np.float32)
        return numbers, steps.reshape(steps.shape or [1] * numbers.ndim), None
    if isinstance(parametrization, Clustered):
        numbers = np.asarray(keras.ops.convert_to_numpy(parametrization.index.value), np.int32)
        table = np.asarray(keras.ops.convert_to_numpy(parametrization.codebook.value), np.float32)
        if parametrization.pruned:
            table = np.concatenate([np.zeros(1, np.float32), table])
        return numbers, np.ones([1] * numbers.ndim, np.float32), table
    return None


def _made(variable, value, parts: _Parts, is_factor: bool) -> Integers:
    dense = np.asarray(keras.ops.convert_to_numpy(value), np.float32)
    copy = stored_variable(f"{variable.path}/dense", dense, trainable=False)
    return Integers(Whole(variable.path, *parts, dense), copy, is_factor)
