"""smh.shrink: sizes that are kept, errors that are worth it, and whatever users bring."""

import contextlib
import math
import os
import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers, ops

import smh
from smh import coding
from smh.errors import ArgumentError, SelectionError, SmhError, SmhWarning
from smh.parametrizations.stepped import Stepped
from smh.sensitivity.examples import batches_of
from smh.shrinking import shrink_model, statistics
from smh.shrinking.curve import Curve
from smh.shrinking.dead_biases import fold_biases
from smh.shrinking.flow import Flow
from smh.shrinking.items import items_of
from smh.shrinking.normalisations import _MOST_GAIN, Normalisations
from smh.shrinking.products import Product
from smh.shrinking.report import Attempt
from smh.shrinking.rest import fold_statistics, to_digits
from smh.shrinking.search import to_size
from smh.shrinking.statistics import gather
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic


def examples(count=128, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 8, 8, 2)).astype("float32")


def network(dtype="float32"):
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 2), dtype=dtype)
    y = layers.Conv2D(16, 3, padding="same", use_bias=False, dtype=dtype)(x)
    y = layers.ReLU(dtype=dtype)(layers.BatchNormalization(dtype=dtype)(y))
    y = layers.DepthwiseConv2D(3, strides=2, dtype=dtype)(y)
    y = layers.Conv2D(32, 1, activation="relu", dtype=dtype)(y)
    y = layers.GlobalAveragePooling2D(dtype=dtype)(y)
    y = layers.Dense(64, activation="relu", dtype=dtype)(y)
    return keras.Model(x, layers.Dense(10, activation="softmax", dtype=dtype)(y))


def recurrent():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((7,), dtype="int32")
    y = layers.Embedding(30, 8)(tokens)
    y = layers.LSTM(12, return_sequences=True)(y)
    y = layers.MultiHeadAttention(2, 6)(y, y)
    y = layers.GRU(10)(y)
    return keras.Model(tokens, layers.Dense(3)(y))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(32, activation="tanh"), layers.Dense(4)

    def call(self, x):
        return self.second(self.first(self.first(x) if x.shape[-1] == 32 else x))


def numbers_of(model):
    return [np.array(ops.convert_to_numpy(v.value)) for v in model.variables]


def predictions(model, x):
    return np.asarray(ops.convert_to_numpy(model(x, training=False)))


def written(model, tmp_path):
    path = tmp_path / "model.smh"
    smh.save(model, path)
    return path, os.path.getsize(path)


def test_the_file_has_the_size_that_was_asked_for_and_said(tmp_path):
    model, x = network(), examples()
    report = smh.shrink(model, x, target_size=3_000)
    path, size = written(model, tmp_path)
    assert size == report.bytes and 0.99 * 3_000 <= size <= 3_000
    assert sum(row.bytes for row in report.rows) < size < report.before
    again = smh.load(path)
    np.testing.assert_array_equal(predictions(again, x), predictions(model, x))
    plain = smh.materialize(model)
    np.testing.assert_allclose(predictions(plain, x), predictions(model, x), atol=1e-6)
    weights = smh.runtime.load(path)
    for virtual in virtual_variables(model):
        expected = ops.convert_to_numpy(virtual.value)
        np.testing.assert_array_equal(weights[virtual.path], expected)


def dense_layers(*widths, name=None, built=True):
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(width, activation="relu") for width in widths]
    first = [keras.Input((12,))] if built else []
    model = keras.Sequential([*first, *hidden, layers.BatchNormalization()], name=name)
    model(np.zeros((1, 12), "float32"))
    return model


SIZED = {
    "small": (2_000, lambda: dense_layers(48, 32)),
    "built by a call": (2_000, lambda: dense_layers(48, 32, built=False)),
    "a long name": (3_000, lambda: dense_layers(48, 32, name="the_name_of_a_model" * 9)),
    "many layers": (3_500, lambda: dense_layers(*[12] * 30)),
    "in another": (2_500, lambda: keras.Sequential([keras.Input((12,)), dense_layers(64, 32)])),
}


@pytest.mark.parametrize("before", [None, 4_000], ids=["plain", "rounded before"])
@pytest.mark.parametrize("name", SIZED)
def test_no_file_is_larger_than_asked_for(name, before, tmp_path):
    target, make = SIZED[name]
    x = np.random.default_rng(0).normal(size=(256, 12)).astype("float32")
    model = make()
    if before is not None:
        smh.shrink(model, x, target_size=before)
    report = smh.shrink(model, x, target_size=target)
    _, size = written(model, tmp_path)
    assert 0.99 * target <= size <= target
    assert size == report.bytes == report.chosen.bytes


def test_data_make_the_error_smaller_in_the_same_size():
    x, new = examples(), examples(seed=1)
    expected = predictions(network(), new)
    errors = []
    for data in (x, None):
        model = network()
        smh.shrink(model, data, target_size=2_500)
        errors.append(float(np.square(predictions(model, new) - expected).mean()))
    assert errors[0] < 0.7 * errors[1]


def test_it_beats_rounding_to_the_nearest_at_the_same_size(tmp_path):
    x, new = examples(), examples(seed=1)
    expected = predictions(network(), new)
    plain = smh.quantize_weights(network(), 4)
    size = written(plain, tmp_path)[1]
    model = network()
    assert smh.shrink(model, x, target_size=size).bytes <= size
    error, by_plain = (np.square(predictions(m, new) - expected).mean() for m in (model, plain))
    assert error < 0.25 * by_plain


def stairs(*steps):
    """Bytes that change only at some prices: `(price, bytes from there on)`."""
    return lambda price: next(size for least, size in reversed(steps) if price >= least)


def by_chance(size, off):
    """The same, but for what depends on nothing: no two prices are alike."""
    return lambda price: round(size(price) * (1 + off * math.sin(1e4 * math.log(price))))


PRICED = {
    "a power": (lambda price: round(900 * price**-0.2), 990),
    "a steep power": (lambda price: round(900 * price**-0.8), 990),
    "nearly flat": (lambda price: round(1200 * price**-0.02), 990),
    "half a percent off": (by_chance(lambda price: 900 * price**-0.2, 0.005), 990),
    "two percent off": (by_chance(lambda price: 900 * price**-0.2, 0.02), 990),
    "beside a jump": (stairs((0, 1100), (0.3, 995), (0.36, 1030), (0.37, 800)), 995),
    "finer and smaller": (stairs((0, 1200), (0.1, 995), (0.2, 900), (0.5, 960), (1, 500)), 995),
    "a cliff": (lambda p: round((1200 if p < 1e-3 else 900) * (1 + 0.1 * p) ** -0.2), 890),
    "a knee": (lambda p: round(1500 - 80 * math.log(p * 1e4)) if p < 0.3 else 340, 990),
    "nothing is near": (stairs((0, 1100), (0.5, 700)), 700),
    "all fits": (lambda price: 900, 900),
}
EXPECTED = {
    "as it is": lambda price: 900 * price**-0.2,
    "half": lambda price: 450 * price**-0.2,
    "steeper": lambda price: 900 * price**-0.4,
    "hardly steep": lambda price: 500 + 400 * price**-0.1,
}


@pytest.mark.parametrize("expected", EXPECTED)
@pytest.mark.parametrize("start", [1e-4, 0.34, 30.0])
@pytest.mark.parametrize("name", PRICED)
def test_a_size_is_found_where_there_is_one(name, start, expected):
    size, least = PRICED[name]
    tried = []

    def attempt(price):
        tried.append(price)
        return Attempt(price, max(1, size(price)), 0.0)

    curve = Curve(EXPECTED[expected], start)
    assert least <= to_size(attempt, curve, 1000, "it").bytes <= 1000
    assert len({*tried}) == len(tried) < 15
    if name == "a power":
        assert len(tried) <= 6


def test_quality_goes_from_zero_to_a_hundred():
    x = examples()
    found = [smh.shrink(network(), x, quality=q).bytes for q in (0, 20, 50, 80, 100)]
    assert found == sorted(found) and len({*found}) == 5


EXPECTED_OF = {
    "convolutions": (network, examples),
    "recurrent": (recurrent, lambda: np.arange(700).reshape(100, 7) % 30),
    "narrow": (lambda: dense_layers(*[12] * 30), lambda: examples(100).reshape(100, -1)[:, :12]),
    "wide": (lambda: dense_layers(300), lambda: examples(100).reshape(100, -1)[:, :12]),
}


@pytest.mark.parametrize("name", EXPECTED_OF)
def test_a_size_is_expected_before_anything_is_rounded(name, monkeypatch):
    make, data = EXPECTED_OF[name]
    found = []
    attempt = shrink_model._Work.attempt

    def both(work, price):
        expected = work._expected(price)
        found.append((expected, attempt(work, price)))
        return found[-1][1]

    monkeypatch.setattr(shrink_model._Work, "attempt", both)
    before = smh.shrink(make(), data(), quality=60).before
    del found[:]  # what is beside the numbers was not known
    for share in (0.9, 0.5):
        with contextlib.suppress(ArgumentError):  # less than with zeros alone
            smh.shrink(make(), data(), target_size=int(share * before))
    assert len(found) > 1
    for expected, made in found:
        assert 0.7 * made.bytes < expected < 1.3 * made.bytes


def test_a_recurrent_layer_backwards_over_masked_words_is_rounded():
    """Keras on PyTorch cannot unroll it."""
    words = np.random.default_rng(0).integers(0, 20, (64, 6))
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), layers.Embedding(20, 8, mask_zero=True)]
    )
    model.add(layers.Bidirectional(layers.LSTM(8)))
    before = predictions(model, words)
    report = smh.shrink(model, words, quality=80)
    assert {row.rule for row in report.rows} == {"inputs"}
    np.testing.assert_allclose(predictions(model, words), before, atol=0.05)


@pytest.mark.parametrize("mode", ["full", "list_of_layers", "activations", "larger_than"])
def test_layers_that_are_rematerialised_are_rounded_as_others(mode):
    how = {"layer_names": ["conv2d"], "output_size_threshold": 10}
    keras.backend.clear_session()
    with keras.RematScope(mode=mode, **how):
        model = network()
    keras.backend.clear_session()
    plain = network()
    modes = [layer._remat_mode for layer in model.layers]
    reports = [smh.shrink(each, examples(), quality=50) for each in (model, plain)]
    assert reports[0].rows == reports[1].rows
    assert [layer._remat_mode for layer in model.layers] == modes
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_integers_are_coded_for_their_row_and_for_the_file_and_not_again(monkeypatch, tmp_path):
    coded = []
    encode = coding.Stepped.encode
    monkeypatch.setattr(
        coding.Stepped, "encode", lambda self, array: coded.append(1) or encode(self, array)
    )
    model = network()
    report = smh.shrink(model, examples(), quality=80)
    assert len(coded) == 2 * len(report.rows) == 10
    assert report.bytes == report.chosen.bytes == written(model, tmp_path)[1]


def test_quality_says_what_error_may_be():
    x = examples()
    found = [smh.shrink(network(), x, quality=q) for q in (60, 80, 100)]
    errors, sizes = [r.chosen.error for r in found], [r.bytes for r in found]
    assert errors[0] > 5 * errors[1] > 25 * errors[2] and sizes == sorted(sizes)


def counted(count, seed):
    """Letters of words, and how often each has come so far: much of it follows from the rest."""
    random = np.random.default_rng(seed)
    length = random.integers(4, 20, count)
    there = np.arange(20) < length[:, None]
    letters = np.eye(6)[random.integers(0, 6, (count, 20))] * there[..., None]
    so_far = letters.cumsum(1)
    flat = [letters.reshape(count, -1), so_far.reshape(count, -1), so_far[:, -1], length[:, None]]
    y = so_far[:, -1] @ [1, -2, 3, 0.5, -1, 2] + np.abs(
        letters[:, :5].sum(1) @ [2, 1, -1, 0, 3, -2]
    )
    return np.concatenate(flat, 1).astype("float32"), (y[:, None] / 10).astype("float32")


@pytest.fixture(scope="module")
def of_words():
    """A deep regression on `counted`."""
    keras.utils.set_random_seed(0)
    x, y = counted(4000, 0)
    widths = [64, 48, 48, 48, 48]
    hidden = [layers.Dense(width, activation="relu") for width in widths]
    model = keras.Sequential([keras.Input(x.shape[1:]), *hidden, layers.Dense(1)])
    model.compile(keras.optimizers.Adam(2e-3), "mse")
    model.fit(x, y, epochs=8, batch_size=64, verbose=0)
    return model


@pytest.mark.parametrize("quality", [40, 45, 50, 60])
def test_examples_that_were_not_seen_have_the_error_of_the_quality_too(of_words, quality):
    model = keras.models.clone_model(of_words)
    model.set_weights(of_words.get_weights())
    new, _ = counted(2000, 1)
    before = predictions(model, new)
    smh.shrink(model, counted(512, 0)[0], quality=quality)
    error = np.square(predictions(model, new) - before).mean() / before.var()
    assert error < 10 ** (1 - 6 * quality / 100)


def test_max_drop_is_kept_and_used():
    x = examples()
    model, expected = network(), predictions(network(), x)

    def explained(model):
        off = np.square(predictions(model, x) - expected).mean()
        return float(1 - off / expected.var(0).mean())

    report = smh.shrink(model, x, max_drop=0.1, evaluate=explained)
    assert report.baseline == 1 and 0.9 <= explained(model) == report.chosen.score
    assert any(one.score < 0.9 for one in report.attempts)
    assert report.chosen in report.attempts and report.chosen.bytes == report.bytes


@pytest.mark.parametrize("kind", ["dense", "pruned", "compressed", "one left out"])
def test_sizes_of_what_was_tried_are_near_those_of_its_files(kind, monkeypatch):
    x, one = examples(), "depthwise" if kind == "one left out" else None

    def made():
        model = network()
        if kind == "pruned":
            smh.prune(model, 0.7)
        if kind == "compressed":
            smh.compress(model, 0.5, seed=0)
        return model

    model = made()
    expected = predictions(model, x)

    def score(model):
        return -float(np.square(predictions(model, x) - expected).mean() / expected.var(0).mean())

    report = smh.shrink(model, x, max_drop=0.01, evaluate=score, exclude=one)
    other = next(attempt for attempt in report.attempts if attempt != report.chosen)
    monkeypatch.setattr(shrink_model, "price_of_quality", lambda *_: other.multiplier)
    size = smh.shrink(made(), x, exclude=one).bytes
    assert abs(other.bytes / size - 1) < 0.025


@pytest.mark.parametrize("kind", ["all goes", "all zero", "its own class"])
def test_sizes_of_a_search_by_a_score_are_those_of_its_files(kind):
    """Also where nothing but zeros is chosen, or the size is known only in the end."""
    x, model = examples(), network()
    if kind == "all zero":
        for variable in model.trainable_variables:
            variable.assign(0 * variable)
    elif kind == "its own class":
        model = Subclassed()
        model(x[:2])
    report = smh.shrink(model, x, max_drop=0.01, evaluate=lambda model: 1.0)
    assert report.chosen.bytes == report.bytes and report.chosen in report.attempts
    assert max(one.bytes for one in report.attempts) < 2 * report.before


def percent_accuracy(y, outputs):
    return 100 * keras.metrics.sparse_categorical_accuracy(y, outputs)


@pytest.mark.parametrize(
    "count, drop, metric, told",
    [
        (60, 0.01, "accuracy", "of 60 examples have a standard error of"),
        (60, 0.2, "accuracy", None),
        (4000, 0.01, "accuracy", None),
        (60, 5, percent_accuracy, None),  # no share: its unit is not known
    ],
)
def test_a_drop_within_chance_is_told(count, drop, metric, told, recwarn):
    model, x = network(), np.resize(examples(), (count, *examples().shape[1:]))
    y = predictions(model, x).argmax(-1)
    y[::10] = (y[::10] + 1) % 10  # nine in ten are right
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
    smh.shrink(model, examples(), max_drop=drop, evaluate=(x, y))
    given = [w for w in recwarn if issubclass(w.category, SmhWarning)]
    assert len(given) == (told is not None)
    assert all(told in str(w.message) and w.filename == __file__ for w in given)


def test_same_input_same_file(tmp_path):
    files = []
    for name in ("a.smh", "b.smh"):
        keras.utils.clear_session()  # the same names
        model = network()
        smh.shrink(model, examples(), target_size=3_000)
        smh.save(model, tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_training_goes_on_with_the_rounding_on():
    model, x = network(), examples()
    smh.shrink(model, x, quality=40)
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    y = np.arange(len(x)) % 10
    losses = model.fit(x, y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for virtual in virtual_variables(model):
        steps = virtual.parametrization.steps().spread(len(virtual.shape))
        whole = ops.convert_to_numpy(virtual.value) / steps
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)
    smh.shrink(model, x, quality=30)  # and again


def test_pruned_numbers_stay_zero():
    model = smh.prune(network(), 0.5)
    zero = [ops.convert_to_numpy(v.value) == 0 for v in virtual_variables(model)]
    smh.shrink(model, examples(), quality=50)
    for virtual, before in zip(virtual_variables(model), zero, strict=True):
        assert isinstance(virtual.parametrization, Stepped)
        assert not ops.convert_to_numpy(virtual.value)[before].any()


def test_every_kind_of_layer_is_looked_at():
    model = recurrent()
    tokens = np.random.default_rng(0).integers(0, 30, (64, 7))
    report = smh.shrink(model, tokens, target_size=5_000)
    assert {row.rule for row in report.rows} == {"inputs"} and report.bytes <= 5_000


def test_a_subclassed_model_whose_layer_runs_twice():
    model = Subclassed()
    x = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    expected = predictions(model, x)
    smh.shrink(model, x, quality=60)
    assert np.square(predictions(model, x) - expected).mean() < 0.01 * expected.var()


def test_data_may_be_a_data_set_a_function_or_one_example():
    x = examples(40)

    def pairs():
        for start in range(0, 40, 10):
            yield x[start : start + 10], np.zeros(10)

    by_array = smh.shrink(network(), x, quality=50).rows
    assert [r.bytes for r in smh.shrink(network(), pairs(), quality=50).rows] == [
        r.bytes for r in by_array
    ]
    assert smh.shrink(network(), lambda: x, quality=50).chosen.error == pytest.approx(
        smh.shrink(network(), x, quality=50).chosen.error
    )
    assert smh.shrink(network(), x[:1], quality=50).rows[0].rule == "inputs"


def test_zero_filters_and_half_precision(tmp_path):
    model = network()
    kernel = ops.convert_to_numpy(model.layers[1].kernel.value).copy()
    kernel[..., :3] = 0
    model.layers[1].kernel.assign(kernel)
    smh.shrink(model, examples(), quality=50)
    assert not ops.convert_to_numpy(model.layers[1].kernel.value)[..., :3].any()
    half = network("float16")
    x = examples().astype("float16")
    smh.shrink(half, x, quality=50)
    path, _ = written(half, tmp_path)
    np.testing.assert_array_equal(predictions(smh.load(path), x), predictions(half, x))


def with_nan(model):
    kernel = ops.convert_to_numpy(model.layers[1].kernel.value).copy()
    kernel[0, 0, 0, 0] = np.nan
    model.layers[1].kernel.assign(kernel)
    return model


def as_it_is(model):
    return model


HOSTILE = {
    "two budgets": (as_it_is, {"target_size": 9_000, "quality": 5}, "one of"),
    "size of nothing": (as_it_is, {"target_size": 0}, "above 0"),
    "size as text": (as_it_is, {"target_size": "9KB"}, "whole number of bytes"),
    "no rounding is so small": (as_it_is, {"target_size": 300}, "the smallest has"),
    "drop without a score": (as_it_is, {"max_drop": 1.0}, "needs evaluate"),
    "quality beyond": (as_it_is, {"quality": 101}, "0 to 100"),
    "no examples": (as_it_is, {"data": examples(0)}, "one example or more"),
    "examples of another shape": (as_it_is, {"data": examples()[:, :, :, :1]}, "cannot be called"),
    "examples with NaN": (as_it_is, {"data": examples() * np.nan}, "data has numbers"),
    "data that are none": (as_it_is, {"data": 3}, "data must be"),
    "NaN in a weight": (with_nan, {}, "not finite"),
    "rounded already": (lambda m: smh.quantize_weights(m, 4), {}, "already"),
    "shared already": (lambda m: smh.cluster(m, 4), {}, "already"),
    "nothing selected": (as_it_is, {"apply_to": "nowhere"}, "Nothing was selected"),
    "not a model": (lambda m: "model", {}, "Keras"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_work_changes_nothing(name):
    prepare, options, message = HOSTILE[name]
    model = prepare(network())
    before = numbers_of(model) if isinstance(model, keras.Model) else []
    with pytest.raises((SmhError, SelectionError, ArgumentError), match=message):
        smh.shrink(model, **options)
    for old, new in zip(before, numbers_of(model) if before else [], strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("when", [1, 2, 3])
def test_an_interrupt_leaves_the_model_as_it_was(when):
    model, calls = network(), []
    before = numbers_of(model)

    def interrupted(model):
        calls.append(1)
        if len(calls) > when:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        smh.shrink(model, examples(), max_drop=0.5, evaluate=interrupted)
    assert not virtual_variables(model)
    for old, new in zip(before, numbers_of(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_report_as_table_file_and_picture(tmp_path):
    report = smh.shrink(network(), examples(), quality=50)
    assert "of the error" in str(report) and "all else" in str(report)
    report.to_csv(tmp_path / "rows.csv")
    report.to_png(tmp_path / "picture.png")
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + len(report.rows)
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert sum(row.share for row in report.rows) == pytest.approx(1)


def test_digits():
    found = to_digits(np.array([0.0, 1.0, -1.015, 1000.3, 1e-20], "float32"), 4)
    np.testing.assert_allclose(found, [0, 1, -1, 992, 1e-20], rtol=0.04)
    assert found[0] == 0 and not np.signbit(to_digits(np.array([-0.0], "float32"), 4))


def with_bias(after):
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 6, 2))
    y = layers.Conv2D(4, 3, bias_initializer="random_normal", name="conv")(x)
    return keras.Model(x, after(y))


FOLDED = {
    "normalisation": (lambda y: layers.BatchNormalization()(y), True),
    "read twice": (lambda y: layers.Add()([layers.BatchNormalization()(y), y]), False),
    "an output too": (lambda y: [layers.BatchNormalization()(y), y], False),
    "activation between": (lambda y: layers.BatchNormalization()(layers.ReLU()(y)), False),
    "other axis": (lambda y: layers.BatchNormalization(axis=1)(y), False),
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_bias_that_does_nothing_is_folded(name):
    after, folded = FOLDED[name]
    model, x = with_bias(after), examples()[:, :6, :6]
    expected = model(x, training=False)
    in_training = model(x, training=True)
    model = with_bias(after)
    fold_biases(model)
    bias = ops.convert_to_numpy(model.get_layer("conv").bias.value)
    assert (not bias.any() and not np.signbit(bias).any()) == folded
    for training, wanted in ((False, expected), (True, in_training)):
        found = keras.tree.flatten(model(x, training=training))
        for a, b in zip(found, keras.tree.flatten(wanted), strict=True):
            np.testing.assert_allclose(
                ops.convert_to_numpy(a), ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5
            )


def test_statistics_of_few_digits_change_no_prediction():
    model, x = network(), examples(16)
    norm = model.layers[2]
    random = np.random.default_rng(0)
    for v in (norm.gamma, norm.beta, norm.moving_mean):
        v.assign(random.normal(size=16))
    norm.moving_variance.assign(random.uniform(1e-6, 9, 16))
    before = predictions(model, x)
    fold_statistics(model)
    np.testing.assert_allclose(predictions(model, x), before, atol=1e-5)
    variance = np.asarray(ops.convert_to_numpy(norm.moving_variance.value))
    np.testing.assert_array_equal(to_digits(variance, 2), variance)


def normalised(*axes, **settings):
    """A normalisation along each axis, each behind a convolution."""
    keras.utils.set_random_seed(0)
    x = y = keras.Input((8, 8, 2))
    for axis in axes:
        y = layers.Conv2D(8, 3, padding="same", use_bias=False)(y)
        y = layers.ReLU()(layers.BatchNormalization(axis=axis, **settings)(y))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


NORMALISED = {
    "channels": lambda: normalised(-1, -1, -1),
    "by another axis": lambda: normalised(1, -1),
    "without scale and offset": lambda: normalised(-1, -1, scale=False, center=False),
    "of large epsilon": lambda: normalised(-1, -1, epsilon=0.5),
}


@pytest.mark.parametrize("coarseness", [1e-4, 3e-3, 0.3])
@pytest.mark.parametrize("kind", NORMALISED)
def test_a_normalisation_gives_what_it_gave_by_regression(kind, coarseness):
    """On what comes through the rounded layers before it; on average, if nothing does."""
    model, x = NORMALISED[kind](), examples(64)
    norms = [one for one in model.layers if isinstance(one, layers.BatchNormalization)]
    random = np.random.default_rng(0)
    for norm in norms:
        norm.moving_mean.assign(random.normal(size=norm.moving_mean.shape) * 0.1)
        norm.moving_variance.assign(random.uniform(0.2, 1, norm.moving_variance.shape))
    seen = keras.Model(model.inputs, [norm.output for norm in norms])
    before = [ops.convert_to_numpy(y) for y in keras.tree.flatten(seen(x))]
    variances = [np.array(ops.convert_to_numpy(norm.moving_variance)) for norm in norms]
    items = items_of(model, smh.doors.candidates.candidates(model, None, None))
    gathered = gather(model, items, [x[i : i + 8] for i in range(0, 64, 8)])
    Flow(model, items, gathered.batch, gathered.norms).run(coarseness)
    after = [ops.convert_to_numpy(y) for y in keras.tree.flatten(seen(x))]
    lost = 0.0
    for norm, variance, was, now in zip(norms, variances, before, after, strict=True):
        was, now = (
            np.moveaxis(y, norm.axis, -1).reshape(-1, y.shape[norm.axis]) for y in (was, now)
        )
        np.testing.assert_allclose(now.mean(0), was.mean(0), atol=1e-3)
        off = now - now.mean(0)
        square = (off**2).mean(0)
        slope = (off * (was - was.mean(0))).mean(0) / np.maximum(square, 1e-9)
        new = ops.convert_to_numpy(norm.moving_variance)
        gain = np.sqrt((variance + norm.epsilon) / (new + norm.epsilon))
        free = (square > 1e-4) & (new > 1e-6) & (slope > 0) & (gain < 0.99 * _MOST_GAIN)
        np.testing.assert_allclose(slope[free], 1, rtol=0.02)
        lost = max(lost, float(np.mean(square < 0.5 * was.var(0))))
    assert coarseness == 3e-3 or (lost > 0) == (coarseness == 0.3)  # both kinds were looked at


def test_a_channel_that_nothing_can_be_divided_by_keeps_its_statistics():
    model, x = normalised(-1, epsilon=0.0), examples(16)
    norm = model.layers[2]
    norm.moving_variance.assign([0.0, np.nan, *[0.5] * 6])
    random = np.random.default_rng(0)
    norms, inputs = Normalisations(model), ops.convert_to_numpy(model.layers[1](x))
    norms.see(norm, inputs, random)
    norms.keep(norm, inputs + 0.1 * random.normal(size=inputs.shape))
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    assert not mean[:2].any() and variance[0] == 0 and np.isnan(variance[1])
    assert np.isfinite(mean).all() and np.isfinite(variance[2:]).all() and mean[2:].all()


def test_a_normalisation_that_is_called_twice_keeps_its_statistics():
    norm = layers.BatchNormalization()
    x = keras.Input((8, 8, 2))
    y = norm(layers.Conv2D(4, 3)(norm(layers.Conv2D(4, 3)(x))))
    model, data = keras.Model(x, y), examples(16)
    items = items_of(model, smh.doors.candidates.candidates(model, None, None))
    gathered = gather(model, items, [data])
    Flow(model, items, gathered.batch, gathered.norms).run(1.0)
    assert not np.any(norm.moving_mean) and np.all(np.asarray(norm.moving_variance) == 1)


def test_statistics_that_nothing_can_be_divided_by_stay():
    x = keras.Input((4,))
    model = keras.Model(x, layers.BatchNormalization(epsilon=0.0)(x))
    norm = model.layers[1]
    norm.moving_variance.assign([0.0, 1.3, 2.7, 0.1])
    before = numbers_of(model)
    fold_statistics(model)
    for was, now in zip(before, numbers_of(model), strict=True):
        np.testing.assert_array_equal(now, was)


def test_of_very_many_outputs_each_counts_for_itself():
    """Else a layer of 50,000 outputs would take 20 GB."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2049)])
    items = items_of(model, smh.doors.candidates.candidates(model, None, None))
    gather(model, items, [np.ones((2, 3), "float32")] * 5)
    assert items[0].outputs is None and items[0].weights.shape == (1, 2049)


WOKEN = {  # channels that are silent, how loud they are, examples, how much coarser
    "never": (1, 0.0, 128, 8),
    "hardly": (1, 1e-6, 128, 8),
    "hardly, in few examples": (1, 1e-6, 8, 2),
    "most hardly: they are dead": (12, 1e-6, 128, np.inf),
}


@pytest.mark.parametrize("kind", WOKEN)
def test_a_channel_that_no_example_wakes_is_rounded_as_if_the_next_one_may(kind):
    silent, loud, count, told = WOKEN[kind]
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 16))
    y = layers.DepthwiseConv2D(3, use_bias=False)(x)
    model = keras.Model(x, layers.Dense(4)(layers.GlobalAveragePooling2D()(y)))
    found = smh.doors.candidates.candidates(model, None, None)
    item = next(one for one in items_of(model, found) if "depthwise" in one.path)
    data = np.random.default_rng(0).normal(size=(count, 8, 8, 16)).astype("float32")
    data[..., :silent] *= loud
    gather(model, [item], batches_of(model, data, count, least=8))
    steps = (item.inputs.level[:, None] * item.weights)[:, 0] ** -0.5
    coarser = steps[:silent] / np.median(steps[silent:])
    if told == np.inf:
        assert (coarser > 100).all()
    else:
        assert (coarser > 0.7 * told).all() and (coarser < 1.6 * told).all(), coarser


def test_a_token_that_no_example_has_is_not_given_away():
    tokens = keras.Input((6,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(40, 8)(tokens))
    model = keras.Model(tokens, layers.Dense(4)(y))
    found = smh.doors.candidates.candidates(model, None, None)
    item = next(one for one in items_of(model, found) if "embedding" in one.path)
    data = np.random.default_rng(0).integers(0, 10, (64, 6)).astype("int32")  # 30 never occur
    gather(model, [item], batches_of(model, data, 64, least=8))
    steps = (item.inputs.level[:, None] * item.weights).mean(1) ** -0.5
    assert (steps[10:] < 100 * np.median(steps[:10])).all(), steps


OUTPUTS = {
    "convolution": lambda: layers.Conv2D(6, 3),
    "channels first": lambda: layers.Conv2D(6, (3, 1), data_format="channels_first"),
    "groups": lambda: layers.Conv2D(6, 3, groups=2),
    "transposed": lambda: layers.Conv2DTranspose(6, 3),
    "dense": lambda: layers.Dense(6, activation="tanh"),
    "einsum": lambda: layers.EinsumDense("abcd,de->abce", (None, None, 6)),
    "moved": lambda: layers.EinsumDense("abcd,de->aebc", (6, None, None)),
    "depthwise": lambda: layers.DepthwiseConv2D(3),
}
APART = {"channels first", "moved", "depthwise"}  # their outputs are no last axis, or one each


@pytest.mark.parametrize("kind", OUTPUTS)
def test_how_errors_of_outputs_go_together_is_seen(kind):
    """Of outputs that are summed with the same sign at once: all go together."""
    if kind == "channels first" and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's convolution on a CPU takes channels last")
    layer = OUTPUTS[kind]()
    x = keras.Input((8, 8, 2))
    axes = (1, 2, 3)
    y = layers.Lambda(lambda t: ops.sum(t, axis=axes, keepdims=True))(layer(x))
    model = keras.Model(x, layers.Flatten()(y))
    found = [c for c in smh.doors.candidates.candidates(model, None, None)]
    items = items_of(model, found)
    data = examples(256)
    gather(model, items, [data[i : i + 32] for i in range(0, 256, 32)])
    outputs = items[0].outputs
    assert (outputs is None) == (kind in APART)
    if outputs is not None and kind != "dense":
        inverse = np.linalg.inv(outputs.factor[0].T @ outputs.factor[0])
        size = np.sqrt(np.diagonal(inverse))
        m = len(inverse)
        together = inverse / size / size[:, None]
        np.testing.assert_allclose(together[~np.eye(m, dtype=bool)], 0.65, atol=0.02)


def two_before_one():
    first, second, norm = keras.Input((8,)), keras.Input((8,)), layers.BatchNormalization()
    ones = layers.Dense(4, bias_initializer="ones")(first)
    model = keras.Model([first, second], norm(ones) + norm(layers.Dense(4)(second)))
    return model


def also_outside():
    first, second, norm = keras.Input((8,)), keras.Input((8,)), layers.BatchNormalization()
    dense = layers.Dense(8, bias_initializer="ones")
    inner = keras.Sequential([keras.Input((8,)), dense, norm, layers.ReLU()])
    return keras.Model([first, second], inner(first) + norm(second))


class InCode(layers.Layer):
    def __init__(self):
        super().__init__()
        dense = layers.Dense(4, bias_initializer="ones")
        self.inner = keras.Sequential([keras.Input((8,)), dense, layers.BatchNormalization()])

    def call(self, x):
        return self.inner(x) + self.inner.layers[0](x)


def in_code():
    first, second = keras.Input((8,)), keras.Input((8,))
    return keras.Model([first, second], InCode()(first + second))


@pytest.mark.parametrize("make", [two_before_one, also_outside, in_code])
@pytest.mark.parametrize("with_data", [True, False])
def test_a_bias_stays_where_others_see_it_or_its_normalisation(make, with_data):
    keras.utils.set_random_seed(0)
    model = make()
    x = [np.random.default_rng(i).normal(size=(64, 8)).astype("float32") for i in range(2)]
    before = predictions(model, x)
    smh.shrink(model, x if with_data else None, quality=100)
    np.testing.assert_allclose(predictions(model, x), before, atol=0.1)  # the biases are ones


EINSUMS = [
    ("abc,cd->abd", (5, 6), "d"),
    ("abc,cd->abd", (5, 6), "bd"),
    ("abc,cd->abd", (5, 6), None),
    ("abc,cde->abde", (5, 3, 2), "de"),
    ("abc,cde->abde", (5, 3, 2), "d"),
    ("abc,cde->abde", (5, 3, 2), "e"),
    ("abc,cd->ad", (6,), "d"),
]


@pytest.mark.parametrize(("equation", "shape", "axes"), EINSUMS)
def test_a_bias_takes_up_what_is_missing_whatever_its_axes(equation, shape, axes):
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 8))
    model = keras.Model(x, layers.EinsumDense(equation, shape, bias_axes=axes)(x))
    data = np.random.default_rng(0).normal(1, 1, (128, 5, 8)).astype("float32")
    before = predictions(model, data)
    smh.shrink(model, data, quality=50)
    missing = predictions(model, data) - before
    assert np.square(missing).mean() < 3e-3 * before.var()
    assert np.abs(missing.mean(0)).max() < 0.05 * before.std()


COMPUTED = {
    "channels": lambda model: smh.prune(model, 0.5, structure="channels"),
    "all numbers": lambda model: smh.prune(model, 0.5, apply_to=".*"),
    "shared biases": lambda model: smh.cluster(model, 2, apply_to=".*bias"),
    "rounded biases": lambda model: smh.quantize_weights(model, 4, apply_to=".*bias"),
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_a_bias_that_is_computed_stays_as_it_is(kind):
    model = dense_layers(24, 16)
    for variable in model.trainable_variables:
        if "bias" in variable.path:
            variable.assign(np.linspace(-1, 1, variable.shape[0]))
    COMPUTED[kind](model)
    x = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
    before = predictions(model, x)
    biases = {v.path: np.array(ops.convert_to_numpy(v.value)) for v in virtual_variables(model)}
    smh.shrink(model, x, quality=60, apply_to=".*kernel")
    after = predictions(model, x)
    assert np.square(after - before).mean() < 0.05 * before.var()
    for variable in virtual_variables(model):
        if "bias" in variable.path:
            found = ops.convert_to_numpy(variable.value)
            # As all floats that are no weights: of as few digits as do no harm.
            np.testing.assert_allclose(found, biases[variable.path], atol=0.01)


class OnAnotherAxis(layers.Dense):
    def build(self, shape):
        super().build((shape[0], shape[1]))
        self.input_spec = None

    def call(self, x):
        return ops.swapaxes(ops.swapaxes(x, 1, 2) @ self.kernel + self.bias, 1, 2)

    def compute_output_shape(self, shape):
        return (shape[0], self.units, shape[2])


class WithAName(layers.Dense):
    pass


@pytest.mark.parametrize(("kind", "rule"), [(OnAnotherAxis, "numbers"), (WithAName, "inputs")])
def test_a_layer_with_a_call_of_its_own_has_no_rule(kind, rule):
    x = keras.Input((5, 8))
    model = keras.Model(x, layers.Dense(3)(kind(6)(x)))
    data = np.random.default_rng(0).normal(size=(64, 5, 8)).astype("float32")
    report = smh.shrink(model, data, quality=50)
    assert [row.rule for row in report.rows] == [rule, "inputs"]


def test_many_tokens_take_little_memory():
    tokens = keras.Input((16,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(20_000, 4)(tokens))
    model = keras.Model(tokens, layers.Dense(2)(y))
    data = np.random.default_rng(0).integers(0, 20_000, (64, 16))
    tracemalloc.start()
    try:
        smh.shrink(model, data, quality=20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6  # a matrix of 20,000 by 20,000 has 400 MB as bytes


class Counting(layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(
            shape=(), dtype="int32", trainable=False, initializer="zeros", name="count"
        )

    def call(self, x):
        self.count.assign(self.count + 1)
        return x


LOOKED_AT = {
    "shrink": lambda model, x: smh.shrink(model, x, quality=50),
    "fisher": lambda model, x: smh.sensitivity.fisher(model, x),
    "scan": lambda model, x: smh.sensitivity_scan(model, x, [0.5], method="fisher", verbose=0),
}


@pytest.mark.parametrize("door", LOOKED_AT)
def test_states_and_counters_are_what_they_were(door):
    x = keras.Input(batch_shape=(1, 5, 3))
    lstm, counting = layers.LSTM(4, stateful=True), Counting()
    model = keras.Model(x, layers.Dense(2)(counting(lstm(x))))
    data = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("float32")
    model(data)
    states = [*lstm.states, counting.count]
    before = [np.array(ops.convert_to_numpy(v.value)) for v in states]
    LOOKED_AT[door](model, data)
    for variable, numbers in zip(states, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable.value), numbers)


@pytest.mark.parametrize("last", ["rows_of", "apply"])
def test_an_interrupt_at_the_end_leaves_the_model_as_it_was(last, monkeypatch):
    model = network()
    before, variables = numbers_of(model), list(model.variables)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shrink_model, last, interrupted)
    with pytest.raises(KeyboardInterrupt):
        smh.shrink(model, examples(), quality=30)
    assert all(a is b for a, b in zip(model.variables, variables, strict=True))
    for now, then in zip(numbers_of(model), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize(
    ("inputs", "outputs"), [(1e30, 1), (1, 1e-25)], ids=["examples", "gradients"]
)
def test_numbers_that_overflow_are_told(inputs, outputs):
    whole, x = network(), examples()
    model = keras.Model(whole.input, layers.Dense(10)(whole.layers[-2].output))  # of any scale
    model.layers[-1].set_weights([outputs * w for w in model.layers[-1].get_weights()])
    before = numbers_of(model)
    with pytest.raises(ArgumentError, match="squares float32 cannot hold"):
        smh.shrink(model, inputs * x, quality=50)
    for now, then in zip(numbers_of(model), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_a_layer_computes_from_its_statistics_stays(tmp_path):
    x = np.random.default_rng(0).normal(3, 2, (200, 8)).astype("float32")
    normalise = layers.Normalization()
    normalise.adapt(x)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), normalise, layers.Dense(64), layers.Dense(3)])
    smh.shrink(model, x, quality=30)
    path, _ = written(model, tmp_path)
    np.testing.assert_array_equal(predictions(smh.load(path), x), predictions(model, x))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow has such scopes")
@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: smh.shrink(model, quality=50),
        lambda model, x: smh.shrink(model, x, quality=50),
        lambda model, x: smh.sensitivity.fisher(model, x),
        lambda model, x: smh.sensitivity_scan(model, x, [0.5], method="fisher", verbose=0),
        lambda model, x: smh.bits_scan(model, x, [4], method="fisher", verbose=0),
    ],
    ids=["shrink", "shrink by examples", "fisher", "scan of sparsities", "scan of bits"],
)
def test_inside_a_strategy_it_is_refused(call):
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = dense_layers(8)
        before = model.get_weights()
        with pytest.raises(ArgumentError, match="not inside"):
            call(model, np.ones((16, 12), "float32"))
        assert all(map(np.array_equal, before, model.get_weights()))
    call(model, np.ones((16, 12), "float32"))


@pytest.mark.parametrize("door", LOOKED_AT)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_fixed_batch_size_that_binds_is_told(batch, door):
    x = np.random.default_rng(0).normal(size=(8, 6, 5)).astype("float32")
    steps, lstm = keras.Input(batch_shape=(batch, 6, 5)), layers.LSTM(8, stateful=True)
    model = keras.Sequential([steps, lstm, layers.Dense(3)])
    model(x[:batch])
    before = [np.array(ops.convert_to_numpy(v.value)) for v in lstm.states]
    with pytest.raises(ArgumentError, match=f"takes {batch} examples at a time.* stateful=False"):
        LOOKED_AT[door](model, x)
    for state, numbers in zip(lstm.states, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(state.value), numbers)
    smh.shrink(model, quality=70)


class OfItsOwn(layers.Layer):
    """Looks at three numbers of its own, whatever the batch."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Conv1D(4, 3)
        self.inner.build((None, 3, 5))

    def call(self, x):
        return x + ops.sum(self.inner(ops.ones((1, 3, 5))))


def test_a_layer_that_sees_fewer_rows_than_there_are_batches():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5), OfItsOwn(), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    report = smh.shrink(model, x, quality=60)
    assert {row.rule for row in report.rows} == {"inputs"}


@pytest.mark.parametrize("most", [1, 2**10, 2**14, 2**28])
def test_as_many_rows_are_looked_at_however_many_examples_fit_at_once(most, monkeypatch):
    model, x = network(), examples(128)
    taken = {}

    def moments_of(self, rows, old=Product.moments_of):
        taken[self.variable.path] = taken.get(self.variable.path, 0) + rows.shape[1]
        return old(self, rows)

    monkeypatch.setattr(Product, "moments_of", moments_of)
    monkeypatch.setattr(statistics, "_MOST_AT_ONCE", most)
    monkeypatch.setattr(statistics, "_LEAST_ROWS", 256)
    monkeypatch.setattr(statistics, "_ROWS_PER_INPUT", 1)
    items = items_of(model, smh.doors.candidates.candidates(model, None, None))
    gather(model, items, [x[i : i + 16] for i in range(0, 128, 16)])
    first = next(item for item in items if "conv2d" in item.path)
    assert 0.5 * 256 <= taken[first.path] <= 256


LITTLE = {
    "two numbers": lambda: (2, layers.Dense(1)),
    "all alike": lambda: (8, layers.Dense(8, kernel_initializer="ones")),
}


@pytest.mark.parametrize("kind", LITTLE)
def test_a_search_by_a_score_begins_somewhere_where_bits_say_nothing(kind):
    width, layer = LITTLE[kind]()
    model = keras.Sequential([keras.Input((width,)), layer])
    x = np.random.default_rng(0).normal(size=(64, width)).astype("float32")
    expected = predictions(model, x)

    def score(model):
        return -float(np.square(predictions(model, x) - expected).mean() / expected.var())

    report = smh.shrink(model, x, max_drop=0.01, evaluate=score)
    assert score(model) >= -0.01 and report.chosen.score >= -0.01
    assert any(attempt.score < -0.01 for attempt in report.attempts)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is TensorFlow's")
@pytest.mark.parametrize("door", LOOKED_AT)
def test_a_layer_without_gradients_of_this_kind_is_told(door):
    """Of float8, Keras' gradient on TensorFlow works in graphs alone: of four batches or more."""
    model = dense_layers(32, 8)
    model.layers[-2].quantize("float8")
    with pytest.raises(ArgumentError, match="no gradients: .* needs none without data"):
        LOOKED_AT[door](model, np.ones((3, 12), "float32"))
    x = (
        np.random.default_rng(0).normal(size=(17, 12)).astype("float32")
    )  # the last batch is shorter
    smh.shrink(model, x, quality=70)
