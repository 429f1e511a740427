"""The masks that Keras' layers give their outputs, which a transformation of JAX loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


def masks_of(nest: Any) -> list[Any]:
    """Returns the mask of each tensor, flat; `None` of those that have none.

    Relies on: Keras' losses and metrics ask these functions for the mask of an output.
    """
    from keras.src.backend.common.masking import get_keras_mask

    return [get_keras_mask(tensor) for tensor in keras.tree.flatten(nest)]


def set_masks(nest: Any, masks: Sequence[Any]) -> None:
    """Gives tensors what `masks_of` has found on others."""
    from keras.src.backend.common.masking import set_keras_mask

    for tensor, mask in zip(keras.tree.flatten(nest), masks, strict=True):
        if mask is not None:
            set_keras_mask(tensor, mask)
