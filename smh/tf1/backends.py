"""Which Keras backend something needs."""

from __future__ import annotations

from smh.errors import GraphModeError

EVERYWHERE = "Use smh.compress(model, ...), which works on every backend, or set"


def require_tensorflow(what: str, instead: str = EVERYWHERE) -> None:
    """Raises if Keras does not run on TensorFlow.

    Args:
        what: what the caller asked for, as it would write it.
        instead: what can be done, before "KERAS_BACKEND=tensorflow before Keras is imported".

    Raises:
        GraphModeError: on another backend, whose variables no TensorFlow scope sees, and whose
            operations no TensorFlow graph takes.
    """
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise GraphModeError(
            f"{what} needs Keras on TensorFlow, and Keras runs on '{backend}' here. {instead} "
            "KERAS_BACKEND=tensorflow before Keras is imported."
        )
