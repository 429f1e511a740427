"""Compressed copies of one dense model, to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from smh.doors.built import check_is_built
from smh.doors.compressible import select
from smh.doors.compression import compress
from smh.doors.materialization import materialize
from smh.doors.quantization import quantize_factors
from smh.errors import ArgumentError
from smh.errors.limits import FLOAT_BITS, SEARCHED_BITS
from smh.pools.fit import kept_energy
from smh.pools.shape import PoolShape, choose_sides
from smh.progress import Advance
from smh.shrinking.searching.tries import SearchResult, Try
from smh.typing import Selector
from smh.virtual_variable import VirtualVariable, own_layers, own_variables, virtual_variables


@dataclass(frozen=True, eq=False)
class Copies:
    """What all tries of a search share.

    Attributes:
        model: the dense model; it is never changed.
        weights: its selected weights, in the order of its layers.
        apply_to, exclude, seed: as for `smh.compress`.
    """

    model: keras.Model
    weights: tuple[keras.Variable, ...]
    apply_to: Selector | None
    exclude: Selector | None
    seed: int | None

    @classmethod
    def of(cls, model: Any, apply_to: Any, exclude: Any, seed: int | None) -> Copies:
        """Checks that the model can be compressed and copied."""
        check_is_built(model)
        chosen = {id(item.variable) for item in select(model, apply_to, exclude)}
        _check_is_dense(model)
        weights = _in_layer_order(model, lambda variable: id(variable) in chosen)
        return cls(model, weights, apply_to, exclude, seed)

    @property
    def total(self) -> int:
        """Numbers in the selected weights."""
        return sum(math.prod(w.shape) for w in self.weights)

    @property
    def largest(self) -> PoolShape:
        """The sides of the pool, and the most replicas that a fraction of 1 pays for."""
        return choose_sides([tuple(w.shape) for w in self.weights], self.total)

    def fraction(self, replicas: int) -> float:
        """A fraction that gives a pool so many replicas, and half a number, against rounding."""
        return min(1.0, (replicas * self.largest.replica_size + 0.5) / self.total)

    def make(self, replicas: int, bits: int) -> tuple[keras.Model, float]:
        """Returns a copy, compressed from a fit and rounded, and the energy that it kept."""
        copy = compress(
            materialize(self.model),
            self.fraction(replicas),
            apply_to=self.apply_to,
            exclude=self.exclude,
            seed=self.seed,
            init="fit",
        )
        if bits != FLOAT_BITS:
            quantize_factors(copy, bits)
        # By the order of layers, as `materialize` does: a copy may be built in another.
        found = _in_layer_order(copy, lambda variable: isinstance(variable, VirtualVariable))
        return copy, kept_energy(self.weights, [virtual.value for virtual in found])


class Search:
    """Makes and writes models, notes each try, and keeps the best."""

    def __init__(self, copies: Copies, rest: str, show: Callable[[Try], Any] | None):
        self.copies, self.rest = copies, rest
        self.show = show or (lambda one: None)
        self.advance: Advance = lambda steps: None
        self.tries: list[Try] = []
        self.best: Try | None = None
        self.model: keras.Model | None = None

    def note(self, one: Try, model: keras.Model, better: Callable[[Try, Try], bool]) -> None:
        """Shows a try, and keeps its model if it fits and is `better` than the best so far."""
        self.tries.append(one)
        self.advance(1)
        self.show(one)
        if one.fits and (self.best is None or better(one, self.best)):
            self.best, self.model = one, model

    def result(
        self, failed: Callable[[], str], baseline: float | None = None, metric: str = "score"
    ) -> SearchResult:
        """Returns what was found, or raises `ArgumentError` with why nothing was."""
        if self.best is None or self.model is None:
            raise ArgumentError(failed())
        return SearchResult(self.model, self.best, tuple(self.tries), baseline, metric)


def recovered(recover: Callable[[keras.Model], Any], model: keras.Model) -> None:
    """Trains a model in place.

    Raises:
        ArgumentError: `recover` returned another one, which would be lost.
    """
    returned = recover(model)
    if isinstance(returned, keras.Model) and returned is not model:
        raise ArgumentError(
            "recover must train the model that it is given, in place, and returned another one: "
            "give it what was trained, model.set_weights(other.get_weights())."
        )


def _check_is_dense(model: keras.Model) -> None:
    """Raises if a weight is computed: the copies would have it dense again, and not say so."""
    paths = [virtual.path for virtual in virtual_variables(model)]
    if paths:
        raise ArgumentError(
            f"'{model.name}' has weights that are compressed already, and a search takes a dense "
            f"model: {', '.join(map(repr, paths[:3]))}{' ...' if paths[3:] else ''}. Search before "
            "you prune or round, or give smh.materialize(model), and leave out by exclude= what is "
            "not to go into the pool."
        )


def _in_layer_order(
    model: keras.Model, wanted: Callable[[keras.Variable], bool]
) -> tuple[keras.Variable, ...]:
    every = (v for layer in own_layers(model) for v in own_variables(layer))
    return tuple({id(v): v for v in every if wanted(v)}.values())


def checked_bits(bits: int | Sequence[int]) -> tuple[int, ...]:
    """Returns the numbers of bits to try, or raises `ArgumentError`."""
    several = tuple(bits) if isinstance(bits, Iterable) else (bits,)
    if not several or not all(map(SEARCHED_BITS.fits, several)):
        raise ArgumentError(
            f"bits must be whole numbers from 2 to 8, or {FLOAT_BITS} for float factors, got "
            f"{bits!r}."
        )
    return tuple(sorted(set(map(int, several)), reverse=True))


def check_functions(**given: Any) -> None:
    """Raises `ArgumentError` unless each is a function or `None`."""
    for name, value in given.items():
        if value is not None and not callable(value):
            raise ArgumentError(f"{name} must be a function of the model, got {value!r:.80}.")
