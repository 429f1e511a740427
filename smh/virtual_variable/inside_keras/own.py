"""The layers and variables that a model has of its own, without those that smh put there."""

from __future__ import annotations

import collections
import gc
import weakref
from collections.abc import Callable, Iterable, Iterator

import keras

from smh.virtual_variable.inside_keras.graph import calls_in_graphs
from smh.virtual_variable.inside_keras.holder import VirtualWeights

HOLDER = "_virtual_weights"  # the attribute
_AROUND = "_models_around"
# The attributes in which a layer lists all that it tracks.
BOOKS = frozenset({"_trainable_variables", "_non_trainable_variables"})


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


def models_around(model: keras.Layer) -> list[keras.Model]:
    """The live models that compute with `model`, or with a part of it for which they registered.

    They have it in their graphs, directly or within another, or `stand_around` knows them. No
    layer knows what it is in, so all live objects are looked through: half a second, which is
    spent only on a model that was called in some graph. A layer with a `call` of its own, which
    keeps the model as an attribute, is not found so.
    """
    found: list[keras.Model] = []
    if calls_in_graphs(model):
        # By the type, not `isinstance`: some objects answer that by importing a module.
        live = [x for x in gc.get_objects() if issubclass(type(x), keras.Model)]
        built = [x for x in live if x is not model and "_layers" in vars(x)]
        found = [x for x in built if any(layer is model for layer in own_layers(x))]
    within = [*own_layers(model), *found]
    told = [outer for layer in within for outer in layer.__dict__.get(_AROUND, ())]
    return list({id(one): one for one in [*found, *told]}.values())


def stand_around(model: keras.Layer, outer: keras.Model) -> None:
    """Remembers that `outer` computes with `model`, for as long as both are there."""
    model.__dict__.setdefault(_AROUND, weakref.WeakSet()).add(outer)


def layers_in_several(model: keras.Layer) -> list[keras.Layer]:
    """Returns the layers that more than one layer has."""
    counts = collections.Counter(
        number for layer in own_layers(model) for number in {id(child) for child in layer._layers}
    )
    return [layer for layer in own_layers(model) if counts[id(layer)] > 1]


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The layer's own variables, virtual ones where they were before, trainable first."""
    return own_trainable(layer) + list(layer._non_trainable_variables)


def own_trainable(layer: keras.Layer) -> list[keras.Variable]:
    """Those of the layer's own variables that it tracks as trainable, stored or virtual."""
    trainable = own_weights(layer)
    holder = holder_of(layer)
    if holder is not None:
        # Each position counts what was tracked when the variable was taken out.
        for position, virtual in reversed(holder.order):
            trainable.insert(position, virtual)
    return trainable


def own_weights(layer: keras.Layer) -> list[keras.Variable]:
    """The variables that the layer stores and tracks as trainable.

    Relies on: a variable stays in the list in which it was tracked, frozen or not.
    """
    return list(layer._trainable_variables)


def set_trainable_alone(layer: keras.Layer, trainable: bool) -> None:
    """Freezes or unfreezes a layer, and neither its variables nor what is below it.

    Relies on: `Layer.trainable` is what its `_trainable` is.
    """
    layer._trainable = trainable


def own_seeds(layer: keras.Layer) -> list[keras.Variable]:
    """The states of the layer's random generators.

    Relies on: a layer tracks its generators in `_seed_generators`; a generator has a `state`.
    """
    return [generator.state for generator in layer._seed_generators]


def owners_of(
    layers: Iterable[keras.Layer],
    variables: Callable[[keras.Layer], list[keras.Variable]] = own_variables,
) -> dict[int, tuple[keras.Variable, list[keras.Layer]]]:
    """Returns each variable, by its `id` and in order, and the layers that track it.

    Args:
        layers: which layers.
        variables: which of a layer's variables.
    """
    found: dict[int, tuple[keras.Variable, list[keras.Layer]]] = {}
    for layer in layers:
        for variable in variables(layer):
            found.setdefault(id(variable), (variable, []))[1].append(layer)
    return found


def calls_as_keras(operation: keras.Operation) -> bool:
    """Whether what it computes is what one of Keras' own classes does: its `call` is theirs."""
    return getattr(type(operation).call, "__module__", "").split(".")[0] == "keras"
