"""Whether there is a model, with weights, to act on."""

from __future__ import annotations

from typing import Any

import keras

from smh.errors import UnbuiltModelError
from smh.virtual_variable import own_layers
from smh.virtual_variable.given import check_is_model


def check_is_built(model: Any) -> list[keras.Layer]:
    """Returns the layers of `model` that are not built yet; most often there are none.

    Raises:
        ArgumentError: `model` is no Keras 3 model or layer.
        UnbuiltModelError: it has no weights yet.
    """
    check_is_model(model)
    unbuilt = [layer for layer in own_layers(model) if not layer.built]
    if not model.built or (unbuilt and not model.variables):
        raise UnbuiltModelError(
            f"'{model.name}' is not built, so it has no weights yet. Start it with "
            "keras.Input(shape), call model.build(input_shape), or call it once on data."
        )
    return unbuilt
