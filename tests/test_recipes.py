"""Recipes do what they say to training, with unmodified `fit`, and survive a file."""

import fresh_process
import keras
import numpy as np
import pytest
from keras import ops
from models import mlp

import smh
from smh import recipes
from smh.errors import ArgumentError, SelectionError, UnbuiltModelError

pytestmark = pytest.mark.backend_agnostic


def data(n=32):
    random = np.random.default_rng(0)
    return random.normal(size=(n, 12)).astype("float32"), random.integers(0, 3, n)


def values(model):
    return {v.path: ops.convert_to_numpy(v).copy() for v in model.trainable_variables}


def steps_of(optimizer, count=1):
    """How far each trained variable of the same compressed model moves."""
    keras.utils.clear_session()  # the same names each time
    keras.utils.set_random_seed(0)
    model = smh.compress(mlp(), 0.5, seed=0)
    model.compile(optimizer, recipes.SmoothedCrossentropy(0.0))
    before, (x, y) = values(model), data()
    model.fit(x, y, batch_size=32, epochs=count, verbose=0, shuffle=False)
    return {path: value - before[path] for path, value in values(model).items()}


RATES = {"scale$": 0.1, "ProductVariablePool": 3.0, "sequential/dense/bias": 0.0}


def factor_of(path):
    return 0.1 if path.endswith("scale") else 3 if "Pool" in path else 0 if "dense/b" in path else 1


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "AdamW", "Nadam", "Adamax"])
def test_the_first_step_is_multiplied_and_nothing_else(name):
    decay = {"weight_decay": 0.0} if name == "AdamW" else {}
    plain = steps_of(getattr(keras.optimizers, name)(1e-2, **decay))
    rated = steps_of(recipes.with_rates(getattr(keras.optimizers, name)(1e-2, **decay), RATES))
    assert {factor_of(path) for path in plain} == {0, 0.1, 1, 3}
    for path, step in plain.items():
        np.testing.assert_allclose(rated[path], factor_of(path) * step, rtol=1e-3, atol=5e-7)
        assert factor_of(path) == 0 or np.abs(rated[path]).max() > 1e-6


def test_the_pattern_of_the_documentation_finds_the_factors_of_every_pool():
    model = keras.Sequential([keras.Input((64,)), *(keras.layers.Dense(n) for n in (256, 64, 10))])
    variables = smh.compress(model, 0.3, blocks=4).trainable_variables
    optimizer = recipes.with_rates("sgd", {"ProductVariablePool": 3.0})
    optimizer.build(variables)
    found = {v.path for v, rate in zip(variables, optimizer._factors, strict=True) if rate == 3.0}
    assert found == {v.path for v in variables if v.name in ("variable_left", "variable_right")}
    assert len(found) == 6


def test_without_rates_it_is_the_plain_optimizer():
    schedule = recipes.one_cycle(1e-2, 10)
    plain = steps_of(keras.optimizers.Adam(schedule), 4)
    rated = steps_of(recipes.with_rates(keras.optimizers.Adam(schedule), {}), 4)
    for path, step in plain.items():
        # Keras on PyTorch updates all variables by one fused operation, which rounds otherwise.
        np.testing.assert_allclose(rated[path], step, rtol=1e-6, atol=5e-7)


def test_rates_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = smh.compress(mlp(), 0.5, seed=0)
    model.compile(recipes.with_rates("sgd", {"bias": 0.0}), recipes.SmoothedCrossentropy())
    before, (x, y) = values(model), data()
    model.fit(x, y, verbose=0)
    for path, value in values(model).items():
        assert np.array_equal(value, before[path]) == ("bias" in path)


class Halved(keras.optimizers.Adam):
    """Makes steps of its own, which no rates may drop."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


TOLD = {
    "nothing": lambda optimizer, bias: None,
    "names": lambda optimizer, bias: optimizer.exclude_from_weight_decay(var_names=["bias"]),
    "variables": lambda optimizer, bias: optimizer.exclude_from_weight_decay(var_list=[bias]),
    "where it begins": lambda optimizer, bias: optimizer.iterations.assign(7),
}


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "AdamW", "Nadam", "Adamax"])
def test_what_an_optimizer_was_told_after_it_was_made_is_kept(name, told):
    found = []
    for with_rates in (lambda optimizer: optimizer, lambda o: recipes.with_rates(o, {"bias": 1.0})):
        schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0)
        bias, other = (keras.Variable(np.ones(3), name=name) for name in ("bias", "other"))
        optimizer = getattr(keras.optimizers, name)(schedule, weight_decay=0.5)
        TOLD[told](optimizer, bias)
        optimizer = with_rates(optimizer)
        optimizer.build([bias, other])  # Keras on PyTorch fails where none decays
        optimizer.apply([ops.zeros(3)] * 2, [bias, other])
        numbers = [ops.convert_to_numpy(variable).tolist() for variable in (bias, other)]
        found.append((numbers, int(optimizer.iterations)))
    assert found[0] == found[1]


def test_the_wrong_optimizers_and_rates():
    for optimizer, rates, message in [
        (keras.optimizers.Ftrl(), {}, "must be one of Adam, AdamW, .* got Ftrl"),
        ("adam", {"scale": -1}, "rate of 'scale' must be a number, at least 0, got -1"),
        ("adam", {"scale": float("nan")}, "must be a number, at least 0"),
        (Halved(), {}, "must be one of Adam, AdamW, .* got Halved"),
        (recipes.with_rates("adam", {}), {}, "must be one of Adam, AdamW, .* got RatedAdam"),
        ("adam", {"(": 1}, "is not a regular expression"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            recipes.with_rates(optimizer, rates)
    used = keras.optimizers.Adam()
    used.build(mlp().trainable_variables)
    with pytest.raises(ArgumentError, match="This Adam has been used"):
        recipes.with_rates(used, {})
    model = mlp()
    unused = recipes.with_rates("adam", {"bias": 2.0, ".*/bias": 0.5, "scales": 3.0})
    with pytest.raises(SelectionError, match="rates: 'scales' matches none of .*dense.*/kernel"):
        unused.build(model.trainable_variables)
    assert not unused.built


def test_the_penalty_is_that_of_the_weights_compressed_or_not():
    compressed, (x, _) = smh.compress(mlp(), 0.5, seed=0), data()
    dense = smh.materialize(compressed)
    for model in (dense, compressed):
        before = model.get_weights()
        assert recipes.penalise_weights(model, 0.01) is model
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        model(x)
    kernels = [layer.kernel for layer in dense.layers if hasattr(layer, "kernel")]
    expected = 0.01 * sum(float(ops.sum(ops.square(kernel))) for kernel in kernels)
    for model in (dense, compressed):
        np.testing.assert_allclose(float(sum(model.losses)), expected, rtol=1e-4)
    recipes.penalise_weights(compressed, 0)
    compressed(x)
    assert not compressed.losses
    recipes.penalise_weights(compressed, 0.01, apply_to=lambda v: tuple(v.shape) == (12, 24))
    compressed(x)
    expected = 0.01 * float(ops.sum(ops.square(kernels[0])))
    np.testing.assert_allclose(float(sum(compressed.losses)), expected, rtol=1e-4)


def test_the_penalty_shrinks_the_computed_weights_in_fit():
    def norm(l2):
        keras.utils.set_random_seed(0)
        model = recipes.penalise_weights(smh.compress(mlp(), 0.5, seed=0), l2)
        model.compile(keras.optimizers.SGD(0.1), recipes.SmoothedCrossentropy(0.0))
        model.fit(*data(), epochs=20, verbose=0)
        return [float(ops.sum(ops.square(model.layers[i].kernel))) for i in (0, -1)]

    assert np.all(np.array(norm(0.03)) < 0.5 * np.array(norm(0.0)))


def test_wrong_penalties():
    model = mlp()
    for arguments, error, message in [
        ((model, -1), ArgumentError, "l2 must be a number, at least 0, got -1"),
        ((model, "1"), ArgumentError, "l2 must be"),
        (("model", 1), ArgumentError, "must be a Keras 3 model or layer, got str"),
        ((keras.Sequential([keras.layers.Dense(1)]), 1), UnbuiltModelError, "has no weights yet"),
        ((model, 1, "conv"), SelectionError, "Nothing to penalise .* It has: .*dense/kernel"),
    ]:
        with pytest.raises(error, match=message):
            recipes.penalise_weights(*arguments)
    assert not model.losses


@keras.saving.register_keras_serializable("tests")
class Quartic(keras.regularizers.Regularizer):
    def __call__(self, weight):
        return ops.sum(weight**4)

    def get_config(self):
        return {}


OWN = {
    "none": None,
    "l1": keras.regularizers.L1(0.3),
    "l2": keras.regularizers.L2(0.2),
    "both": keras.regularizers.L1L2(0.1, 0.05),
    "of a user": Quartic(),
}


def own_and_squares(own, compressed):
    """A model, what its layer's own regularizer costs, and the squares of its weights."""
    keras.utils.set_random_seed(0)
    first = keras.layers.Dense(24, kernel_regularizer=OWN[own])
    model = keras.Sequential([keras.Input((12,)), first, keras.layers.Dense(3)])
    if compressed:
        smh.compress(model, 0.5, seed=0)
    kernels = [ops.convert_to_tensor(layer.kernel) for layer in model.layers]
    cost = 0.0 if OWN[own] is None else float(OWN[own](kernels[0]))
    return model, cost, sum(float(ops.sum(ops.square(kernel))) for kernel in kernels)


def penalty_of(model):
    model(data()[0])
    return float(sum(model.losses))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("own", OWN)
def test_the_penalty_is_beside_what_a_layer_asks_for_itself(own, compressed, tmp_path):
    model, cost, squares = own_and_squares(own, compressed)
    for l2 in (0.01, 0.02, 0.0, 0.03):  # each in the place of the one before
        recipes.penalise_weights(model, l2)
        assert penalty_of(model) == pytest.approx(cost + l2 * squares, rel=1e-4, abs=1e-9)
    model.save(tmp_path / "model.keras")
    smh.save(model, tmp_path / "model.smh")
    plain = smh.materialize(model)
    for way, other in {
        "keras": lambda: keras.saving.load_model(tmp_path / "model.keras"),
        "smh": lambda: smh.load(tmp_path / "model.smh"),
        "plain": lambda: plain,
    }.items():
        other = other()
        assert penalty_of(other) == pytest.approx(cost + 0.03 * squares, rel=1e-4), way
        recipes.penalise_weights(other, 0.01)
        assert penalty_of(other) == pytest.approx(cost + 0.01 * squares, rel=1e-4), way
        recipes.penalise_weights(other, 0)
        assert penalty_of(other) == pytest.approx(cost, rel=1e-4), way
    if own != "of a user":
        assert "smh" not in smh.materialize(model).to_json()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("shape", [(8,), (8, 1)])
def test_smoothed_labels_are_those_of_keras_on_one_hot_labels(smoothing, shape):
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(8, 5)).astype("float32") * 4, random.integers(0, 5, 8)
    weights = random.random(8).astype("float32")
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    ours = recipes.SmoothedCrossentropy(smoothing)(labels.reshape(shape), logits, weights)
    expected = theirs(np.eye(5, dtype="float32")[labels], logits, weights)
    np.testing.assert_allclose(float(ours), float(expected), rtol=1e-5)


@pytest.mark.parametrize(
    "labels, logits",
    [((8, 5), (8, 5)), ((8, 2), (8, 5)), ((8, 4, 5), (8, 4, 5)), ((8,), (8, 4, 5))],
)
def test_labels_that_are_no_classes_are_refused(labels, logits):
    loss = recipes.SmoothedCrossentropy(0.1)
    message = r"Labels have to be whole numbers.*got shape \(8.*np.argmax"
    with pytest.raises(ArgumentError, match=message):
        loss(np.zeros(labels), np.zeros(logits, "float32"))


def test_one_hot_labels_are_refused_in_fit():
    model = mlp()
    recipes.compile_for_training(model, 4)
    with pytest.raises(ArgumentError, match="Labels have to be whole numbers.*argmax"):
        model.fit(data()[0], np.eye(3)[data()[1]], verbose=0)


def quantized():
    return smh.quantize_weights(mlp(), 4)


NUMBERS = {
    "l2": lambda number: recipes.penalise_weights(mlp(), number),
    "rate": lambda number: recipes.penalise_bits(quantized(), number),
    "The rate of 'bias'": lambda number: recipes.with_rates("adam", {"bias": number}),
    "label_smoothing": recipes.SmoothedCrossentropy,
    "peak_rate": lambda number: recipes.one_cycle(number, 10),
    "warmup": lambda number: recipes.one_cycle(0.1, 10, number),
    "scale_rate": lambda number: recipes.compile_for_training(
        smh.compress(mlp(), 0.5, seed=0), 9, scale_rate=number
    ),
    "temperature": lambda number: smh.distill(mlp(), mlp(), number),
    "alpha": lambda number: smh.distill(mlp(), mlp(), 2.0, number),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_numbers_whatever_their_type_and_nothing_else_is(name):
    for number in (0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5)):
        NUMBERS[name](number)
    for number in (True, "0.5", None, float("nan"), -1, [0.5], 10**400):
        with pytest.raises(ArgumentError, match=f"^{name} must be .*, got "):
            NUMBERS[name](number)


ONE_METRIC = {
    "name": ("accuracy", {"loss", "accuracy"}),
    "metric": (lambda: keras.metrics.SparseCategoricalAccuracy("own"), {"loss", "own"}),
    "function": (keras.losses.sparse_categorical_crossentropy, None),
    "none": (None, {"loss"}),
    "empty": ([], {"loss"}),
    "tuple": (("accuracy",), {"loss", "accuracy"}),
    "dict": ({"out": ["accuracy"]}, {"loss", "accuracy"}),
}


def named():
    x = keras.Input((12,))
    return keras.Model(x, keras.layers.Dense(3, name="out")(x))


@pytest.mark.parametrize("way", ONE_METRIC)
def test_metrics_are_those_of_compile_or_one(way):
    metrics, names = ONE_METRIC[way]
    model = named()
    recipes.compile_for_training(
        model, 4, metrics=metrics() if way == "metric" else metrics, l2=1e-3
    )
    history = model.fit(*data(), verbose=0).history
    assert names is None or history.keys() == names


@pytest.mark.parametrize(
    "wrong, error",
    [
        (dict(metrics=3), ArgumentError),
        (dict(nonsense=3), TypeError),
        (dict(weighted_metrics=3), ValueError),
        (dict(peak_rate=0), ArgumentError),
        (dict(label_smoothing=1), ArgumentError),
        (dict(scale_rate=2.0), ArgumentError),
        (dict(l2=-1), ArgumentError),
    ],
)
def test_after_an_error_there_is_no_penalty(wrong, error):
    model = mlp()
    with pytest.raises(error):
        recipes.compile_for_training(model, 4, **{"l2": 0.5, **wrong})
    assert not model.losses


def test_one_cycle_climbs_and_falls():
    schedule = recipes.one_cycle(0.5, 100, 0.3)
    rate = {step: float(schedule(step)) for step in (0, 10, 29, 30, 31, 65, 99, 100)}
    assert max(rate, key=rate.get) == 30 and rate[30] == pytest.approx(0.5)
    assert rate[0] == pytest.approx(0.005) and rate[100] == pytest.approx(0, abs=1e-7)
    assert rate[10] == pytest.approx(0.005 + 0.495 / 3) and rate[65] == pytest.approx(0.25)
    assert rate[0] < rate[10] < rate[29] and rate[31] > rate[65] > rate[99] > rate[100]
    assert float(recipes.one_cycle(0.5, 100, 0)(0)) == pytest.approx(0.5)
    for arguments in [
        (0, 10),
        (float("nan"), 10),
        (0.1, 0),
        (0.1, 1.5),
        (0.1, 10, 1),
        (0.1, 9, -1),
    ]:
        with pytest.raises(ArgumentError, match="must be"):
            recipes.one_cycle(*arguments)


IN_A_NEW_PROCESS = """
import sys, smh, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
x, y = np.load(sys.argv[2]).values()
print(type(model.optimizer).__name__, model.optimizer.rates, model.loss.label_smoothing)
print(float(model.optimizer.learning_rate), int(model.optimizer.iterations))
print(model.evaluate(x, y, verbose=0)[0])
model.fit(x, y, verbose=0, shuffle=False)
print(model.evaluate(x, y, verbose=0)[0])
"""


def test_a_recipe_trains_and_goes_on_from_a_file_in_a_new_process(tmp_path):
    model = smh.compress(mlp(), 0.5, seed=0)
    recipes.compile_for_training(model, 30, scale_rate=0.1, l2=1e-3, label_smoothing=0.1)
    x, y = data(64)
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x, y)
    files = tmp_path / "model.keras", tmp_path / "data.npz"
    done = fresh_process.run(IN_A_NEW_PROCESS, *files)
    assert done.returncode == 0, done.stderr
    kind, rate, before, after = done.stdout.strip().splitlines()[-4:]
    assert kind == "RatedAdam {'(log_)?scale$': 0.1} 0.1"
    assert rate.split()[1] == "10"
    assert float(rate.split()[0]) == pytest.approx(float(model.optimizer.learning_rate))
    assert float(before) == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-4)
    model.fit(x, y, verbose=0, shuffle=False)
    assert float(after) == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-3)


def test_a_recipe_knows_logarithmic_scales():
    model = smh.compress(mlp(), 0.5, modifier=smh.modifiers.initial_std_log_scale_modifier, seed=0)
    recipes.compile_for_training(model, 4, scale_rate=0.0)
    x, y = data(64)
    scales = [v for v in model.trainable_variables if v.name == "log_scale"]
    factors = [v for v in model.trainable_variables if v.name.startswith("variable_")]
    before = [[keras.ops.convert_to_numpy(v) for v in group] for group in (scales, factors)]
    model.fit(x, y, epochs=2, verbose=0)
    for was, now in zip(before[0], scales, strict=True):
        np.testing.assert_array_equal(was, keras.ops.convert_to_numpy(now))
    assert scales and not np.array_equal(before[1][0], keras.ops.convert_to_numpy(factors[0]))


def test_a_recipe_for_scales_needs_scales():
    with pytest.raises(
        ArgumentError, match="scale_rate=0.5 needs trained scales, and 'sequential'"
    ):
        recipes.compile_for_training(mlp(), 10, scale_rate=0.5)
