"""The layers and weights of one model, and those that they are in another one made like it.

Within one model layers and variables are counted as the model lists them. A model that is made
again from a configuration may list them in another order, so names are kept of what was counted:
the path of each layer and the key of each weight, as Keras' own files have them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from smh.errors import ArgumentError, ArtifactError
from smh.virtual_variable.inside_keras.graph import configured_layers, graph_of
from smh.virtual_variable.inside_keras.hooks import saved
from smh.virtual_variable.inside_keras.own import own_layers, own_seeds, own_variables
from smh.virtual_variable.inside_keras.saveables import saveables

# Begins the name of a layer that Keras' files do not find; behind it, which of those it is.
_NO_PATH = ":"


@dataclass(frozen=True, eq=False)
class Member:
    """A layer of a model.

    Attributes:
        layer: the layer.
        variables: its own, computed ones too, in the order in which they are counted.
    """

    layer: keras.Layer
    variables: list[keras.Variable]

    @property
    def states(self) -> list[keras.Variable]:
        """The states of its random generators."""
        return own_seeds(self.layer)

    @property
    def is_empty(self) -> bool:
        """Whether it has no values of its own."""
        return not self.variables and not self.states


def members(model: keras.Layer) -> list[Member]:
    """Returns the layers of a model as it lists them, each once."""
    return [Member(layer, own_variables(layer)) for layer in own_layers(model)]


def names_of(
    counted: Sequence[Member], model: keras.Layer, paths: Mapping[str, keras.Layer] | None = None
) -> list[Any]:
    """Returns how each member is found in a model that is made again, as plain JSON.

    Args:
        counted: the members.
        model: theirs.
        paths: all its layers, by other paths than those in Keras' files.

    Returns:
        `[path, keys]` for each, with a key or null for each variable; `keys` is null where they are
        "0", "1" and so on, and there is one.
    """
    by_path = _paths(model) if paths is None else paths
    path_of = {id(layer): path for path, layer in by_path.items()}
    names: list[Any] = []
    for member in counted:
        keys: Any = keys_of(member)
        if keys and keys == [str(i) for i in range(len(keys))]:
            keys = None
        names.append([path_of[id(member.layer)], keys])
    return names


def members_as(
    model: keras.Layer, names: Any, unlike: dict[int, keras.Layer] | None = None
) -> list[Member | None]:
    """Returns the members as `names` counts them, or, where they are `None`, as the model does."""
    return list(members(model)) if names is None else members_named(model, names, unlike)


def members_named(
    model: keras.Layer,
    names: Any,
    unlike: dict[int, keras.Layer] | None = None,
    paths: Mapping[str, keras.Layer] | None = None,
) -> list[Member | None]:
    """Returns the members of `model` that `names_of` has named in one that is made like it.

    A layer that has no variables may lack, and is `None` then; it may also be there in addition.

    Args:
        model: the model.
        names: what `names_of` returned.
        unlike: takes up layers, by their numbers, that have other variables than the named ones,
            but methods of their own to load them; by default they are an error. (Those with LoRA
            save themselves as if they had none.)
        paths: as for `names_of`.

    Raises:
        ArtifactError: the names are malformed; they may come from a file.
        ArgumentError: the model is another one; the message says in which layer.
    """
    paths = _paths(model) if paths is None else paths
    found: list[Member | None] = []
    for number, name in enumerate(names):
        path, keys = _checked(name)
        if unlike is not None and _is_unlike(paths.get(path), keys):
            unlike[number] = paths[path]
        found.append(None if number in (unlike or ()) else _named(paths, path, keys))
    known = {id(member.layer) for member in found if member is not None}
    known |= {id(layer) for layer in (unlike or {}).values()}
    for path, layer in paths.items():
        if id(layer) not in known and not Member(layer, own_variables(layer)).is_empty:
            raise ArgumentError(
                f"'{layer.name}' (at '{path}') is a layer too many, with the variables "
                f"{[v.path for v in own_variables(layer)]}."
            )
    return found


def paired(
    counted: Sequence[Member],
    others: Sequence[Member | None],
    unlike: Collection[int] = (),
    expected: Callable[[Member], list[tuple[int, ...]]] | None = None,
) -> list[tuple[Member, Member]]:
    """Returns the members of two models in pairs, without those that lack or are `unlike`.

    Args:
        counted: the members of the one.
        others: those of the other.
        unlike: numbers of members that have no partner.
        expected: the shapes that a partner's variables have; by default the same.

    Raises:
        ArgumentError: their variables differ in shape; the message names the layer.
    """
    both = []
    for number, (one, two) in enumerate(zip(counted, others, strict=True)):
        if two is not None:
            _check_alike(one, two, (expected or _shapes)(one))
            both.append((one, two))
        elif not one.is_empty and number not in unlike:
            raise ArgumentError(f"'{one.layer.name}' is missing, which has random generators.")
    return both


def _paths(model: keras.Layer) -> dict[str, keras.Layer]:
    """The layers of a model by path; those that Keras' files do not find are counted."""
    found = {p: x for p, x in saveables(model).items() if isinstance(x, keras.Layer)}
    known = {id(layer) for layer in found.values()}
    others = [layer for layer in own_layers(model) if id(layer) not in known]
    inside = {id(layer) for layer in own_layers(model)}
    found = {path: layer for path, layer in found.items() if id(layer) in inside}
    return found | {f"{_NO_PATH}{i}": layer for i, layer in enumerate(others)}


def paths_by_name(model: keras.Layer) -> dict[str, keras.Layer]:
    """The layers of a model by the names that they have in its graph and in the graphs inside it.

    Keras' files count layers by their class, so that without one of them others are called
    differently. Names are an attribute of each layer, and no two of a graph have the same.
    """
    found: dict[str, keras.Layer] = {}

    def walk(path: str, layer: keras.Layer) -> None:
        found[path] = layer
        if graph_of(layer) is None:
            inside = list(own_layers(layer))[1:]
            found.update({f"{path}/{_NO_PATH}{i}": inner for i, inner in enumerate(inside)})
            return
        for inner in configured_layers(layer):
            if isinstance(inner, keras.Layer):
                walk(f"{path}/{inner.name}", inner)

    walk("", model)
    known = {id(layer) for layer in found.values()}
    others = [layer for layer in own_layers(model) if id(layer) not in known]
    return found | {f"{_NO_PATH}{i}": layer for i, layer in enumerate(others)}


def keys_of(member: Member, stored: Mapping[str, Any] | None = None) -> list[str | None]:
    """Returns the key under which the layer saves each of its variables, if it saves it as it is.

    Args:
        member: the layer.
        stored: what its `save_own_variables` stores, if that is known.
    """
    if stored is None:
        if type(member.layer).save_own_variables is keras.Layer.save_own_variables:
            return [str(i) for i in range(len(member.variables))]
        try:
            stored = saved(member.layer)
        except Exception:  # of the user's code; then there is nothing but the number
            stored = {}
    keys = {id(value): key for key, value in reversed(list(stored.items()))}
    return [keys.get(id(variable)) for variable in member.variables]


def _is_unlike(layer: keras.Layer | None, keys: list[str | None] | None) -> bool:
    """Whether a layer has other variables, but methods of its own to load those of that name."""
    if layer is None or type(layer).load_own_variables is keras.Layer.load_own_variables:
        return False
    there = keys_of(Member(layer, own_variables(layer)))
    return _sorted(keys, len(there)) != _sorted(there, len(there))


def _sorted(keys: list[str | None] | None, count: int) -> list[str]:
    return sorted(map(str, range(count) if keys is None else keys))


def _checked(name: Any) -> tuple[str, list[str | None] | None]:
    fits = isinstance(name, list) and len(name) == 2 and isinstance(name[0], str)
    keys = name[1] if fits else None
    if not fits or not (keys is None or isinstance(keys, list)):
        raise ArtifactError(f"A layer is named by its path and keys, got {name!r:.100}.")
    if keys is not None and any(k is not None and not isinstance(k, str) for k in keys):
        raise ArtifactError(f"The keys of '{name[0]:.100}' must be strings, got {keys!r:.100}.")
    return name[0], keys


def _named(
    paths: Mapping[str, keras.Layer], path: str, keys: list[str | None] | None
) -> Member | None:
    layer = paths.get(path)
    if layer is None and keys == []:
        return None
    if layer is None:
        raise ArgumentError(f"There is no layer at '{path:.200}', where one is expected.")
    own = Member(layer, own_variables(layer))
    there = keys_of(own)
    if _sorted(keys, len(there)) != _sorted(there, len(there)):
        raise ArgumentError(
            f"'{layer.name}' (at '{path}') has {len(there)} variables, saved under {there}, "
            f"expected {'these by number' if keys is None else keys}. (LoRA that was enabled in a "
            "layer inside of another, for example, is in no configuration.)"
        )
    keys = [str(i) for i in range(len(there))] if keys is None else keys
    without = iter([v for v, key in zip(own.variables, there, strict=True) if key is None])
    by_key = dict(zip(there, own.variables, strict=True))
    return Member(layer, [next(without) if key is None else by_key[key] for key in keys])


def _check_alike(one: Member, two: Member, expected: list[tuple[int, ...]]) -> None:
    found = _shapes(two)
    if expected and not two.layer.built:
        raise ArgumentError(
            f"'{one.layer.name}' is not built then. Let the build() of what has it build it."
        )
    if found != expected or len(two.states) != len(one.states):
        raise ArgumentError(
            f"'{two.layer.name}' has weights of shapes {found} and {len(two.states)} random "
            f"generators, expected {expected} and {len(one.states)}."
        )


def _shapes(member: Member) -> list[tuple[int, ...]]:
    return [tuple(int(n) for n in variable._shape) for variable in member.variables]
