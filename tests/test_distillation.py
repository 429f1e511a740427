"""A student learns from a teacher by unmodified `fit`, and is saved as the plain student."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import mlp, numpy_of

import smh
from smh.errors import ArgumentError, DeployedModelError, UnbuiltModelError

pytestmark = pytest.mark.backend_agnostic
T, ALPHA = 3.0, 0.7


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def data(n=40):
    random = np.random.default_rng(0)
    return random.normal(size=(n, 12)).astype("float32"), random.integers(0, 3, n)


def normalised(width=24):
    """A teacher with statistics, dropout and a penalty, all of which must stay out of it."""
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(width, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_the_loss_is_that_of_the_paper():
    """Against NumPy, with sample weights and a penalty of the student's."""
    student, teacher = smh.compress(mlp(), 0.5, seed=0), normalised()
    smh.recipes.penalise_weights(student, 0.01)
    distiller = smh.distill(student, teacher, T, ALPHA)
    distiller.compile(keras.optimizers.SGD(0.0), crossentropy())
    x, y = data()
    weights = np.random.default_rng(1).random(40).astype("float32")
    s, t = (ops.convert_to_numpy(model(x)).astype("float64") for model in (student, teacher))
    hard = -np.log(softmax(s)[np.arange(40), y])
    p, q = softmax(t / T), softmax(s / T)
    soft = T**2 * (p * (np.log(p) - np.log(q))).sum(-1)
    squares = sum(float(ops.sum(ops.square(layer.kernel))) for layer in student.layers
                  if hasattr(layer, "kernel"))  # fmt: skip
    expected = np.mean(weights * ((1 - ALPHA) * hard + ALPHA * soft)) + 0.01 * squares
    history = distiller.fit(x, y, sample_weight=weights, batch_size=40, verbose=0).history
    np.testing.assert_allclose(history["loss"][0], expected, rtol=1e-4)
    # Evaluation is on the labels alone.
    measured = distiller.evaluate(x, y, batch_size=40, verbose=0)
    np.testing.assert_allclose(measured, hard.mean() + 0.01 * squares, rtol=1e-4)


def test_only_the_student_is_trained_and_the_teacher_stays_as_it_is():
    student, teacher = smh.compress(mlp(), 0.5, seed=0), normalised()
    trainable = [v.trainable for v in teacher.variables]
    before = [np.array(w) for w in teacher.get_weights()]
    ours = [np.array(w) for w in student.get_weights()]
    distiller = smh.distill(student, teacher)
    distiller.compile("adam", crossentropy(), metrics=["accuracy"])
    distiller.fit(*data(), epochs=2, verbose=0)
    assert [id(v) for v in distiller.trainable_variables] == [
        id(v) for v in student.trainable_variables
    ]
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [v.trainable for v in teacher.variables] == trainable
    assert any(not np.array_equal(a, b) for a, b in zip(ours, student.get_weights(), strict=True))


def test_a_student_learns_what_only_the_teacher_knows():
    """All labels are 0; the teacher says otherwise."""
    keras.utils.set_random_seed(3)
    student, teacher = smh.compress(mlp(), 0.5, seed=0), normalised()
    teacher.layers[-1].kernel.assign(8 * ops.convert_to_numpy(teacher.layers[-1].kernel))
    x, y = data(200)
    told = ops.convert_to_numpy(teacher(x)).argmax(-1)
    distiller = smh.distill(student, teacher, 2.0, alpha=1.0)
    distiller.compile(keras.optimizers.Adam(0.03), crossentropy())

    def agreement():
        return np.mean(student.predict(x, verbose=0).argmax(-1) == told)

    assert agreement() < 0.7
    distiller.fit(x, 0 * y, epochs=60, verbose=0)
    assert agreement() > 0.9
    np.testing.assert_array_equal(distiller.predict(x, verbose=0), student.predict(x, verbose=0))


def test_what_is_saved_is_the_plain_student(tmp_path):
    student, teacher = smh.compress(mlp(), 0.5, seed=0), normalised()
    distiller = smh.distill(student, teacher)
    distiller.compile("adam", crossentropy())
    x, y = data()
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "student.keras")
    distiller.fit(x, y, verbose=0, callbacks=[keep])
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert type(loaded) is not smh.recipes.distillation.Distiller
    assert len(loaded.variables) == len(student.variables)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), student.predict(x, verbose=0), rtol=1e-6
    )
    distiller.save_weights(tmp_path / "all.weights.h5")
    other = smh.distill(smh.compress(mlp(), 0.5, seed=1), teacher)
    other.load_weights(tmp_path / "all.weights.h5")
    np.testing.assert_allclose(
        other.predict(x, verbose=0), student.predict(x, verbose=0), rtol=1e-6
    )


CHANGES = {
    "pruned": lambda student, teacher: smh.prune(student, 0.7),
    "compressed": lambda student, teacher: smh.compress(student, 0.3),
    "in another": lambda student, teacher: smh.compress(
        keras.Sequential([student, layers.Softmax()]), 0.3
    ),
    "streamed": lambda student, teacher: smh.deploy(smh.prune(student, 0.5), "stream"),
    "teacher clustered": lambda student, teacher: smh.cluster(teacher, 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_while_a_distiller_is_compiled_is_what_it_trains(change):
    student, teacher = mlp(), normalised()
    distiller = smh.distill(student, teacher, alpha=1)
    distiller.compile("adam")
    x, y = data()
    distiller.fit(x, verbose=0)
    distiller.evaluate(x, verbose=0)
    CHANGES[change](student, teacher)
    before = [ops.convert_to_numpy(v) for v in student.trainable_variables]
    said = distiller.predict(x, verbose=0)
    np.testing.assert_allclose(said, student.predict(x, verbose=0), atol=1e-6)
    fresh = smh.distill(student, teacher, alpha=1)
    fresh.compile()
    loss = fresh.evaluate(x, verbose=0)
    np.testing.assert_allclose(distiller.evaluate(x, verbose=0), loss, rtol=1e-5)
    distiller.fit(x, verbose=0)
    after = [ops.convert_to_numpy(v) for v in student.trainable_variables]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))
    steps = int(distiller.optimizer.iterations)
    assert steps == (4 if change == "teacher clustered" else 2)  # its own variables are the same


def test_a_deployed_student_is_not_trained():
    student = smh.compress(mlp(), 0.3)
    distiller = smh.distill(student, normalised(), alpha=1)
    distiller.compile("adam")
    x, _ = data()
    distiller.fit(x, verbose=0)
    smh.deploy(student, "cached")
    with pytest.raises(DeployedModelError):
        distiller.fit(x, verbose=0)
    assert np.isfinite(smh.deploy(student, "train").predict(x, verbose=0)).all()


def test_a_callback_may_know_the_student():
    """On JAX its numbers are with `fit`."""
    student = mlp()
    distiller = smh.distill(student, normalised(), alpha=1)
    distiller.compile("adam")
    prune = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch or smh.prune(student, 0.5)
    )
    distiller.fit(data()[0], verbose=0, callbacks=[prune])
    assert (numpy_of(student.layers[0].kernel) == 0).mean() > 0.4


def test_metrics_without_labels_are_refused_with_what_to_write():
    distiller = smh.distill(mlp(), normalised(), alpha=1)
    x, y = data()
    distiller.compile("adam", metrics=["accuracy"])
    for run in (distiller.fit, distiller.evaluate):
        with pytest.raises(ArgumentError, match=r"need labels.*student\.evaluate"):
            run(x, verbose=0)
    distiller.fit(x, y, verbose=0)
    for options in ({}, {"metrics": None}, {"metrics": []}):
        distiller.compile("adam", metrics=["accuracy"])
        distiller.compile("adam", **options)
        distiller.fit(x, verbose=0)


def with_a_rule(name):
    def rule(self, *args, **kwargs):
        return getattr(keras.Model, name)(self, *args, **kwargs)

    return type("Ruled", (keras.Model,), {name: rule})


@pytest.mark.parametrize(
    "name", ["train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"]
)
def test_a_student_with_rules_of_its_own_is_refused_and_its_layers_are_not(name):
    x = keras.Input((12,))
    output = layers.Dense(3)(x)
    ruled = smh.compress(with_a_rule(name)(x, output), 0.5, seed=0)
    set_later = keras.Model(x, output)
    object.__setattr__(set_later, name, lambda *args: None)
    for student in (ruled, set_later):
        message = f"The student .* has its own {name}, and a Distiller .* do without: "
        with pytest.raises(ArgumentError, match=message):
            smh.distill(student, mlp())
    smh.distill(mlp(), with_a_rule(name)(x, output))  # a teacher is only called
    distiller = smh.distill(keras.Model(ruled.input, ruled.output), mlp())
    distiller.compile("adam", crossentropy())
    before = ruled.get_weights()
    distiller.fit(*data(), verbose=0)
    assert any(not np.array_equal(a, b) for a, b in zip(before, ruled.get_weights(), strict=True))


def test_wrong_calls():
    student, teacher = mlp(), normalised()
    for arguments, error, message in [
        ((student, "teacher"), ArgumentError, "teacher must be a keras.Model, got str"),
        ((student, student), ArgumentError, "are one model"),
        ((keras.Sequential([layers.Dense(3)]), teacher), UnbuiltModelError, "The student 'seq"),
        ((student, teacher, 0), ArgumentError, "temperature must be a number above 0, got 0"),
        ((student, teacher, 1, 1.5), ArgumentError, "alpha must be from 0 to 1, got 1.5"),
        (
            (student, keras.Sequential([keras.Input((12,)), layers.Dense(4)])),
            ArgumentError,
            r"outputs of the same shapes, got \(None, 3\) and \(None, 4\)",
        ),
    ]:
        with pytest.raises(error, match=message):
            smh.distill(*arguments)
