"""What a teacher's outputs are to a student: chances of classes, chances of bits, or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import losses, ops

from smh.errors import ArgumentError
from smh.recipes.losses import SmoothedCrossentropy

TARGETS = ("classes", "bits", "values")
_LOSSES = {
    "classes": (
        *(losses.CategoricalCrossentropy, losses.SparseCategoricalCrossentropy),
        *(losses.CategoricalFocalCrossentropy, losses.KLDivergence, SmoothedCrossentropy),
        *(losses.categorical_crossentropy, losses.sparse_categorical_crossentropy),
        *(losses.categorical_focal_crossentropy, losses.kl_divergence),
    ),
    "bits": (
        *(losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy),
        *(losses.binary_crossentropy, losses.binary_focal_crossentropy),
    ),
    "values": (
        *(losses.MeanSquaredError, losses.MeanAbsoluteError, losses.Huber, losses.LogCosh),
        *(losses.MeanAbsolutePercentageError, losses.MeanSquaredLogarithmicError),
        *(losses.CosineSimilarity, losses.Poisson),
        *(losses.mean_squared_error, losses.mean_absolute_error, losses.huber, losses.log_cosh),
        *(losses.mean_absolute_percentage_error, losses.mean_squared_logarithmic_error),
        *(losses.cosine_similarity, losses.poisson),
    ),
}
_BY_ACTIVATION = {"softmax": "classes", "sigmoid": "bits", "linear": "values"}


@dataclass(frozen=True)
class Output:
    """One output of a student and its teacher.

    Attributes:
        name: for messages.
        width: its last axis, or None where it is not known.
        loss: what the student is compiled with for it, as Keras resolves it; or None.
        student: "softmax", "sigmoid" or "linear", or None where it is not known; its last
            activation.
        teacher: the same of the teacher.
        target: what the user says it is, one of `TARGETS`, or None.
    """

    name: str
    width: int | None
    loss: Any
    student: str | None
    teacher: str | None
    target: str | None


def soft_loss(output: Output, temperature: float) -> keras.losses.Loss:
    """Returns the loss of a student's output, with that of the teacher in the place of labels.

    Raises:
        ArgumentError: the output cannot be what it is said to be.
    """
    kind = output.target or _by_loss(output.loss)
    student = output.student or _by_from_logits(output.loss, kind) or "linear"
    teacher = output.teacher or student
    kind = kind or _BY_ACTIVATION[student]
    reduction = getattr(output.loss, "reduction", "sum_over_batch_size")
    if kind == "values":
        return TeachersValues(output.loss if _by_loss(output.loss) == kind else None, reduction)
    _check(output, kind, student, teacher)
    return {"classes": ClassesOfTeacher, "bits": BitsOfTeacher}[kind](
        temperature, student != "linear", teacher != "linear", reduction
    )


class ClassesOfTeacher(keras.losses.Loss):
    """`T**2 * KL(softmax(teacher / T) || softmax(student / T))` over the last axis.

    Args:
        temperature: `T`.
        student_chances: whether the student gives chances, after a softmax, and not logits.
        teacher_chances: the same of the teacher.
        reduction: as in `keras.losses.Loss`.
    """

    def __init__(self, temperature, student_chances, teacher_chances, reduction):
        super().__init__(name="classes_of_teacher", reduction=reduction)
        self.temperature = temperature
        self.student_chances, self.teacher_chances = student_chances, teacher_chances

    def call(self, y_true, y_pred):
        """Returns the divergence `[b, ...]` of outputs `[b, ..., classes]`."""
        told = ops.log_softmax(self._logits(y_true, self.teacher_chances) / self.temperature)
        said = ops.log_softmax(self._logits(y_pred, self.student_chances) / self.temperature)
        return self.temperature**2 * ops.sum(ops.exp(told) * (told - said), axis=-1)

    def _logits(self, output: Any, chances: bool) -> Any:
        # Logarithms of chances are logits: a softmax does not see what is added to all of them.
        return ops.log(ops.maximum(output, keras.config.epsilon())) if chances else output


class BitsOfTeacher(ClassesOfTeacher):
    """The same for yes or no: each number is one chance; their mean over the last axis."""

    def call(self, y_true, y_pred):
        """Returns the divergence `[b, ...]` of outputs `[b, ..., bits]`."""
        told = _with_axis(self._logits(y_true, self.teacher_chances)) / self.temperature
        said = _with_axis(self._logits(y_pred, self.student_chances)) / self.temperature
        yes = ops.log_sigmoid(told) - ops.log_sigmoid(said)
        no = ops.log_sigmoid(-told) - ops.log_sigmoid(-said)
        divergence = ops.sigmoid(told) * yes + ops.sigmoid(-told) * no
        return self.temperature**2 * ops.mean(divergence, axis=-1)

    def _logits(self, output: Any, chances: bool) -> Any:
        if not chances:
            return output
        chance = ops.clip(output, keras.config.epsilon(), 1 - keras.config.epsilon())
        return ops.log(chance) - ops.log1p(-chance)


class TeachersValues(keras.losses.Loss):
    """The student's own loss, the teacher's values for labels; without one mean squares.

    Args:
        loss: a loss of values, or None.
        reduction: as in `keras.losses.Loss`.
    """

    def __init__(self, loss: Any, reduction):
        super().__init__(name="teachers_values", reduction=reduction)
        self.of = getattr(loss, "call", loss) or losses.mean_squared_error

    def call(self, y_true, y_pred):
        """Returns the loss `[b, ...]` of outputs `[b, ..., values]`."""
        return self.of(_with_axis(y_true), _with_axis(y_pred))


def _with_axis(output: Any) -> Any:
    return ops.expand_dims(output, -1) if len(output.shape) == 1 else output


def _by_loss(loss: Any) -> str | None:
    for kind, known in _LOSSES.items():
        classes = tuple(k for k in known if isinstance(k, type))
        if isinstance(loss, classes) or any(loss is k for k in known):
            return kind
    return None


def _by_from_logits(loss: Any, kind: str | None) -> str | None:
    """What a model gives whose loss is known, and whose layers are not."""
    if isinstance(loss, SmoothedCrossentropy) or kind not in ("classes", "bits"):
        return None
    # A loss of Keras' that wraps a function keeps its arguments in its config.
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    chances = {"classes": "softmax", "bits": "sigmoid"}[kind]
    return "linear" if config.get("from_logits") else chances


def _check(output: Output, kind: str, student: str, teacher: str) -> None:
    where = f"Output '{output.name}'"
    if kind == "classes" and output.width == 1:
        raise ArgumentError(
            f"{where} has one number, and a softmax over one number is always 1: nothing would be "
            "trained. If it is the chance of one of two classes, use BinaryCrossentropy, or "
            "targets='bits'; if a quantity, a loss such as 'mse', or targets='values'."
        )
    wrong = {"classes": "sigmoid", "bits": "softmax"}[kind]
    for who, activation in (("student", student), ("teacher", teacher)):
        if activation == wrong:
            raise ArgumentError(
                f"{where} of the {who} went through a {wrong}, and its targets would be {kind}. "
                "Choose a loss that fits, or say what it is: targets='classes' (a softmax over the "
                "last axis), 'bits' (a sigmoid of each number) or 'values'."
            )
