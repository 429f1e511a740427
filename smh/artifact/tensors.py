"""The tensors of an artifact: each stored variable once, in the coding that suits it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh import coding
from smh.artifact.layout.reading import kind_of
from smh.container import Tensor
from smh.errors import ArgumentError
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.integers import (
    Quantized,
    grid_of,
    quantized,
    rounded_once,
    rounded_weight,
)
from smh.parametrizations.masked import Masked
from smh.parametrizations.rounded import FakeQuantized
from smh.parametrizations.stepped import Stepped
from smh.progress import track
from smh.virtual_variable import view_of
from smh.virtual_variable.variable import VirtualVariable


@dataclass(frozen=True)
class Options:
    """How numbers are stored, see `smh.save`."""

    bits: int | None
    rest: str
    coder: str

    @property
    def integers(self) -> int:
        """The bits to which factors are rounded that are not yet; 0 where they stay floats."""
        return 0 if self.bits is None or self.bits == 16 else self.bits


_ENTRY = 24  # bytes of a header, deflated, that one more tensor takes, about
_MOST_BY_KIND = 2**20  # numbers: of more the kernels decide, and kinds would be a second encoding

Encode = Callable[[str, Options], Tensor]


class Table:
    """The variables to store, each once, by numbers, and the tensors that they are stored in."""

    def __init__(self):
        self._numbers: dict[int, int] = {}
        self._variables: list[keras.Variable] = []
        self._own: dict[int, Encode] = {}  # by the id of what a tensor is made from
        self._flat: list[tuple[str, keras.Variable]] = []  # with the kind of each
        self._extra: dict[Any, tuple[np.ndarray, str]] = {}  # by what makes two of them one

    def __len__(self) -> int:
        return len(self._variables)

    def factor(self, factor: keras.Variable) -> int:
        """Returns the number of a pool's factor."""
        return self._number(
            factor, id(factor), lambda name, options: _encoded_factor(name, factor, options)
        )

    def part(self, part: keras.Variable, virtual: VirtualVariable, *, of_a_pool: bool) -> int:
        """Returns the number of a part of a computed weight, or (`of_a_pool`) factor."""
        encode = encoder(part, virtual, of_a_pool)
        # A pruned weight and its mask are one tensor: what is not zero is not pruned.
        return self._number(part, id(virtual), encode)

    def other(self, variable: keras.Variable, kind: str | None = None) -> int:
        """Returns the number of a variable that lies in a flat tensor.

        Args:
            variable: it.
            kind: see `smh.artifact.layout.reading.kind_of`; by default its path's.
        """
        return self._number(variable, id(variable), None, kind)

    def extra(self, value: np.ndarray, what: str) -> int:
        """Returns the number of an array that a layer has beside its variables; equal ones are one.

        Args:
            value: the array; stored in full, whatever the options.
            what: for messages.
        """
        key = value.dtype.name, value.shape, value.tobytes()
        self._extra.setdefault(key, (value, what))
        return list(self._extra).index(key)

    def _number(
        self, variable: keras.Variable, key: int, encode: Encode | None, kind: str | None = None
    ) -> int:
        if id(variable) not in self._numbers:
            self._numbers[id(variable)] = len(self._variables)
            self._variables.append(variable)
            if encode is None:
                self._flat.append((kind_of(variable.path) if kind is None else kind, variable))
            else:
                self._own.setdefault(key, encode)
        return self._numbers[id(variable)]

    def encode(self, options: Options) -> tuple[list[Tensor], bool]:
        """Returns all tensors, in order, and whether the flat ones are by kind.

        Those of one variable come first, then the flat ones.
        """
        tensors: list[Tensor] = []
        for encode in track(self._own.values(), "encoding"):
            tensors.append(encode(str(len(tensors)), options))
        flat = [(v.dtype, kind, v.path, view_of(v)) for kind, v in self._flat]
        more, by_kind = encoded_flat(flat, len(tensors), options)
        tensors += more
        for value, what in self._extra.values():
            tensors.append(_tensor(str(len(tensors)), value, _in_full(None, options), what))
        return tensors, by_kind


def encoded_flat(
    flat: Sequence[tuple[str, str, str, np.ndarray]], first: int, options: Options
) -> tuple[list[Tensor], bool]:
    """Those of one dtype in one tensor, or by kind as well, whichever takes fewer bytes.

    Args:
        flat: dtype, kind, path and numbers of each variable.
        first: the number of the first tensor.
        options: how numbers are stored.

    Returns:
        The tensors, and whether they are by kind.
    """
    together = _flat_tensors([(dtype, path, x) for dtype, _, path, x in flat], first, options)
    kinds = [((dtype, kind), path, x) for dtype, kind, path, x in flat]
    is_much = sum(x.size for *_, x in flat) > _MOST_BY_KIND
    if is_much or len({key for key, *_ in kinds}) == len(together):
        return together, False
    apart = _flat_tensors(kinds, first, options)
    return (apart, True) if _bytes_of(apart) < _bytes_of(together) else (together, False)


def _flat_tensors(flat: Sequence[tuple[Any, str, np.ndarray]], first: int, options) -> list[Tensor]:
    """A tensor for each key, in the order of their first variables."""
    groups: dict[Any, list[tuple[str, np.ndarray]]] = {}
    for key, path, numbers in flat:
        groups.setdefault(key, []).append((path, numbers))
    tensors = []
    for number, group in enumerate(groups.values(), first):
        array = np.concatenate([numbers.ravel() for _, numbers in group])
        tensors.append(_tensor(str(number), array, flat_ways(array, options), group[0][0]))
    return tensors


def _bytes_of(tensors: Sequence[Tensor]) -> int:
    return sum(len(tensor.payload) + _ENTRY for tensor in tensors)


def encoder(part: keras.Variable, virtual: VirtualVariable, of_a_pool: bool) -> Encode | None:
    """Returns what makes a part's own tensor, or `None` if it lies in a flat one."""
    parametrization = virtual.parametrization
    if isinstance(parametrization, Masked):
        return lambda name, options: _encoded_sparse(name, virtual, options, of_a_pool)
    if isinstance(parametrization, FakeQuantized):
        stored = parametrization
        return lambda name, options: _integers(name, rounded_weight(stored), options, part.path)
    if isinstance(parametrization, Stepped) and (
        part is parametrization.weight or part is parametrization.mask
    ):
        return lambda name, options: _encoded_steps(name, parametrization, virtual.path, options)
    if isinstance(parametrization, Clustered) and part is parametrization.index:
        pruned = parametrization.pruned
        return lambda name, options: _encoded_index(name, part, pruned, options)
    return None


def _tensor(name: str, value: np.ndarray, hows: Sequence[Any], path: str) -> Tensor:
    """Encodes an array in the one of several ways that takes the fewest bytes."""
    try:
        best = coding.smallest(value, hows)
    except ArgumentError as error:
        raise ArgumentError(f"'{path}' cannot be stored: {error}") from error
    return Tensor(name, best.spec, best.payload)


def flat_ways(array: np.ndarray, options: Options) -> list[Any]:
    """The ways in which the variables that have no tensor of their own may be stored."""
    dtype = options.rest if array.dtype == np.float32 else None
    ways: list[Any] = _in_full(dtype, options)
    if dtype == "float32" and options.coder != "packed" and coding.Blocks.takes(array):
        ways.append(coding.Blocks(options.coder))
    return ways


def _in_full(dtype: str | None, options: Options) -> list[coding.Raw | coding.Planes]:
    """The ways to store numbers without loss of bits, those that are simpler first."""
    if options.coder == "packed":
        return [coding.Raw(dtype)]
    return [coding.Raw(dtype), coding.Planes(dtype, options.coder)]


def _integers(name: str, stored: Quantized, options: Options, path: str) -> Tensor:
    how = dataclasses.replace(stored.coding, coder=options.coder)
    return _tensor(name, stored.integers, [how], path)


def _encoded_factor(name: str, factor: keras.Variable, options: Options) -> Tensor:
    if grid_of(factor) is not None:
        return _integers(name, quantized(factor), options, factor.path)
    value = view_of(factor)
    if options.integers:
        rounded = rounded_once(value, options.integers, factor.path)
        return _integers(name, rounded, options, factor.path)
    how = _in_full("float16" if options.bits else None, options)
    return _tensor(name, value, how, factor.path)


def _encoded_sparse(
    name: str, weight: VirtualVariable, options: Options, of_a_pool: bool
) -> Tensor:
    """A pruned weight, or a pruned factor in as few bits as other factors."""
    if grid_of(weight) is not None:
        return _integers(name, quantized(weight), options, weight.path)
    value = view_of(weight)
    if of_a_pool and options.integers:
        rounded = rounded_once(value, options.integers, weight.path)
        return _integers(name, rounded, options, weight.path)
    dtype = None
    if value.dtype == np.float32:
        dtype = "float16" if of_a_pool and options.bits else options.rest
    hows = [coding.Sparse(how, coder=options.coder) for how in _in_full(dtype, options)]
    return _tensor(name, value, hows, weight.path)


def _encoded_steps(name: str, stepped: Stepped, path: str, options: Options) -> Tensor:
    """Whole numbers and steps; of a pruned weight, what is not zero is not pruned."""
    steps = stepped.steps()
    how = coding.Stepped(steps.step, steps.exponents, steps.axis, options.coder)
    return _tensor(name, stepped.integers(), [how], path)


def _encoded_index(name: str, index: keras.Variable, pruned: bool, options: Options) -> Tensor:
    """Indices of shared values, as the codebook of themselves."""
    value = view_of(index)
    largest = int(value.max(initial=0))
    if pruned and value.any():
        names = coding.Codebook(_small(1, largest), coder=options.coder)
        kept = value.ravel()[value.ravel() != 0] - 1
        how = coding.Sparse(names, kept, options.coder)
        return _tensor(name, value.astype("float32"), [how], index.path)
    every = coding.Codebook(_small(0, largest), coder=options.coder)
    return _tensor(name, value, [every], index.path)


def _small(first: int, last: int) -> np.ndarray:
    """Whole numbers, in a type that holds them exactly."""
    return np.arange(first, last + 1).astype("float16" if last <= 2048 else "float32")
