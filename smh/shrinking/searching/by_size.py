"""The best compressed model whose file is not larger than so many bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras

from smh.artifact.files import saved_bytes
from smh.doors.quantization import quantize_factors
from smh.errors.limits import BYTES
from smh.progress import task
from smh.shrinking.searching.copies import (
    Copies,
    Search,
    check_functions,
    checked_bits,
    recovered,
)
from smh.shrinking.searching.tries import SearchResult, Try
from smh.shrinking.shrink_model import shrink
from smh.typing import Selector

# Of one replica every number may get a scale of its own, so that two or more can take fewer bytes.
_FIRST = (1, 2, 4, 8)
_USUAL = 4  # tries for each number of bits
_SECANTS = 5  # then by halves: the size grows almost evenly, so that these nearly always do


def search_size(
    model: keras.Model,
    target_bytes: int,
    *,
    recover: Callable[[keras.Model], Any] | None = None,
    data: Any = None,
    bits: int | Sequence[int] = (8, 6, 4),
    rest: str = "float32",
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    seed: int | None = 0,
    show: Callable[[Try], Any] | None = None,
) -> SearchResult:
    """Finds the pool to train for a file of limited size.

    To make a trained model so small without training it, call `smh.shrink(model, data,
    target_size=...)`: a pool that is not trained keeps little of what a model has learned.

    For each number of bits it finds the most replicas whose file, written by `smh.save`, fits; of
    these models it takes the one that keeps most of the weights' energy after rounding. `recover`
    trains that one, its factors rounded all the time. Training changes their entropy: if the file
    became too large, `smh.shrink` rounds the factors anew, into the bytes that there are.

    Args:
        model: a built dense model. It is not changed; copies are made from its configuration.
        target_bytes: the most bytes of the file.
        recover: trains a model in place. Default: nothing is trained; train what it returns, and
            leave some bytes.
        data: examples for `smh.shrink`, where it is needed.
        bits: for the factors, 2 to 8, or 32: float; several are compared.
        rest: as for `smh.save`: `"float16"` halves what stays dense.
        apply_to: as for `smh.compress`.
        exclude: as for `smh.compress`.
        seed: as for `smh.compress`.
        show: called with each `Try`.

    Returns:
        A `SearchResult`: `result.model`, `result.best`, `print(result)`.

    Raises:
        ArgumentError: no file is so small; the message says how small they get. Or a value that
            cannot work, or a model of which a part is compressed already.
        UnbuiltModelError: the model has no weights yet.
        SelectionError: nothing is selected.

    Cost: some four tries for each number of bits, each a copy of the model, a fit and a file; and
        one training.

    Example:
        >>> result = smh.search_size(smh.zoo.lenet_300_100(), 30_000, bits=4)
        >>> result.best.bytes <= 30_000
        True
    """
    target_bytes = BYTES.checked(target_bytes, "target_bytes")
    check_functions(recover=recover)
    widths, copies = checked_bits(bits), Copies.of(model, apply_to, exclude, seed)
    search = _BySize(copies, rest, show)
    search.target = target_bytes
    doing = f"looking for the best pool in {target_bytes:,} bytes"
    with task(doing, _USUAL * len(widths)) as search.advance:
        for width in widths:
            search.run(width)
    found = search.result(lambda: _too_large(model, search))
    return found if recover is None else _recovered(search, found, recover, data)


def _recovered(search: _BySize, found: SearchResult, recover: Callable, data: Any) -> SearchResult:
    """Trains what was found, and keeps its file within the budget."""
    model = found.model
    recovered(recover, model)
    if saved_bytes(model, search.rest, checked=False) > search.target:
        quantize_factors(model, None)
        shrink(model, data, target_size=search.target)
    trained = replace(found.best, bytes=saved_bytes(model, search.rest, checked=False))
    search.show(trained)
    return SearchResult(model, trained, (*found.tries, trained))


def _too_large(model: keras.Model, search: _BySize) -> str:
    least = min(search.tries, key=lambda one: one.bytes)
    return (
        f"No file of '{model.name}' is as small as {search.target:,} bytes: the smallest has "
        f"{least.bytes:,}, at fraction {least.fraction:.4g} with {least.bits} bits. Allow "
        "that, or fewer bits, store the rest as float16, or select more weights."
    )


class _BySize(Search):
    """Keeps of the models that fit the one with most of the weights' energy."""

    target: int

    def run(self, bits: int) -> None:
        """Finds the most replicas that fit at so many bits."""
        shape, low, size = self.copies.largest, 0, 0
        for low in (n for n in _FIRST if n <= shape.replicas):
            size = self.measure(low, bits)
            if size <= self.target:
                break
        else:
            return
        high, growth = shape.replicas + 1, shape.replica_size * bits / 8
        for number in range(2 * shape.replicas):
            if high - low == 1:
                return
            guess = low + math.floor((self.target - size) / max(growth, 1.0))
            if number >= _SECANTS:
                guess = (low + high) // 2
            guess = min(max(guess, low + 1), high - 1)
            found = self.measure(guess, bits)
            growth = (found - size) / (guess - low)
            if found <= self.target:
                low, size = guess, found
            else:
                high = guess

    def measure(self, replicas: int, bits: int) -> int:
        """Makes, writes and judges one model; returns the bytes of its file."""
        model, energy = self.copies.make(replicas, bits)
        size = saved_bytes(model, self.rest, checked=False)
        fraction = self.copies.fraction(replicas)
        one = Try(fraction, bits, size, energy, None, size <= self.target)
        self.note(one, model, lambda new, best: new.energy_kept > best.energy_kept)
        return size
