"""What functions are given: a Keras model, and one that is not deployed."""

from __future__ import annotations

from typing import Any

import keras

from smh.errors import ArgumentError, DeployedModelError
from smh.virtual_variable.inside_keras.deploying import is_deployed
from smh.virtual_variable.inside_keras.traces import take_numbers_back


def check_is_model(model: Any) -> None:
    """Raises `ArgumentError` unless `model` is a Keras 3 model or layer.

    In a callback it also gives the model its numbers, see `take_numbers_back`.
    """
    if not isinstance(model, keras.Layer):
        raise ArgumentError(f"model must be a Keras 3 model or layer, got {type(model).__name__}.")
    take_numbers_back()


def check_not_deployed(model: keras.Layer, before: str) -> None:
    """Raises `DeployedModelError`, which says what has to wait, if `model` is deployed."""
    if is_deployed(model):
        raise DeployedModelError(
            f"'{model.name}' is deployed. Call smh.deploy(model, mode='train') before {before}."
        )
