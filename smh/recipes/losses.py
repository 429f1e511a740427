"""What recipes add to a loss, and a file holds: labels not quite certain, a penalty on weights."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from smh.errors import ArgumentError
from smh.errors.limits import BELOW_1
from smh.virtual_variable.inside_keras import serialization


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
        label_smoothing = BELOW_1.checked(label_smoothing, "label_smoothing")
        super().__init__(name=name, reduction=reduction)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Returns the loss of each example, `[b]`, from labels `[b]` or `[b, 1]` and logits.

        Of labels `[b, t]` and logits `[b, t, classes]` it is that of each step, `[b, t]`.

        Raises:
            ArgumentError: there are more or fewer labels than that; one-hot ones, for example.
        """
        labels, logs = ops.cast(y_true, "int32"), ops.log_softmax(y_pred)  # [b, ..., classes]
        _check_labels(tuple(labels.shape), tuple(logs.shape), self.label_smoothing)
        labels = ops.reshape(labels, (*ops.shape(logs)[:-1], 1))
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


def _check_labels(labels: tuple, logits: tuple, smoothing: float) -> None:
    """Raises unless an example has one label for each of its logits' last axes."""
    given, wanted = labels[1:], logits[1:-1]
    if None not in (*given, *wanted) and math.prod(given) != math.prod(wanted):
        raise ArgumentError(
            f"Labels have to be whole numbers, the index of the class, of shape {logits[:-1]} for "
            f"logits {logits}; got shape {labels}. Of one-hot labels take np.argmax(y, axis=-1), "
            "or the loss keras.losses.CategoricalCrossentropy(from_logits=True, "
            f"label_smoothing={smoothing:g})."
        )


@keras.saving.register_keras_serializable("smh")
class AddedL2(keras.regularizers.Regularizer):
    """`l2` times the squares of a weight, and what its layer asked for before.

    Args:
        l2: at least 0.
        own: the layer's own regularizer, or None.
    """

    def __init__(self, l2: float, own: Any = None):
        self.l2, self.smh_own = l2, keras.regularizers.get(own)

    def __call__(self, weight):
        """Returns the sum of both."""
        squares = self.l2 * ops.sum(ops.square(weight))
        return squares if self.smh_own is None else squares + self.smh_own(weight)

    def get_config(self):
        """Returns what the constructor takes."""
        return {"l2": self.l2, "own": keras.regularizers.serialize(self.smh_own)}

    @classmethod
    def from_config(cls, config):
        """Makes it again; in a model with nothing of smh in it, as Keras' own where that can be."""
        made = cls(**config)
        return _as_keras_own(made) if serialization._plain.get() else made


def _as_keras_own(added: AddedL2) -> keras.regularizers.Regularizer:
    """The sum, if a regularizer of Keras' can be it. While the process lasts it knows its parts."""
    own = added.smh_own
    if own is not None and type(own) not in _OF_KERAS:
        return added
    numbers = {} if own is None else own.get_config()
    total = keras.regularizers.L1L2(numbers.get("l1", 0.0), numbers.get("l2", 0.0) + added.l2)
    total.smh_own = own
    return total


_OF_KERAS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def own_regularizer(regularizer: Any) -> Any:
    """What of a weight's regularizer no recipe has added; None if that is all."""
    return getattr(regularizer, "smh_own", regularizer)
