"""What Keras keeps for the whole process: the call in progress, name scopes, files being read."""

from __future__ import annotations

from typing import Any


def global_attribute(name: str) -> Any:
    """Returns what Keras keeps under `name`, or `None` if there is nothing.

    Relies on: `keras.src.backend.common.global_state` holds it, for each thread by itself.
    """
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute(name)
