"""What Keras compiled for a model, which has what was no variable then as it was."""

from __future__ import annotations

from collections.abc import Iterable

import keras


def forget_traces(layers: Iterable[keras.Layer]) -> None:
    """Lets Keras trace `fit`, `evaluate` and `predict` anew, for the models among `layers`.

    Their optimizers keep their state.

    Relies on: a Keras model keeps its compiled functions in these attributes and makes them
    where they are `None`.
    """
    for layer in layers:
        if isinstance(layer, keras.Model):
            layer.train_function = layer.test_function = layer.predict_function = None
