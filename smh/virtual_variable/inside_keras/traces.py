"""What Keras compiled for a model, which has what was no variable then as it was."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import keras

_COMPILED = ("train_function", "test_function", "predict_function")
_STATE = tuple(
    f"{kind}_variables" for kind in ("trainable", "non_trainable", "optimizer", "metrics")
)


def forget_traces(layers: Iterable[keras.Layer]) -> None:
    """Lets Keras trace `fit`, `evaluate` and `predict` anew, for the models among `layers`.

    Their optimizers keep their state. A `fit` that is under way, whose callback changes the model,
    goes on with what the next step traces.

    Relies on: a Keras model keeps its compiled functions in these attributes, looks each up again
    for every batch, and `make_train_function` and so on make them where they are `None`.
    """
    for layer in layers:
        for name in _COMPILED if isinstance(layer, keras.Model) else ():
            if getattr(layer, name, None) is not None:
                setattr(layer, name, functools.partial(_traced_anew, layer, name))


def _traced_anew(model: keras.Model, name: str, *args: Any) -> Any:
    """Makes the compiled function, and calls it.

    Relies on: on JAX `fit` hands all numbers to a step, and when that fails gives the model back
    those in `_jax_state`, which are of the variables that were.
    """
    if name == "train_function" and keras.backend.backend() == "jax":
        model._jax_state = dict(zip(_STATE, args[0], strict=True))
    setattr(model, name, None)
    getattr(model, f"make_{name}")()
    return getattr(model, name)(*args)
