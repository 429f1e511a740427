"""Whether operations are recorded for gradients at this moment."""

from __future__ import annotations

import keras


def is_stopped() -> bool:
    """Whether nothing is recorded now, whatever tapes there are.

    So it is inside a function that `tf.recompute_grad` wraps (`keras.remat` does) while it runs
    forward: it is run again, and recorded, when the gradient is asked for. There the gradient
    reaches arguments, and the variables that the function reads, but no tensor from outside.

    Relies on: `tf.recompute_grad` runs its function under `stop_recording`, which sets this flag of
    TensorFlow's. JAX and PyTorch hand gradients on to tensors from outside.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    from tensorflow.python import pywrap_tfe

    return bool(pywrap_tfe.TFE_Py_TapeSetIsStopped())
