"""Models by name, for the command line and for scripts."""

from __future__ import annotations

import importlib

import keras

from smh.errors import ArgumentError
from smh.typing import Shape
from smh.zoo.applications import application
from smh.zoo.known import OWN, check_name


def build(name: str, input_shape: Shape | None = None, classes: int | None = None) -> keras.Model:
    """Builds a model by its name, with weights drawn at random.

    Args:
        name: one of `names()`.
        input_shape: shape of one image, `(height, width, channels)`; None for what the model is
            made for.
        classes: number of logits; None for 10 or 1000, as the model is published.

    Returns:
        A built, uncompiled model from images `[b, *input_shape]` in [0, 1] to logits
        `[b, classes]`.

    Raises:
        ArgumentError: nothing has this name, or the model cannot take such images.

    Cost: four bytes for each number: 550 MB for VGG-16.

    Example:
        >>> from smh import zoo
        >>> zoo.build("lenet_5", (32, 32, 3), classes=7).output_shape
        (None, 7)
    """
    check_name(name)
    if input_shape is not None and not _are_sizes(input_shape):
        raise ArgumentError(
            f"input_shape must be (height, width, channels), each at least 1, got {input_shape!r}."
        )
    if classes is not None and not _are_sizes((classes,)):
        raise ArgumentError(f"classes must be a whole number, at least 1, got {classes!r}.")
    try:
        if name not in OWN:
            model = application(name, input_shape and tuple(input_shape), classes or 1000)
            return _with_places(model)
        given = {"input_shape": input_shape and tuple(input_shape), "classes": classes}
        function = getattr(importlib.import_module(f"smh.zoo.{OWN[name]}"), name)
        return _with_places(function(**{option: value for option, value in given.items() if value}))
    except ValueError as error:
        raise ArgumentError(
            f"{name} cannot be built for images of shape {input_shape}: {error}"
        ) from error


def _with_places(model: keras.Model) -> keras.Model:
    """Raises if a layer has no place left to look at: some versions of Keras let that pass."""
    for layer in model.layers:
        for tensor in keras.tree.flatten(layer.output):
            if 0 in tensor.shape:
                raise ValueError(f"'{layer.name}' has outputs of shape {tuple(tensor.shape)}")
    return model


def _are_sizes(sizes) -> bool:
    try:
        return all(isinstance(n, int) and n > 0 for n in sizes)
    except TypeError:
        return False
