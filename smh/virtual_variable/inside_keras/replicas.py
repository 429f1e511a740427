"""Variables that TensorFlow mirrors on several replicas."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import keras

from smh.errors import ArgumentError


def creation_scope(
    variables: Iterable[keras.Variable], factors: Iterable[keras.Variable] = ()
) -> AbstractContextManager:
    """The scope in which what is trained with `variables`, or replaces them, has to be created.

    A model that was built in a `tf.distribute` scope is compressed, or wrapped to be trained, in
    that scope, wherever this is called. Elsewhere this is a context that does nothing.

    Args:
        variables: a model's variables, still stored.
        factors: the factors of a pool that exists already.

    Raises:
        ArgumentError: if `variables` or `factors` were created outside the strategy's scope, in
            which case TensorFlow could not train them.
    """
    tf = sys.modules.get("tensorflow")
    if tf is None or keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    found = {id(strategy_of(v)): strategy_of(v) for v in variables}
    strategy = next(iter(found.values()), None)
    current = tf.distribute.get_strategy() if tf.distribute.has_strategy() else strategy
    if len(found) > 1 or (found and current is not strategy):
        raise ArgumentError(
            "The weights of the model belong to "
            f"{' and to '.join(sorted(map(_name, found.values())))}, and the open scope is that "
            f"of {_name(current)}. Build the model, and change it, in the same `strategy.scope()`."
        )
    if any(strategy_of(factor) is not strategy for factor in factors):
        raise ArgumentError(
            f"The factors of `pool` were not created under {_name(strategy)}, which holds the "
            "weights to compress. Create the pool, and everything that uses it, in the same "
            "`strategy.scope()` as the model."
        )
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def check_outside_scope(call: str) -> None:
    """Refuses to look into a model where TensorFlow lets nobody read a variable that it mirrors.

    Args:
        call: what was called, for the message.

    Raises:
        ArgumentError: the scope of a strategy is open.
    """
    tf = sys.modules.get("tensorflow")
    if tf is None or keras.backend.backend() != "tensorflow":
        return
    if tf.distribute.has_strategy():
        raise ArgumentError(
            f"{call} looks at a model outside of a distribution strategy: call it after "
            "`with strategy.scope()`, not inside."
        )


def strategy_of(variable: keras.Variable) -> Any | None:
    """The `tf.distribute` strategy under which a stored variable was created, or `None`.

    Relies on: TensorFlow's variables, mirrored and plain, keep it in `_distribute_strategy`.
    """
    return getattr(variable.value, "_distribute_strategy", None)


def _name(strategy: Any | None) -> str:
    return "no strategy" if strategy is None else f"a {type(strategy).__name__}"
