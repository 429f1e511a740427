"""The law of targets: whatever the output and the loss, the soft loss is that of the table.

Against NumPy, with sample weights; and a student that is trained on it alone comes to say what the
teacher says.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import smh
from smh.errors import ArgumentError

pytestmark = pytest.mark.backend_agnostic
T, N, STEPS = 3.0, 12, 5


def model(width, activation=None, steps=False, mask=False, name="out", seed=0):
    """One output: `[b, width]`, or `[b, STEPS, width]`."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((STEPS, 4) if steps else (4,))
    y = layers.Masking()(x) if mask else x
    y = layers.Dense(8, "tanh")(y)
    return keras.Model(x, layers.Dense(width, activation=activation, name=name)(y))


class Subclassed(keras.Model):
    """Its outputs are known only when it is called."""

    def __init__(self, width, activation=None, seed=0):
        super().__init__()
        keras.utils.set_random_seed(seed)
        self.out = layers.Dense(width)
        self.activation = keras.activations.get(activation)

    def call(self, x):
        return self.activation(self.out(x))


def built(width, activation=None, **options):
    made = Subclassed(width, activation, **options)
    made(np.zeros((1, 4), "float32"))
    return made


def inputs(steps=False):
    shape = (N, STEPS, 4) if steps else (N, 4)
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def classes(told, said):
    p, q = softmax(told / T), softmax(said / T)
    return T**2 * (p * (np.log(p) - np.log(q))).sum(-1)


def bits(told, said):
    p, q = sigmoid(told / T), sigmoid(said / T)
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return T**2 * divergence.mean(-1)


def squares(told, said):
    return ((told - said) ** 2).mean(-1)


def differences(told, said):
    return np.abs(told - said).mean(-1)


def logits_of_chances(p):
    return np.log(p)


def logits_of_bits(p):
    return np.log(p) - np.log1p(-p)


def same(z):
    return z


def twice(y_true, y_pred):
    return 2 * ops.mean(ops.square(y_true - y_pred), axis=-1)


LOSSES = keras.losses
SPARSE = (LOSSES.SparseCategoricalCrossentropy, smh.recipes.SmoothedCrossentropy)
# Width, last activation, loss, what the soft loss is, from which form of the outputs.
TABLE = {
    "logits": (3, None, LOSSES.SparseCategoricalCrossentropy(from_logits=True), classes, same),
    "softmax": (3, "softmax", "sparse_categorical_crossentropy", classes, logits_of_chances),
    "softmax, one hot": (3, "softmax", "categorical_crossentropy", classes, logits_of_chances),
    "softmax, no loss": (3, "softmax", None, classes, logits_of_chances),
    "smoothed": (3, None, smh.recipes.SmoothedCrossentropy(), classes, same),
    "softmax, squares": (3, "softmax", "mse", squares, same),
    "one sigmoid": (1, "sigmoid", "binary_crossentropy", bits, logits_of_bits),
    "one bit's logit": (1, None, LOSSES.BinaryCrossentropy(from_logits=True), bits, same),
    "sigmoids": (4, "sigmoid", LOSSES.BinaryCrossentropy(), bits, logits_of_bits),
    "sigmoid, no loss": (4, "sigmoid", None, bits, logits_of_bits),
    "sigmoid, squares": (1, "sigmoid", "mse", squares, same),
    "one value": (1, None, "mse", squares, same),
    "values": (3, None, LOSSES.MeanAbsoluteError(), differences, same),
    "one value, no loss": (1, None, None, squares, same),
    "values, no loss": (3, None, None, squares, same),
    "values, a loss of one's own": (3, None, twice, squares, same),
    "values, relu": (2, "relu", "mae", differences, same),
}


def check(student, teacher, loss, expected, form, x, weights=None, **options):
    """Compares the loss of `fit` on `x` alone with NumPy's, weighted."""
    distiller = smh.distill(student, teacher, T, alpha=1.0, **options)
    distiller.compile(keras.optimizers.SGD(0.0), loss)
    said, told = (ops.convert_to_numpy(m(x)).astype("float64") for m in (student, teacher))
    each = expected(form(told), form(said))
    if weights is not None:
        wide = weights.reshape(weights.shape + (1,) * (each.ndim - weights.ndim))
        each = each * (wide if weights.ndim <= each.ndim else weights[..., 0])
    y = None
    if weights is not None:  # of which labels do not count, but Keras looks at their shape
        sparse = isinstance(expected is classes and loss, SPARSE) or "sparse" in str(loss)
        y = np.zeros(each.shape if sparse else told.shape, "int32" if sparse else "float32")
    found = distiller.fit(x, y, sample_weight=weights, batch_size=N, verbose=0).history["loss"][0]
    assert each.mean() > 1e-4, "nothing would be trained"
    np.testing.assert_allclose(found, each.mean(), rtol=2e-4)
    if y is None:  # it is evaluated on the same
        measured = distiller.evaluate(x, batch_size=N, verbose=0)
        np.testing.assert_allclose(measured, each.mean(), rtol=2e-4)


@pytest.mark.parametrize("case", TABLE)
def test_targets_are_by_what_the_output_is(case):
    width, activation, loss, expected, form = TABLE[case]
    student, teacher = (model(width, activation, seed=seed) for seed in (0, 1))
    weights = np.random.default_rng(2).random(N).astype("float32")
    check(student, teacher, loss, expected, form, inputs(), weights)


@pytest.mark.parametrize("case", ["logits", "softmax", "one sigmoid", "values"])
@pytest.mark.parametrize("shape", [None, (N,), (N, 1), (N, STEPS), (N, STEPS, 1)])
def test_an_output_per_step_and_sample_weights_of_any_shape(case, shape):
    width, activation, loss, expected, form = TABLE[case]
    student, teacher = (model(width, activation, steps=True, seed=seed) for seed in (0, 1))
    weights = None
    if shape is not None:
        weights = np.random.default_rng(2).random(shape).astype("float32")
    check(student, teacher, loss, expected, form, inputs(steps=True), weights)


@pytest.mark.parametrize("case", ["logits", "softmax", "one sigmoid", "sigmoids", "one value"])
def test_models_whose_layers_are_not_known_go_by_their_loss(case):
    width, activation, loss, expected, form = TABLE[case]
    student, teacher = (built(width, activation, seed=seed) for seed in (0, 1))
    check(student, teacher, loss, expected, form, inputs())


def test_masked_steps_do_not_count():
    student, teacher = (model(3, steps=True, mask=True, seed=seed) for seed in (0, 1))
    x = inputs(steps=True)
    x[:, 2:] = 0
    distiller = smh.distill(student, teacher, T, alpha=1.0)
    distiller.compile(keras.optimizers.SGD(0.0), TABLE["logits"][2])
    said, told = (ops.convert_to_numpy(m(x)).astype("float64") for m in (student, teacher))
    found = distiller.fit(x, batch_size=N, verbose=0).history["loss"][0]
    np.testing.assert_allclose(found, classes(told, said)[:, :2].mean(), rtol=2e-4)


def two(names=None, seed=0):
    """A class and a value: a list of outputs, or a dict of them."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((4,))
    made = [layers.Dense(3, name="kind")(x), layers.Dense(2, name="size")(x)]
    return keras.Model(x, dict(zip(names, made, strict=True)) if names else made)


CROSSENTROPY = TABLE["logits"][2]
SEVERAL = {
    "list": (None, [CROSSENTROPY, "mse"], [2.0, 0.5]),
    "list, by names": (None, {"kind": CROSSENTROPY, "size": "mse"}, {"kind": 2.0, "size": 0.5}),
    "dict": (("a", "b"), {"a": CROSSENTROPY, "b": "mse"}, {"a": 2.0, "b": 0.5}),
}


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("case", SEVERAL)
def test_several_outputs_are_added_with_their_weights(case, labels):
    names, loss, loss_weights = SEVERAL[case]
    student, teacher = two(names, 0), two(names, 1)
    alpha = 0.7 if labels else 1.0
    distiller = smh.distill(student, teacher, T, alpha=alpha)
    distiller.compile(keras.optimizers.SGD(0.0), loss, loss_weights)
    x, keys = inputs(), names or (0, 1)
    said, told = ([ops.convert_to_numpy(m(x)[k]).astype("float64") for k in keys]
                  for m in (student, teacher))  # fmt: skip
    expected = 2 * classes(told[0], said[0]).mean() + 0.5 * squares(told[1], said[1]).mean()
    y = None
    if labels:
        y = [np.arange(N) % 3, np.random.default_rng(3).normal(size=(N, 2))]
        hard = -np.log(softmax(said[0])[np.arange(N), y[0]]).mean() * 2
        hard += 0.5 * squares(y[1], said[1]).mean()
        expected = 0.3 * hard + 0.7 * expected
        y = dict(zip(names, y, strict=True)) if names else y
    found = distiller.fit(x, y, batch_size=N, verbose=0).history["loss"][0]
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_an_output_without_a_loss_is_left_alone_where_others_have_one():
    student, teacher = two(("a", "b"), 0), two(("a", "b"), 1)
    distiller = smh.distill(student, teacher, T, alpha=1.0)
    distiller.compile(keras.optimizers.SGD(0.0), {"b": "mse"})
    x = inputs()
    said, told = (ops.convert_to_numpy(m(x)["b"]).astype("float64") for m in (student, teacher))
    found = distiller.fit(x, batch_size=N, verbose=0).history["loss"][0]
    np.testing.assert_allclose(found, squares(told, said).mean(), rtol=2e-4)


def test_targets_may_be_said():
    """Logits without a loss are values to smh: it cannot know."""
    student, teacher = (model(3, seed=seed) for seed in (0, 1))
    check(student, teacher, None, classes, same, inputs(), targets="classes")
    student, teacher = two(("a", "b"), 0), two(("a", "b"), 1)
    distiller = smh.distill(student, teacher, T, alpha=1.0, targets={"a": "classes", "b": "bits"})
    distiller.compile(keras.optimizers.SGD(0.0))
    x = inputs()
    said, told = ({k: ops.convert_to_numpy(v).astype("float64") for k, v in m(x).items()}
                  for m in (student, teacher))  # fmt: skip
    expected = classes(told["a"], said["a"]).mean() + bits(told["b"], said["b"]).mean()
    found = distiller.fit(x, batch_size=N, verbose=0).history["loss"][0]
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_a_student_of_logits_learns_from_a_teacher_of_chances():
    student, teacher = model(3, seed=0), model(3, "softmax", seed=1)
    distiller = smh.distill(student, teacher, T, alpha=1.0)
    distiller.compile(keras.optimizers.SGD(0.0), CROSSENTROPY)
    x = inputs()
    said, told = (ops.convert_to_numpy(m(x)).astype("float64") for m in (student, teacher))
    found = distiller.fit(x, batch_size=N, verbose=0).history["loss"][0]
    np.testing.assert_allclose(found, classes(np.log(told), said).mean(), rtol=2e-4)


@pytest.mark.parametrize("case", ["softmax", "one sigmoid", "one value", "values, no loss"])
def test_a_student_comes_to_say_what_the_teacher_says(case):
    width, activation, loss, _, _ = TABLE[case]
    student, teacher = (model(width, activation, seed=seed) for seed in (0, 1))
    smh.compress(student, 0.9, seed=0)
    x = np.random.default_rng(4).normal(size=(96, 4)).astype("float32")
    distiller = smh.distill(student, teacher, 2.0, alpha=1.0)
    distiller.compile(keras.optimizers.Adam(0.03), loss)
    told = ops.convert_to_numpy(teacher(x))

    def distance():
        return float(np.abs(ops.convert_to_numpy(student(x)) - told).mean())

    before = distance()
    distiller.fit(x, epochs=25, verbose=0)
    assert distance() < before / 3


WRONG = {
    "one class": (1, None, CROSSENTROPY, {}, "softmax over one number is always 1"),
    "sigmoid classes": (3, "sigmoid", CROSSENTROPY, {}, "of the student went through a sigmoid"),
    "softmax bits": (3, "softmax", "binary_crossentropy", {}, "went through a softmax, and its t"),
    "said wrongly": (1, None, None, {"targets": "classes"}, "targets='values'"),
    "unknown name": (3, None, {"other": "mse"}, {}, "No output is called other. There are: out"),
    "too many": (3, None, ["mse", "mse"], {}, "has 1 outputs, and 2 are given"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_when_compiled(case):
    width, activation, loss, options, message = WRONG[case]
    student, teacher = (model(width, activation, seed=seed) for seed in (0, 1))
    distiller = smh.distill(student, teacher, **options)
    with pytest.raises(ArgumentError, match=message):
        distiller.compile("sgd", loss)


def test_labels_are_needed_unless_the_teacher_counts_alone():
    student, teacher = model(3, seed=0), model(3, seed=1)
    distiller = smh.distill(student, teacher, alpha=0.9)
    distiller.compile("sgd", CROSSENTROPY)
    with pytest.raises(ArgumentError, match="alpha=0.9 leaves 0.1 .* no labels. .*alpha=1"):
        distiller.fit(inputs(), verbose=0)
    distiller.compile("sgd")
    with pytest.raises(ArgumentError, match="no loss for them in `compile`"):
        distiller.fit(inputs(), np.arange(N) % 3, verbose=0)
    distiller = smh.distill(student, teacher, alpha=1.0)
    distiller.compile("sgd")
    for call in (distiller.fit, distiller.evaluate):
        with pytest.raises(ArgumentError, match="Keras drops sample weights where there are no l"):
            call(inputs(), sample_weight=np.ones(N), verbose=0)
    with pytest.raises(ArgumentError, match="targets must be of classes, bits, values, got 'log"):
        smh.distill(student, teacher, targets="logits")


def test_outputs_that_differ_are_refused_even_if_they_would_broadcast():
    with pytest.raises(ArgumentError, match="same shapes"):
        smh.distill(model(1), model(3))
    with pytest.raises(ArgumentError, match="same shapes"):
        smh.distill(two(("a", "b")), two(("a", "c")))
    distiller = smh.distill(built(1), built(3), alpha=1.0)
    distiller.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match=r"same shapes, got \(12, 1\) and \(12, 3\)"):
        distiller.fit(inputs(), batch_size=N, verbose=0)
