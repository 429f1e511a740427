"""Several outputs of a model, and what is given for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from smh.errors import ArgumentError


def per_output(given: Any, outputs: Any, names: Sequence[str]) -> list:
    """Returns what is given for each output, as Keras' `compile` reads it.

    Args:
        given: one thing for all, or a list in the order of the outputs, or a dict by their names;
            what a dict leaves out is None.
        outputs: what the model returns.
        names: of the outputs, flattened.

    Raises:
        ArgumentError: a list of another length, or a dict with another name.
    """
    count = len(keras.tree.flatten(outputs))
    if isinstance(given, dict):
        unknown = [str(name) for name in given if str(name) not in names]
        if unknown:
            raise ArgumentError(
                f"No output is called {', '.join(unknown)}. There are: {', '.join(names)}."
            )
        named = {str(name): value for name, value in given.items()}
        return [named.get(name) for name in names]
    if isinstance(given, list | tuple):
        if len(given) != count:
            raise ArgumentError(f"The model has {count} outputs, and {len(given)} are given.")
        return list(given)
    return [given] * count


def spread_weights(weights: Any, outputs: Any, names: Sequence[str]) -> Any:
    """Returns sample weights that each count for all steps of an example, `[b]` as `[b, 1]`.

    Keras multiplies `[b]` with the losses of an output per step, `[b, t]`, as if it were `[t]`.

    Args:
        weights: of one output or several, as `fit` takes them.
        outputs: `[b, ..., n]` each.
        names: of the outputs, flattened.
    """
    flat = keras.tree.flatten(outputs)
    each = per_output(weights, outputs, names)
    wide = [_expanded(w, len(output.shape) - 1) for w, output in zip(each, flat, strict=True)]
    if all(a is b for a, b in zip(each, wide, strict=True)):
        return weights
    return wide[0] if len(flat) == 1 else keras.tree.pack_sequence_as(outputs, wide)


def _expanded(weights: Any, rank: int) -> Any:
    while weights is not None and len(weights.shape) < rank:
        weights = keras.ops.expand_dims(weights, -1)
    return weights


def names_of(outputs: Any, own: Sequence[str] | None) -> list[str]:
    """Returns a name for each output: its key, else the model's own name for it, else its place."""
    if isinstance(outputs, dict):
        paths = [path for path, _ in _with_path(outputs)]
        return ["/".join(str(part) for part in path) for path in paths]
    count = len(keras.tree.flatten(outputs))
    return list(own) if own and len(own) == count else [str(i) for i in range(count)]


def check_alike(said: Any, told: Any) -> None:
    """Raises `ArgumentError` unless a student's and a teacher's outputs have the same shapes."""
    shapes = [keras.tree.map_structure(lambda t: tuple(t.shape), part) for part in (said, told)]
    ours, theirs = ([tuple(t.shape) for t in keras.tree.flatten(part)] for part in (said, told))
    # A size may be unknown in one of them.
    alike = len(ours) == len(theirs) and all(
        len(a) == len(b) and all(n in (m, None) or m is None for n, m in zip(a, b, strict=True))
        for a, b in zip(ours, theirs, strict=True)
    )
    kinds = [isinstance(part, dict) and sorted(part) for part in (said, told)]
    if not alike or kinds[0] != kinds[1]:
        raise ArgumentError(
            f"student and teacher must give outputs of the same shapes, got {shapes[0]} and "
            f"{shapes[1]}."
        )


def _with_path(outputs: Any) -> list:
    return list(keras.tree.flatten_with_path(outputs))
