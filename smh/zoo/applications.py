"""The models of `keras.applications`, without trained weights, from images in [0, 1] to logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from smh.typing import Shape

_RESOLUTIONS = {"EfficientNetB7": 600}  # the others are in `mobile`


def application(name: str, input_shape: Shape | None, classes: int) -> keras.Model:
    """Builds one of them.

    Those that would scale bytes themselves are built without that, or are given bytes.

    Args:
        name: as Keras writes it, for example "DenseNet121".
        input_shape: shape of one image, `(height, width, channels)`; None for the model's own.
        classes: number of logits.

    Returns:
        A built, uncompiled model from images in [0, 1] to logits, with weights drawn at random.
    """
    build: Callable[..., keras.Model] = getattr(keras.applications, name)
    known = inspect.signature(build).parameters
    options: dict[str, Any] = {"weights": None, "classes": classes, "classifier_activation": None}
    if "include_preprocessing" in known:
        options["include_preprocessing"] = False
    if _divides(name):
        size = _RESOLUTIONS.get(name, 224)
        inputs = keras.Input(input_shape or (size, size, 3))
        model = build(input_tensor=layers.Rescaling(255.0, name="to_bytes")(inputs), **options)
        # Keras makes a list of its one input, and would warn at each call with an array.
        return keras.Model(inputs, model.outputs[0], name=model.name)
    return build(input_shape=input_shape, **options)


def _divides(name: str) -> bool:
    """Whether the model divides by 255 and cannot be told not to."""
    return name.startswith("EfficientNetB")
