"""The names that a TF1 graph has given out: a computed weight takes one as a variable does.

TF1 keeps a graph's variables by name in one store, which says "already exists" and finds what
`reuse` asks for. A computed weight is no variable, so it is kept beside them, in a store that looks
there first. A name then has one weight, whoever asks for it: a getter of smh, of another pool, or
none at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

# Relies on: TF1 finds a graph's store in this collection, which the bodies of loops share with it,
# and asks its `_get_single_variable` or `_get_partitioned_variable` for whatever no custom getter
# has made. Both get the arguments of `get_variable`, and keep what they make in `_vars` and
# `_partitioned_vars`. tests/test_tf1_names.py fails first if that changes.
from tensorflow.python.ops.variable_scope import (
    _VARSCOPESTORE_KEY,
    _VARSTORE_KEY,
    _get_default_variable_store,
    _VariableStore,
    get_variable_scope_store,
)

from smh.errors import SelectionError
from smh.typing import Tensor
from smh.variable_pool import VariablePool


@dataclass(frozen=True)
class Computed:
    """A weight that was given out instead of a variable.

    Attributes:
        tensor: its value.
        pool: what it is computed from.
        place: the range of the pool.
    """

    tensor: Tensor
    pool: VariablePool
    place: tuple[int, int]

    def shared(self, name: str, reuse: Any, shape: Any, dtype: Any) -> Tensor:
        """Returns the tensor for one who asks for `name` again; raises `SelectionError`."""
        check_may_share(name, reuse)
        shape, dtype, tensor = tf.TensorShape(shape), tf.as_dtype(dtype), self.tensor
        if not tensor.shape.is_compatible_with(shape) or tensor.dtype != dtype.base_dtype:
            raise SelectionError(
                f"Variable {name} cannot be shared: it has shape {tuple(tensor.shape)} and dtype "
                f"{tensor.dtype.name}, asked for are {shape} and {dtype.base_dtype.name}."
            )
        return tensor


class _Store(_VariableStore):
    """A graph's variables, and its computed weights."""

    __slots__ = ("computed",)

    def __init__(self, variables: _VariableStore):
        for name in _VariableStore.__slots__:
            setattr(self, name, getattr(variables, name))  # the same, for who holds the other
        self.computed: dict[str, Computed] = {}

    def _get_single_variable(self, name, *args, **kwargs):
        return self._found(super()._get_single_variable, name, *args, **kwargs)

    def _get_partitioned_variable(self, name, *args, **kwargs):
        return self._found(super()._get_partitioned_variable, name, *args, **kwargs)

    def _found(self, otherwise: Callable, name: str, *args, **kwargs):
        if name not in self.computed:
            return otherwise(name, *args, **kwargs)
        asked = {key: kwargs.get(key) for key in ("reuse", "shape")}
        return self.computed[name].shared(name, dtype=kwargs.get("dtype") or tf.float32, **asked)


def take_apart(graph: tf.Graph) -> None:
    """Lets a function's graph know the names of the graph around it, and keep its own for itself.

    Relies on: a function's graph has the lists of names and variables of the graph around it; the
    store of scopes counts those of a name, so that the next one gets another.
    """
    with graph.as_default():
        variables, scopes = _get_default_variable_store(), get_variable_scope_store()
    for key in graph.collections:
        listed = graph.get_collection(key)  # a copy
        graph.clear_collection(key)
        graph.get_collection_ref(key).extend(listed)
    own = _Store(variables)
    own.computed = dict(getattr(variables, "computed", {}))
    own._vars, own._partitioned_vars = dict(own._vars), dict(own._partitioned_vars)
    graph.get_collection_ref(_VARSTORE_KEY)[:] = [own]
    counted = type(scopes)()
    counted.current_scope = scopes.current_scope
    counted.variable_scopes_count = dict(scopes.variable_scopes_count)
    graph.get_collection_ref(_VARSCOPESTORE_KEY)[:] = [counted]


def known(name: str) -> Any:
    """What has this name in the graph being built: a `Computed`, a variable, or `None`."""
    store = _get_default_variable_store()
    if isinstance(store, _Store) and name in store.computed:
        return store.computed[name]
    return store._vars.get(name, store._partitioned_vars.get(name))


def remember(name: str, computed: Computed) -> None:
    """Keeps `computed` under its name."""
    store = _get_default_variable_store()
    if not isinstance(store, _Store):
        store = _Store(store)
        tf.compat.v1.get_collection_ref(_VARSTORE_KEY)[:] = [store]
    store.computed[name] = computed


def check_may_share(name: str, reuse: Any) -> None:
    """Raises `SelectionError` where a name that is known is asked for as a new one."""
    if reuse is False:
        raise SelectionError(
            f"Variable {name} already exists. To share it, set reuse=True or "
            "reuse=tf.compat.v1.AUTO_REUSE in the variable_scope."
        )


def check_free(name: str, weight: str) -> None:
    """Raises `SelectionError` if `name`, which the modifier of `weight` needs, is known."""
    if known(name) is not None:
        raise SelectionError(
            f"Variable {name} already exists, and the modifier of '{weight}' needs a variable of "
            "that name. Give one of the two another name."
        )
