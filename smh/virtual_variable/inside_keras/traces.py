"""What Keras compiled for a model, which has what was no variable then as it was."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from typing import Any

import keras

# The state that a compiled function takes on JAX.
_STATES = {
    "train_function": ("trainable", "non_trainable", "optimizer", "metrics"),
    "test_function": ("trainable", "non_trainable", "metrics"),
    "predict_function": ("trainable", "non_trainable"),
}
_RUNS = ("fit", "evaluate", "predict")


def models_running() -> list[Any]:
    """The models whose `fit`, `evaluate` or `predict` is under way in this thread: callbacks act.

    Relies on: these are methods in Python, whose frames hold the model as `self`.
    """
    found: list[Any] = []
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in _RUNS and isinstance(frame.f_locals.get("self"), keras.Model):
            found.append(frame.f_locals["self"])
        frame = frame.f_back
    return found


def is_running(model: Any) -> bool:
    """Whether `fit`, `evaluate` or `predict` of the model itself is under way."""
    return any(one is model for one in models_running())


def take_numbers_back() -> None:
    """Gives models that are running their numbers, which a callback is about to use.

    Relies on: on JAX a model's variables are empty while it runs, until this method is called, as
    Keras does where a callback asks for `self.model`. Only models on JAX have the method.
    """
    for model in models_running():
        if hasattr(model, "jax_state_sync"):
            model.jax_state_sync()


def forget_traces(layers: Iterable[keras.Layer]) -> None:
    """Lets Keras trace `fit`, `evaluate` and `predict` anew, for the models among `layers`.

    Their optimizers keep their state. What is under way, and changed by a callback, goes on with
    what its next step traces.

    Relies on: a Keras model keeps its compiled functions in these attributes, looks each up again
    for every batch, and `make_train_function` and so on make them where they are `None`.
    """
    for layer in layers:
        if isinstance(layer, keras.Model):
            running = is_running(layer)
            for name in _STATES:
                made = functools.partial(_make_and_call, layer, name) if running else None
                setattr(layer, name, made)


def _make_and_call(model: keras.Model, name: str, *args: Any) -> Any:
    """Stands in for a compiled function until its first call, which makes the function.

    Relies on: on JAX the numbers of all variables are handed to a step, and the model gets those
    in `_jax_state` when the step fails, or when the data end. There they are of the variables
    before the change.
    """
    if keras.backend.backend() == "jax":
        names = [f"{kind}_variables" for kind in _STATES[name]]
        model._jax_state = dict(zip(names, args[0], strict=True))
    setattr(model, name, None)
    getattr(model, f"make_{name}")()
    return getattr(model, name)(*args)
