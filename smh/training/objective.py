"""What a model is trained for: a loss for each output, chosen by its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.datasets import Dataset
from smh.datasets.dataset import map_arrays
from smh.errors import ArgumentError
from smh.recipes import SmoothedCrossentropy, compile_for_training
from smh.training.data import by_output
from smh.training.kinds import Kind, kind_of

_EXAMPLES = 64  # that decide whether outputs are probabilities


@keras.saving.register_keras_serializable("smh")
def sign_accuracy(y_true, y_pred):
    """Whether logits above zero are where labels are one; Keras' thresholds are above 0 only."""
    return ops.cast(ops.equal(ops.reshape(y_true, ops.shape(y_pred)) > 0, y_pred > 0), "float32")


@dataclass(frozen=True)
class Objective:
    """What each output of a model tells.

    Attributes:
        names: of the outputs.
        kinds: what each of them tells.
        outputs: what the model returned for some examples, nested as it does.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    outputs: Any

    @classmethod
    def of(cls, model: keras.Model, data: Dataset) -> Objective:
        """Looks at some examples; raises `ArgumentError` if outputs and labels do not fit."""
        outputs = model.predict_on_batch(map_arrays(_few, data.x_train))
        found = by_output(model, outputs, data.y_train)
        kinds = tuple(kind_of(name, np.asarray(one, "float64"), y) for name, one, y in found)
        return cls(tuple(name for name, _, _ in found), kinds, outputs)

    @property
    def in_words(self) -> str:
        """What is minimised, for a user."""
        if len(self.kinds) == 1:
            return self.kinds[0].in_words
        each = zip(self.names, self.kinds, strict=True)
        return "; ".join(f"{name}: {kind.in_words}" for name, kind in each)

    def labels(self, data: Dataset) -> Dataset:
        """The data with labels nested as the outputs are, which is how Keras pairs them."""
        if len(self.kinds) == 1:
            return data
        parts = [part for part in ("train", "test", "validation") if _has(data, part)]
        return replace(data, **{f"y_{part}": self._packed(data, part) for part in parts})

    def _packed(self, data: Dataset, part: str) -> Any:
        y = getattr(data, f"y_{part}")
        flat = [y[name] for name in self.names] if isinstance(y, Mapping) else list(y)
        return keras.tree.pack_sequence_as(self.outputs, flat)

    def compile(self, model: keras.Model, steps: int, *, label_smoothing: float = 0.0, **options):
        """Compiles a model for it, as `smh.recipes.compile_for_training` does.

        Raises:
            ArgumentError: as there; or smoothed labels are asked for where there are no classes.
        """
        classes = [kind == Kind("classes") for kind in self.kinds]
        if label_smoothing and not all(classes):
            raise ArgumentError(
                f"label_smoothing={label_smoothing} is for classes from logits; here it is "
                f"{self.in_words}."
            )
        losses = [_loss(kind, label_smoothing) for kind in self.kinds]
        metrics = [[_metric(kind)] for kind in self.kinds]
        if len(losses) == 1:
            return compile_for_training(model, steps, loss=losses[0], metrics=metrics[0], **options)
        loss = keras.tree.pack_sequence_as(self.outputs, losses)
        named = isinstance(loss, dict)
        measured = dict(zip(self.names, metrics, strict=True)) if named else metrics
        return compile_for_training(model, steps, loss=loss, metrics=measured, **options)


def _loss(kind: Kind, label_smoothing: float) -> keras.losses.Loss:
    if kind.what == "numbers":
        return keras.losses.MeanSquaredError()
    if kind.what in ("pair", "labels"):
        return keras.losses.BinaryCrossentropy(from_logits=kind.logits)
    if kind.logits:
        return SmoothedCrossentropy(label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy()


def _metric(kind: Kind) -> keras.metrics.Metric:
    if kind.what == "numbers":
        return keras.metrics.MeanAbsoluteError(name="mae")
    if kind.what == "classes":
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if kind.logits:
        return keras.metrics.MeanMetricWrapper(sign_accuracy, name="accuracy")
    return keras.metrics.BinaryAccuracy(name="accuracy")


def _few(array: np.ndarray) -> np.ndarray:
    taken = array[:_EXAMPLES]
    images = taken.dtype == np.uint8 and taken.ndim == 4
    return taken.astype("float32") / 255 if images else taken


def _has(data: Dataset, part: str) -> bool:
    return getattr(data, f"y_{part}") is not None
