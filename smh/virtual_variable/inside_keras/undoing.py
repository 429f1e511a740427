"""Puts a model back as it was, however far a change of it got."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable.inside_keras import torch_storage
from smh.virtual_variable.inside_keras.holder import VirtualWeights
from smh.virtual_variable.inside_keras.hooks import has_assets, has_own_hooks
from smh.virtual_variable.inside_keras.members import Member, members
from smh.virtual_variable.inside_keras.own_state import OwnState, load_own_states, own_states
from smh.virtual_variable.variable import VirtualVariable, copy_of

_KINDS: tuple[Any, ...] = (collections.OrderedDict, dict, list, set)
_CLASS: Any = vars(object)["__class__"]


@contextlib.contextmanager
def undone_on_errors(model: keras.Layer) -> Iterator[None]:
    """Puts `model` back if anything fails inside, Ctrl-C too: layers, variables and numbers.

    Relies on: what Keras knows of a layer or a variable is in its class and `__dict__`, in the
    lists and dictionaries there, and in the tracker's `stored_ids`. An optimizer is not looked
    into: smh puts another one in its place.

    Args:
        model: a built model or layer, compressed or not.

    Cost: the model's numbers once more in memory, and until the end also the storage of what
    becomes virtual.
    """
    layers = model._flatten_layers()
    virtuals = [v for x in layers if isinstance(x, VirtualWeights) for v in x.virtuals]
    numbers = [(v, copy_of(v)) for v in model.variables if not isinstance(v, VirtualVariable)]
    trackers = [layer._tracker for layer in layers]
    known = [*layers, *trackers, *model.variables, *virtuals]
    known += [virtual.parametrization for virtual in virtuals]
    ways = [_way_back(one) for one in {id(one): one for one in known}.values()]
    ways += [_filled(ids) for tracker in trackers for ids in tracker.stored_ids.values()]
    states = _states(model)

    def put_back():
        for way in ways:
            way()
        for variable, value in numbers:
            variable.assign(value)

    try:
        yield
    except BaseException:
        put_back()
        if states:  # some are in no attribute: a vocabulary is in a table of TensorFlow
            _load(model, states)
            put_back()  # what a layer computes from its variables need not be as it was
        torch_storage.list_stored(layers)
        raise


def _way_back(one: Any) -> Callable[[], None]:
    """Returns what gives an object its class, its attributes, and what is in them, again."""
    kind, attributes = type(one), dict(vars(one))
    contents = [_filled(value) for value in attributes.values() if _kind_of(value) is not None]

    def put_back():
        if type(one) is not kind:  # not by assignment: see `describe_when_serialized`
            _CLASS.__set__(one, kind)
        for name in vars(one).keys() - attributes.keys():
            del vars(one)[name]
        vars(one).update(attributes)
        for fill in contents:
            fill()

    return put_back


def _filled(container: Any) -> Callable[[], None]:
    """Returns what fills a container as it is now, past the methods by which Keras tracks."""
    kind, before = _kind_of(container), _ids(container)
    content = list(container.items() if isinstance(container, dict) else container)

    def fill():
        if _ids(container) == before:
            return
        kind.clear(container)
        for item in content:
            if kind is list:
                list.append(container, item)
            elif kind is set:
                set.add(container, item)
            else:
                kind.__setitem__(container, *item)

    return fill


def _kind_of(value: Any) -> Any:
    return next((kind for kind in _KINDS if issubclass(type(value), kind)), None)


def _ids(container: Any) -> list[int]:
    values = container.values() if isinstance(container, dict) else ()
    return [*map(id, container), *map(id, values)]


def _states(model: keras.Layer) -> list[tuple[Member, OwnState]]:
    """What the layers have beside variables; a layer that cannot tell yet has nothing."""
    found = []
    for member in members(model):
        if has_own_hooks(member.layer) or has_assets(member.layer):
            with contextlib.suppress(ArgumentError):
                found += [(member, state) for state in own_states([member]).values()]
    return found


def _load(model: keras.Layer, states: list[tuple[Member, OwnState]]) -> None:
    with contextlib.suppress(ArgumentError):  # the error that there was says more
        loading = [member for member, _ in states]
        load_own_states(model, loading, {i: state for i, (_, state) in enumerate(states)})
