"""Back to a plain Keras model: `smh.materialize`."""

from __future__ import annotations

import keras

from smh.doors.remaking import remade
from smh.errors import UnbuiltModelError
from smh.virtual_variable.given import check_is_model


def materialize(model: keras.Model) -> keras.Model:
    """Returns a new plain Keras model with dense weights and no smh in it.

    Use it to hand a model to tools that know nothing of smh, or to change weights one by one.
    The given model is unchanged. Neither optimizer nor compilation is carried over.

    Args:
        model: a built model, compressed or not.

    Returns:
        A model of the same class and configuration, whose predictions are equal.

    Raises:
        ArgumentError: if the model cannot be rebuilt from its own configuration; a subclassed
            model needs `get_config`.

    Cost: the dense weights once more in memory.

    Example:
        >>> plain = smh.materialize(smh.compress(model, fraction=0.1))
        >>> plain.save("plain.keras")
    """
    check_is_model(model)
    if not model.built:
        raise UnbuiltModelError(f"'{model.name}' is not built: there are no weights to copy.")
    return remade(model)
