"""Cross-entropy on labels that are not quite certain."""

from __future__ import annotations

import keras
from keras import ops

from smh.errors import ArgumentError


@keras.saving.register_keras_serializable("smh")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with integer labels, smoothed.

    Keras smooths one-hot labels only. Each label counts `1 - label_smoothing`, and all classes
    together, its own too, count `label_smoothing`.

    Args:
        label_smoothing: at least 0 and below 1; 0.1 is usual.
        reduction: as in `keras.losses.Loss`.
        name: as in `keras.losses.Loss`.

    Raises:
        ArgumentError: `label_smoothing` is out of range.

    Example:
        >>> from smh.recipes import SmoothedCrossentropy
        >>> round(float(SmoothedCrossentropy(0.1)([1], [[0.0, 2.0]])), 4)
        0.2269

    Reference: C. Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        reduction: str = "sum_over_batch_size",
        name: str = "smoothed_crossentropy",
    ):
        if not isinstance(label_smoothing, (int, float)) or not 0 <= label_smoothing < 1:
            raise ArgumentError(
                f"label_smoothing must be at least 0 and below 1, got {label_smoothing!r}."
            )
        super().__init__(name=name, reduction=reduction)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Returns the loss of each example, `[b]`, from labels `[b]` or `[b, 1]` and logits.

        Of labels `[b, t]` and logits `[b, t, classes]` it is that of each step, `[b, t]`.
        """
        logs = ops.log_softmax(y_pred)  # [b, ..., classes]
        labels = ops.reshape(ops.cast(y_true, "int32"), (*ops.shape(logs)[:-1], 1))
        own = ops.squeeze(ops.take_along_axis(logs, labels, axis=-1), -1)
        smoothing = self.label_smoothing
        return -(1 - smoothing) * own - smoothing * ops.mean(logs, axis=-1)

    def get_config(self):
        """Returns what the constructor takes."""
        return {
            "label_smoothing": self.label_smoothing,
            "reduction": self.reduction,
            "name": self.name,
        }
