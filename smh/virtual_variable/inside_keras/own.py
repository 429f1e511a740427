"""The layers and variables that a model has of its own, without those that smh put there."""

from __future__ import annotations

import collections
from collections.abc import Iterator

import keras

from smh.virtual_variable.inside_keras.holder import VirtualWeights

HOLDER = "_virtual_weights"  # the attribute


def holder_of(layer: keras.Layer) -> VirtualWeights | None:
    """The virtual weights of a layer, or `None` if it has none of its own."""
    # Relies on: only PyTorch keeps a sublayer elsewhere than in `__dict__`, and finds it as well.
    return getattr(layer, HOLDER, None)


def own_layers(model: keras.Layer) -> Iterator[keras.Layer]:
    """Yields `model` and the layers below it in the order of `model.variables`, each once.

    The layers that smh put there (pools, holders) are left out.
    """
    seen: set[int] = set()

    def walk(layer):
        if id(layer) in seen or isinstance(layer, VirtualWeights):
            return
        seen.add(id(layer))
        yield layer
        for child in layer._layers:
            yield from walk(child)

    return walk(model)


def layers_in_several(model: keras.Layer) -> list[keras.Layer]:
    """Returns the layers that more than one layer has."""
    counts = collections.Counter(
        number for layer in own_layers(model) for number in {id(child) for child in layer._layers}
    )
    return [layer for layer in own_layers(model) if counts[id(layer)] > 1]


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The layer's own variables, virtual ones where they were before, trainable first."""
    trainable = list(layer._trainable_variables)
    holder = holder_of(layer)
    if holder is not None:
        # Each position counts what was tracked when the variable was taken out.
        for position, virtual in reversed(holder.order):
            trainable.insert(position, virtual)
    return trainable + list(layer._non_trainable_variables)


def calls_as_keras(operation: keras.Operation) -> bool:
    """Whether what it computes is what one of Keras' own classes does: its `call` is theirs."""
    return getattr(type(operation).call, "__module__", "").split(".")[0] == "keras"
