"""What Keras' own files find of a model: its layers by attribute, their weights by key.

Keras saves a layer under the path of attributes that leads to it (`encoder/layers/dense_1`), and
lets it name its weights. A model that is made again from its configuration may list both in another
order: a sublayer that is tracked later, float8's scales that come before the kernel. So what goes
from one model to another is paired here as Keras pairs it.
"""

from __future__ import annotations

from typing import Any

import keras

from smh.virtual_variable.inside_keras.holder import VirtualWeights
from smh.virtual_variable.parametrization import Source

_CONTAINERS = (list, dict, tuple)


def saveables(model: keras.Layer) -> dict[str, Any]:
    """Returns what Keras saves of a model, by its path, in the order in which Keras loads it.

    Optimizers, metrics and losses are left out, and the layers that smh put there.

    Relies on: `_walk_saveable` gives the attributes in which Keras looks; what is in a list or dict
    is called by its class in snake case, counted from the second on; the first path counts.

    Cost: `dir()` of every layer.
    """
    found: dict[str, Any] = {}
    _walk(model, "", found, {})
    return found


def _walk(thing: Any, path: str, found: dict[str, Any], seen: dict[int, Any]) -> None:
    if id(thing) in seen:
        return
    seen[id(thing)] = found[path] = thing
    for name, child in _attributes(thing):
        below = f"{path}/{name}" if path else name
        if _is_saveable(child):
            _walk(child, below, found, seen)
        elif isinstance(child, _CONTAINERS):
            _walk_container(child, below, found, seen, set())


def _attributes(thing: Any) -> list[tuple[str, Any]]:
    from keras.src.saving.saving_lib import _walk_saveable

    try:
        return list(_walk_saveable(thing))
    except ValueError:
        if isinstance(thing, keras.Layer) or not isinstance(thing, keras.Operation):
            raise
        return []  # Keras 3.11 does not know where to look in an operation, and saves nothing of it


def _walk_container(container: Any, path: str, found: dict, seen: dict, around: set[int]) -> None:
    from keras.src.utils.naming import to_snake_case

    if id(container) in around:
        return
    around.add(id(container))
    names: dict[str, int] = {}
    for child in list(container.values()) if isinstance(container, dict) else container:
        if _is_saveable(child):
            name = _counted(to_snake_case(child.__class__.__name__), names)
            _walk(child, f"{path}/{name}", found, seen)
        elif isinstance(child, _CONTAINERS):
            name = _counted("container", names)
            _walk_container(child, f"{path}/{name}", found, seen, around)


def _counted(name: str, names: dict[str, int]) -> str:
    number = names[name] = names.get(name, -1) + 1
    return f"{name}_{number}" if number else name


def _is_saveable(thing: Any) -> bool:
    from keras.src.saving.keras_saveable import KerasSaveable

    left_out = (keras.Optimizer, keras.Metric, keras.Loss, VirtualWeights, Source)
    return isinstance(thing, KerasSaveable) and not isinstance(thing, left_out)
