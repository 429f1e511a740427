"""Which Keras backend something needs."""

from __future__ import annotations

from smh.errors import GraphModeError


def require_tensorflow(what: str) -> None:
    """Raises if Keras does not run on TensorFlow.

    Args:
        what: what the caller asked for, as it would write it.

    Raises:
        GraphModeError: on another backend, whose variables no TensorFlow scope sees, and whose
            operations no TensorFlow graph takes.
    """
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise GraphModeError(
            f"{what} needs Keras on TensorFlow, and Keras runs on '{backend}' here. Use "
            "smh.compress(model, ...), which works on every backend, or set "
            "KERAS_BACKEND=tensorflow before Keras is imported."
        )
