"""Models whose first values nobody sees: made only to be looked at, or to be filled."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator

import keras


def without_values(make: Callable[[], keras.Layer]) -> keras.Layer:
    """Returns the layer that `make` returns; where possible its variables have no storage.

    Where something in `make` needs values, it is called once more, and everything is allocated.

    Relies on: in a `StatelessScope` a variable with an initializer is only noted to be initialised
    when the scope ends, if it shall be; `uninitialized_variables` are those that were noted.

    Cost: the time in which the layers are made; the dense weights only in the second case.
    """
    with undisturbed(), contextlib.suppress(Exception):
        with keras.StatelessScope(initialize_variables=False):
            return make()
    with undisturbed():
        return make()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Lets Keras count on afterwards as if nothing had been made: names, seeds, variables.

    Relies on: `object_name_uids` are the counters in names; seeds that are not given are drawn from
    Python's `random`.
    """
    from keras.src.backend.common import global_state

    names = dict(global_state.get_global_attribute("object_name_uids", {}))
    noted = list(global_state.get_global_attribute("uninitialized_variables", []))
    drawn = random.getstate()
    try:
        yield
    finally:
        random.setstate(drawn)
        global_state.set_global_attribute("uninitialized_variables", noted)
        counters = global_state.get_global_attribute("object_name_uids")
        if counters is not None:
            counters.clear()
            counters.update(names)


@contextlib.contextmanager
def starting_at_zero() -> Iterator[None]:
    """What this thread makes inside starts with zeros where Keras would draw random numbers.

    For models whose variables are all assigned afterwards: drawing took half of the time in which
    a ResNet-50 is made, and on JAX each shape is compiled.

    Relies on: Keras' random initializers are called with shape and dtype, and inherit `__call__`
    from the classes of `keras.initializers` that define one. Others do as they like.
    """
    here = threading.get_ident()
    kinds = [
        kind
        for kind in vars(keras.initializers).values()
        if isinstance(kind, type) and "__call__" in vars(kind) and _is_random(kind)
    ]
    calls = {kind: vars(kind)["__call__"] for kind in kinds}

    def zeros_of(call):
        def initial(self, shape, dtype=None, **kwargs):
            if threading.get_ident() != here:
                return call(self, shape, dtype=dtype, **kwargs)
            return keras.ops.zeros(shape, dtype=dtype or keras.backend.floatx())

        return initial

    for kind, call in calls.items():
        setattr(kind, "__call__", zeros_of(call))  # noqa: B010
    try:
        yield
    finally:
        for kind, call in calls.items():
            setattr(kind, "__call__", call)  # noqa: B010


def _is_random(kind: type) -> bool:
    from keras.src.initializers.random_initializers import RandomInitializer

    return issubclass(kind, RandomInitializer)
