"""Layers that were made in a `keras.RematScope`, and are computed anew for the gradient.

Relies on: `Layer.__call__` reads `_remat_mode`, the scope that the layer was made in. Under it
`call` runs in a trace of `jax.checkpoint`, or in `tf.recompute_grad`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import keras


def is_rematerialised(layer: keras.Layer) -> bool:
    """Whether a layer was made in such a scope."""
    return getattr(layer, "_remat_mode", None) is not None


@contextlib.contextmanager
def not_rematerialised(layers: Iterable[keras.Layer]) -> Iterator[None]:
    """Inside, layers made in such a scope run as others do: what they get has values.

    Models of modes `"full"` and `"larger_than"` cannot `predict` at all in Keras 3.15.
    """
    before = {layer: getattr(layer, "_remat_mode", None) for layer in layers}
    for layer in before:
        layer.__dict__["_remat_mode"] = None
    try:
        yield
    finally:
        for layer, mode in before.items():
            layer.__dict__["_remat_mode"] = mode
