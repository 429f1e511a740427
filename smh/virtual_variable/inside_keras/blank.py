"""A model that is made only to be looked at: its variables have shapes and no values."""

from __future__ import annotations

import contextlib
import random
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
