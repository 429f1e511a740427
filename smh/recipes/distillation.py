"""A compressed student learns what a dense teacher says: `smh.distill`."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from smh.errors import ArgumentError, UnbuiltModelError
from smh.errors.limits import ABOVE_ZERO, SHARE
from smh.recipes.outputs import check_alike, names_of, per_output, spread_weights
from smh.recipes.soft_targets import TARGETS, Output, soft_loss
from smh.virtual_variable import creation_scope, virtual_variables
from smh.virtual_variable.inside_keras.outputs import output_activations, symbolic_output
from smh.virtual_variable.inside_keras.own import stand_around
from smh.virtual_variable.once import check_trainable


def distill(
    student: keras.Model,
    teacher: keras.Model,
    temperature: float = 4.0,
    alpha: float = 0.9,
    *,
    targets: Any = None,
) -> Distiller:
    """Wraps a student so that `fit` trains it with what a teacher says as well.

    Use it where a trained network is to be compressed: few factors fit its weights poorly, so the
    student starts anew, and the teacher's soft targets may tell it more than the labels do. Compare
    on your data: for LeNet-300-100 with 6 % of its numbers (20,000 images of MNIST, 8 epochs, three
    seeds) it gave nothing, 5.8 % errors on validation against 5.7 % without.

    The loss is `(1 - alpha) * loss(labels) + alpha * soft`, plus the penalties of the student's
    layers as they are. With `alpha=1` no labels are needed: `fit(x)`. What `soft` is, depends on
    what the output is:

    | output | told by its loss, else by its last activation | `soft` |
    | --- | --- | --- |
    | classes | a crossentropy over classes; a softmax | `T**2 * KL(teacher / T, student / T)` |
    | bits | a binary crossentropy; a sigmoid | the same for yes or no, mean of the last axis |
    | values | any other | its loss, the teacher's values for labels; without: squares |

    The logits of classes and bits are divided by `T`; chances are made logits first. `T**2` keeps
    both parts in proportion whatever the temperature. Of several outputs the losses are added, with
    the `loss_weights` of `compile`; an output per step is each step's; sample weights and masks
    count as in Keras' own losses.

    Args:
        student: a built model; it is trained in place. Usually compressed. One that says itself
            how it is trained (`train_step`, `compute_loss` and their like) is refused; what its
            layers add by `add_loss` counts.
        teacher: a built model from the same inputs to outputs of the same shapes. It is not
            changed.
        temperature: `T`, above 0. 1 is the teacher's own certainty; 2 to 5 are usual. Values have
            none.
        alpha: share of the teacher, from 0 to 1.
        targets: what the output is, where neither its loss nor its last activation says it
            rightly: "classes", "bits" or "values"; of several outputs a list, or a dict by names.

    Returns:
        A `Distiller`: a Keras model. Compile it with the loss and the metrics of the student, fit,
        evaluate and predict with it. `save` and `save_weights` write the plain student.

    Raises:
        ArgumentError: a value is out of range, the outputs differ in shape, the student has rules
            of its own for a step, the scope of another `tf.distribute` strategy than the student's
            is open, or an output cannot be what its loss makes of it (then `compile` or `fit`
            raises).
        UnbuiltModelError: a model has no weights yet.

    Cost: one more forward pass per step, that of the teacher.

    Example:
        >>> import keras, smh
        >>> teacher = smh.zoo.lenet_300_100()
        >>> student = smh.compress(smh.zoo.lenet_300_100(), fraction=0.05)
        >>> distiller = smh.distill(student, teacher)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> distiller.compile("adam", loss, metrics=["accuracy"])

    Reference: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network",
    arXiv:1503.02531 (2015), section 2; values: J. Ba, R. Caruana, "Do Deep Nets Really Need to be
    Deep?", NIPS 2014.
    """
    for name, model in (("student", student), ("teacher", teacher)):
        _check_model(name, model)
    if student is teacher:
        raise ArgumentError("student and teacher are one model; compress a copy of the teacher.")
    _check_has_no_rules(student)
    said, told = symbolic_output(student), symbolic_output(teacher)
    if said is not None and told is not None:
        check_alike(said, told)
    temperature = ABOVE_ZERO.checked(temperature, "temperature")
    alpha = SHARE.checked(alpha, "alpha")
    for target in keras.tree.flatten(targets):
        if target is not None and target not in TARGETS:
            raise ArgumentError(f"targets must be of {', '.join(TARGETS)}, got {target!r}.")
    with creation_scope(student.trainable_variables):  # a model trains in the scope of its making
        return Distiller(student, teacher, temperature, alpha, targets)


class Distiller(keras.Model):
    """A student with its teacher, made by `distill`.

    Attributes:
        student: what is trained, and saved.
        teacher: gives the soft targets, and stays as it is.
    """

    def __init__(self, student: keras.Model, teacher: keras.Model, temperature, alpha, targets):
        super().__init__(name=f"distill_{student.name}")
        self.student, self.teacher = student, teacher
        self.temperature, self.alpha = temperature, alpha
        self._targets, self._compiled = _Plain(targets), _Plain((None, None))
        self._soft_losses, self._measures = _Plain(None), _Plain(False)
        self.built = True
        for model in (student, teacher):
            stand_around(model, self)

    @property
    def output_names(self):
        """The student's, by which `compile` may name losses."""
        return self.student.output_names

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, **options):
        """Takes what the student would take, as `keras.Model.compile` does.

        Raises:
            ArgumentError: an output cannot be what its loss makes of it.
        """
        self._compiled, self._soft_losses = _Plain((loss, loss_weights)), _Plain(None)
        given = [options.get(name) for name in ("metrics", "weighted_metrics")]
        self._measures = _Plain(any(one is not None for one in keras.tree.flatten(given)))
        if options.get("metrics") is None:
            options["metrics"] = {}  # with none, Keras keeps those of the last `compile`
        if (output := symbolic_output(self.student)) is not None:
            self._soft_losses = _Plain(self._made_soft_losses(output))
        super().compile(optimizer, loss=loss, loss_weights=loss_weights, **options)

    def call(self, inputs, training=None):
        """Returns what the student says."""
        return self.student(inputs, training=training)

    @property
    def trainable_variables(self):
        """The student's: the teacher is not trained, and need not be frozen for that."""
        return self.student.trainable_variables

    @property
    def trainable_weights(self):
        """As `trainable_variables`; TensorFlow's training and the penalties ask for these."""
        return self.student.trainable_weights

    @property
    def non_trainable_variables(self):
        """The student's, and all of the teacher's, which JAX has to be handed."""
        own = {id(v) for v in self.trainable_variables}
        rest = [*self.student.non_trainable_variables, *self.teacher.variables]
        return list({id(v): v for v in rest if id(v) not in own}.values())

    def make_train_function(self, force=False):
        """Makes the compiled step.

        Raises:
            DeployedModelError: the student is deployed, and its weights are copies.
        """
        check_trainable(virtual_variables(self.student))
        return super().make_train_function(force)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Returns the metrics, as `keras.Model.compute_metrics` does.

        Raises:
            ArgumentError: there are metrics and no labels.
        """
        if y is None and self._measures.it:
            raise ArgumentError(_UNLABELLED)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def fit(self, x=None, y=None, *args, sample_weight=None, **options):
        """Trains the student, as `keras.Model.fit` does; with `alpha=1` also without labels.

        Raises:
            ArgumentError: there are metrics, or sample weights, which Keras would drop, and no
                labels.
        """
        self._check_labels(x, y, sample_weight)
        return super().fit(x, y, *args, sample_weight=sample_weight, **options)

    def evaluate(self, x=None, y=None, *args, sample_weight=None, **options):
        """Evaluates the student on labels, or where there are none, on what the teacher says.

        Raises:
            ArgumentError: as `fit`.
        """
        self._check_labels(x, y, sample_weight)
        return super().evaluate(x, y, *args, sample_weight=sample_weight, **options)

    def _check_labels(self, x: Any, y: Any, sample_weight: Any) -> None:
        _check_weights(y, sample_weight)
        are_arrays = all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(x))
        if y is None and are_arrays and self._measures.it:
            raise ArgumentError(_UNLABELLED)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss that `distill` states, or that of the labels when not training.

        Raises:
            ArgumentError: there are no labels, or no loss for them, and `alpha` is below 1.
        """
        labels = y is not None and self._compiled.it[0] is not None
        if not labels and self.alpha < 1:
            lacking = "no labels" if y is None else "no loss for them in `compile`"
            raise ArgumentError(
                f"alpha={self.alpha} leaves {1 - self.alpha:.3g} of the loss to the labels, and "
                f"there are {lacking}. Give them, or use smh.distill(..., alpha=1)."
            )
        sample_weight = spread_weights(sample_weight, y_pred, self._names(y_pred))
        if labels:
            total = super().compute_loss(x, y, y_pred, sample_weight, training=training)
            if not training or not self.alpha:
                return total
        penalties = self.losses
        penalty = (
            ops.sum(ops.stack([ops.cast(p, "float32") for p in penalties])) if penalties else 0.0
        )
        soft = self._soft_loss(x, y_pred, sample_weight)
        if self.alpha == 1:
            return penalty + soft
        return penalty + (1 - self.alpha) * (total - penalty) + self.alpha * soft

    def _soft_loss(self, x: Any, said: Any, sample_weight: Any) -> Any:
        told = keras.tree.map_structure(ops.stop_gradient, self.teacher(x, training=False))
        check_alike(said, told)
        if self._soft_losses.it is None:
            self._soft_losses = _Plain(self._made_soft_losses(said))
        weights = per_output(sample_weight, said, self._names(said))
        parts = [
            share * loss(a, b, weight)
            for (loss, share), a, b, weight in zip(
                self._soft_losses.it,
                keras.tree.flatten(told),
                keras.tree.flatten(said),
                weights,
                strict=True,
            )
            if loss is not None
        ]
        return ops.sum(ops.stack(parts))

    def _made_soft_losses(self, said: Any) -> list[tuple[keras.losses.Loss | None, float]]:
        """Loss and share of each output; no loss where the user gave others one, and this none."""
        names, flat = self._names(said), keras.tree.flatten(said)
        given, given_weights = (per_output(part, said, names) for part in self._compiled.it)
        targets = per_output(self._targets.it, said, names)
        unknown = [None] * len(flat)
        activations = [output_activations(m) or unknown for m in (self.student, self.teacher)]
        made = []
        for i, (name, output) in enumerate(zip(names, flat, strict=True)):
            loss = keras.losses.get(given[i])
            known = Output(
                name, output.shape[-1], loss, activations[0][i], activations[1][i], targets[i]
            )
            share = 1.0 if given_weights[i] is None else float(given_weights[i])
            left_out = loss is None and any(other is not None for other in given)
            made.append((None if left_out else soft_loss(known, self.temperature), share))
        return made

    def _names(self, said: Any) -> list[str]:
        return names_of(said, getattr(self.student, "output_names", None))

    def save(self, filepath, overwrite=True, **options):
        """Saves the plain student, so that a file needs neither teacher nor distiller."""
        self.student.save(filepath, overwrite=overwrite, **options)

    def save_weights(self, filepath, overwrite=True, **options):
        """Saves the student's weights."""
        self.student.save_weights(filepath, overwrite=overwrite, **options)

    def load_weights(self, filepath, **options):
        """Loads the student's weights."""
        self.student.load_weights(filepath, **options)


def _check_model(name: str, model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"{name} must be a keras.Model, got {type(model).__name__}.")
    if not model.built:
        raise UnbuiltModelError(
            f"The {name} '{model.name}' has no weights yet. Build it, or call it once."
        )


_UNLABELLED = (
    "The metrics of `compile` need labels, and there are none. Compile without metrics, and "
    "measure the student: `student.compile(loss=..., metrics=...)`, `student.evaluate(x, labels)`."
)
# What Keras lets a model say for itself of a step, and a Distiller does in its own way.
_RULES = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


def _check_has_no_rules(student: keras.Model) -> None:
    own = [
        name
        for name in _RULES
        if getattr(getattr(student, name), "__func__", None) is not getattr(keras.Model, name)
    ]
    if own:
        raise ArgumentError(
            f"The student '{student.name}' ({type(student).__name__}) has its own "
            f"{' and '.join(own)}, and a Distiller makes its steps without. Say the same by the "
            "loss and the metrics of its compile, or by add_loss of a layer. Or do without: "
            "smh.distill(keras.Model(student.input, student.output), teacher) trains the same "
            "weights, if the student is functional."
        )


def _check_weights(y: Any, sample_weight: Any) -> None:
    if sample_weight is not None and y is None:
        raise ArgumentError(
            "Keras drops sample weights where there are no labels. Give some, for example "
            "y=np.zeros(len(x)), and no loss in `compile`: with alpha=1 they count for nothing."
        )


class _Plain:
    """Keeps Keras from tracking, and copying, what an attribute holds."""

    def __init__(self, it: Any):
        self.it = it
