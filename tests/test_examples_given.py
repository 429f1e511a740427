"""What users give as examples: every form gives what its plain arrays give, or a clear error."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import smh
from smh.errors import ArgumentError
from smh.sensitivity.examples import batches_of, values

pytestmark = pytest.mark.backend_agnostic

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
COUNT, BATCH = 24, 8
WIDTHS = {"a": 8, "b": 4, "c": 8}  # two of them look the same


def arrays(inputs, seed=0):
    random = np.random.default_rng(seed)
    return [
        random.normal(size=(COUNT, n)).astype("float32") for n in list(WIDTHS.values())[:inputs]
    ]


def functional(inputs, as_dict=False):
    given = {name: layers.Input((WIDTHS[name],), name=name) for name in list(WIDTHS)[:inputs]}
    flat = list(given.values())
    joined = layers.Concatenate()(flat) if inputs > 1 else flat[0]
    taken = given if as_dict else flat if inputs > 1 else flat[0]
    return keras.Model(taken, layers.Dense(3)(layers.Dense(5, activation="relu")(joined)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        flat = keras.tree.flatten(inputs)
        return self.dense(keras.ops.concatenate(flat, axis=-1))


def subclassed(inputs):
    model, flat = Subclassed(), arrays(inputs)
    model(flat if inputs > 1 else flat[0])
    return model


class Silent(Subclassed):
    """Does not say what it was built with."""

    def get_build_config(self):
        return None

    def call(self, inputs):
        return self.dense(inputs)


class SilentOfTwo(Silent):
    def call(self, inputs):
        left, right = inputs
        return self.dense(left @ right)


MODELS = {
    **{f"of {n}": (lambda n=n: functional(n), n) for n in (1, 2, 3)},
    "of 2, named": (lambda: functional(2, as_dict=True), 2),
    **{f"of {n}, subclassed": (lambda n=n: subclassed(n), n) for n in (1, 2)},
}


def map_arrays(function, nest):
    return keras.tree.map_structure(lambda x: x if x is None else function(x), nest)


class Batches(keras.utils.PyDataset):
    def __init__(self, all_of_it, endless=False):
        super().__init__()
        self.all_of_it, self.endless = all_of_it, endless

    @property
    def num_batches(self):
        return None if self.endless else COUNT // BATCH

    def __getitem__(self, index):
        start = index * BATCH % COUNT
        return map_arrays(lambda x: x[start : start + BATCH], self.all_of_it)


def data_set(all_of_it):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(all_of_it).batch(BATCH)


def generator(all_of_it):
    return iter([Batches(all_of_it)[i] for i in range(COUNT // BATCH)])


def as_lists(all_of_it):
    """As PyTorch's loader gives them."""
    return ([*batch] for batch in generator(all_of_it))


def of_inputs(flat, kind):
    if kind == "dict":
        return dict(zip(WIDTHS, flat, strict=False))
    return flat[0] if len(flat) == 1 else tuple(flat) if kind == "tuple" else list(flat)


LABELS = np.arange(COUNT) % 3
TARGETS = arrays(1, seed=1)[0]  # they look like an input
WEIGHTS = np.ones(COUNT, "float32")
BESIDE = {
    "alone": lambda x: x,
    "in a tuple": lambda x: (x,),
    "labels": lambda x: (x, LABELS),
    "targets": lambda x: (x, TARGETS),
    "labels and weights": lambda x: (x, LABELS, WEIGHTS),
    "no labels": lambda x: (x, None),
}
FORMS = {
    "arrays": lambda given: given,
    "a function": lambda given: lambda: given,
    "a generator": generator,
    "a list of batches": lambda given: list(generator(given)),
    "a PyDataset": Batches,
    "a PyDataset without an end": lambda given: Batches(given, endless=True),
    **({"tf.data": data_set} if ON_TENSORFLOW else {}),
}
TABLE = [
    (model, kind, form, beside)
    for model in MODELS
    for kind in ("list", "tuple", "dict")
    for form in FORMS
    for beside in BESIDE
    if not (kind == "dict" and "subclassed" in model)  # it tells no names
    and not (kind == "tuple" and MODELS[model][1] == 1)  # that is no other than a list
    and not (form == "tf.data" and (kind == "list" or beside == "no labels"))  # it stacks lists
]


def check_same(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        flat, plain = keras.tree.flatten(one), keras.tree.flatten(other)
        assert len(flat) == len(plain)
        assert all(np.array_equal(x, y) for x, y in zip(flat, plain, strict=True))


@pytest.fixture(scope="module")
def models():
    return {name: make() for name, (make, _) in MODELS.items()}


@pytest.mark.parametrize("name, kind, form, beside", TABLE)
def test_every_form_gives_the_examples_that_plain_arrays_give(models, name, kind, form, beside):
    flat = arrays(MODELS[name][1])
    given = FORMS[form](BESIDE[beside](of_inputs(flat, kind)))
    found = batches_of(models[name], given, most=20, size=8)
    ends = [(0, 8), (8, 16), (16, 20)]
    check_same(found, [[x[start:end] for x in flat] for start, end in ends])
    models[name](found[0])


MORE = {
    "a tuple of many batches": lambda x: tuple(x[i : i + 6] for i in range(0, COUNT, 6)),
    "a list of two batches": lambda x: [x[:12], x[12:]],
    "a list of labelled batches": lambda x: [(x[:12], LABELS[:12]), (x[12:], LABELS[12:])],
    "a list with labels": lambda x: [x, LABELS],
    "batches as lists with labels": lambda x: as_lists((x, LABELS)),
    "batches as lists with targets": lambda x: as_lists((x, TARGETS)),
    "a dictionary with more in it": lambda x: {"a": x, "other": LABELS[:3]},
    "half precision": lambda x: x.astype("float16").astype("float32"),
}


@pytest.mark.parametrize("form", MORE)
def test_further_forms_for_one_input(models, form):
    x = arrays(1)[0]
    x = MORE[form](x) if form == "half precision" else x
    given = x.astype("float16") if form == "half precision" else MORE[form](x)
    check_same(batches_of(models["of 1"], given, COUNT, COUNT), [[x]])


def test_batches_of_several_inputs_in_lists(models):
    a, b = arrays(2)
    for given in ([[a[:12], b[:12]], [a[12:], b[12:]]], as_lists(([a, b], LABELS))):
        check_same(batches_of(models["of 2"], given, COUNT, COUNT), [[a, b]])


# What the inputs of a list are called, where a user names them or not; and what goes for a name.
CALLED = {
    "by the layers": ([None] * 3, lambda x: x._keras_history.operation.name),
    "by the tensors": ([None] * 3, lambda x: x.name),
    "by the user": (["z", "y", "x"], lambda x: x.name),
}


@pytest.mark.parametrize("more", [{}, {"label": LABELS}])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("called", CALLED)
def test_inputs_are_known_by_name_whoever_named_them(called, count, more):
    flat, (given, name) = arrays(count), CALLED[called]
    taken = [layers.Input(x.shape[1:], name=n) for x, n in zip(flat, given, strict=False)]
    joined = layers.Concatenate()(taken) if count > 1 else taken[0]
    model = keras.Model(taken, layers.Dense(3)(joined))
    named = {name(x): array for x, array in zip(taken, flat, strict=True)}
    check_same(batches_of(model, {**named, **more}, COUNT, COUNT), [flat])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    scan = smh.sensitivity_scan(model, ({**named, **more}, LABELS), [0.5], verbose=0)
    assert scan.baseline == pytest.approx(model.evaluate(flat, LABELS, verbose=0, return_dict=True))
    if count > 1:
        shapes = ", ".join(f"{x._keras_history.operation.name}: \\({x.shape[1]},\\)" for x in taken)
        with pytest.raises(ArgumentError, match=f"of examples of shapes {shapes}"):
            batches_of(model, flat[0], COUNT, COUNT)


class Lazy(layers.Layer):
    """Makes a variable from a value in its first call that is not training."""

    def call(self, x, training=False):
        if not training and not hasattr(self, "scale"):
            scale = keras.Variable(np.full(4, 2.0, "float32"), trainable=False)
            object.__setattr__(self, "scale", scale)  # behind the back of Keras
        return x if training else x * self.scale


def test_a_model_that_makes_a_variable_in_its_first_call_is_taken():
    lazy, x = Lazy(), np.ones((COUNT, 4), "float32")
    check_same(batches_of(lazy, x, COUNT, COUNT), [x])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(lazy.scale.value), 2.0)


def test_a_model_that_tells_nothing_is_tried():
    left, right = np.ones((COUNT, 2, 4), "float32"), np.ones((COUNT, 4, 4), "float32")
    model = SilentOfTwo()
    model([left, right])
    for given in ((left, right), [left, right], ([left, right], LABELS)):
        check_same(batches_of(model, given, COUNT, COUNT), [[left, right]])
    single = Silent()
    single(left)
    for given in (left, (left, LABELS), generator((left, right))):
        check_same(batches_of(single, given, COUNT, COUNT), [[left]])


@pytest.mark.parametrize("use", ["shrink", "fisher", "scan"])
def test_the_doors_leave_labels_out(use):
    def outcome(data):
        keras.utils.set_random_seed(0)
        model = functional(2)
        if use == "shrink":
            smh.shrink(model, data, quality=50)
            return np.concatenate([np.ravel(x) for x in model.get_weights()])
        if use == "fisher":
            return smh.sensitivity.fisher(model, data)(model.trainable_variables[0])
        return [row.metrics for row in smh.sensitivity_scan(model, data, method="fisher").rows]

    x = tuple(arrays(2))
    assert np.array_equal(outcome(x), outcome((x, LABELS)))


def lstm():
    return keras.Sequential([layers.Input((10, 4)), layers.LSTM(5), layers.Dense(3)])


class Recurrent(Subclassed):
    def __init__(self):
        super().__init__()
        self.lstm = layers.LSTM(5)

    def call(self, inputs):
        return self.dense(self.lstm(inputs))


def subclassed_lstm():
    model = Recurrent()
    model(np.zeros((2, 10, 4), "float32"))
    return model


def test_a_subclassed_model_takes_other_ranks_than_it_was_built_with():
    model = Subclassed()
    model(of(2, 5, 8))
    x = of(20, 8)
    check_same(batches_of(model, (x, np.arange(20)), 20, 20), [[x]])


def of(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


ONE = lambda: functional(1)  # noqa: E731
TWO = lambda: functional(2)  # noqa: E731
FAULTS = {
    "wrong width": (ONE, of(20, 7), ["shape (7,)", "shape (8,)"]),
    "wrong width of steps": (lstm, of(20, 10, 5), ["(10, 5)", "(10, 4)"]),
    "wrong width, subclassed": (subclassed_lstm, of(20, 10, 5), ["(10, 5)", "5", "4"]),
    "wrong width beside labels": (ONE, (of(20, 7), np.arange(20)), ["(7,)", "(8,)"]),
    "wrong width of one of two": (TWO, [of(20, 8), of(20, 5)], ["(8,), (5,)", "a: (8,), b: (4,)"]),
    "one of two": (TWO, of(20, 8), ["2 arrays", "a: (8,), b: (4,)"]),
    "three of two": (TWO, [of(20, 8)] * 3, ["2 arrays", "a: (8,), b: (4,)"]),
    "other names": (TWO, {"a": of(20, 8), "z": of(20, 4)}, ["a: (8,), b: (4,)", "z"]),
    "one example": (ONE, of(8), ["axis of examples", "(8,)", "x[None]"]),
    "one example of steps": (lstm, of(10, 4), ["axis of examples", "(10, 4)", "x[None]"]),
    "one example, subclassed": (subclassed_lstm, of(10, 4), ["axis of examples", "x[None]"]),
    "one example of two": (TWO, [of(8), of(4)], ["axis of examples", "a: (8,), b: (4,)"]),
    "examples one by one": (ONE, lambda: iter(of(20, 8)), ["single examples", "batch(32)", "(8,)"]),
    "steps one by one": (lstm, lambda: iter(of(20, 10, 4)), ["single examples", "batch(32)"]),
    "one by one, labelled": (ONE, lambda: iter([(of(8), 1)] * 9), ["single examples", "batch(32)"]),
    "a list of examples": (ONE, list(of(20, 8)), ["single examples", "np.stack"]),
    "batches that differ": (ONE, lambda: iter([of(20, 8), of(20, 7)]), ["(7,)", "(8,)"]),
    "lists of numbers": (ONE, of(20, 8).tolist(), ["float", "np.asarray"]),
    "a list of nothing": (ONE, [None], ["None", "array"]),
    "nothing beside an array": (TWO, [of(20, 8), None], ["None", "array"]),
    "an empty list": (ONE, [], ["no example"]),
    "a name": (ONE, "digits", ["data must be", "str"]),
    "bytes": (ONE, b"digits", ["data must be", "bytes"]),
    "a list of text": (ONE, ["one", "two"], ["'one'", "array"]),
    "a number": (ONE, 3, ["data must be", "int"]),
    "a number alone": (ONE, np.float32(3), ["axis of examples"]),
    "an array of text": (ONE, np.array([["a"] * 8] * 20), ["cannot be called", "(8,)"]),
    "complex": (ONE, of(20, 8) + 1j, ["complex64", "not complex"]),
    "objects": (ONE, np.full((20, 8), None), ["object"]),
    "dates": (ONE, np.zeros((20, 8), "datetime64[s]"), ["datetime64"]),
    "lengths that differ": (TWO, [of(20, 8), of(19, 4)], ["as many in each"]),
    **(
        {"unbatched tf.data": (ONE, lambda: data_set(of(20, 8)).unbatch(), ["batch(32)"])}
        if ON_TENSORFLOW
        else {}
    ),
}


@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_no_model_takes_is_refused_and_nothing_changes(fault):
    make, data, said = FAULTS[fault]
    model = make()
    before = model.get_weights()
    with pytest.raises(ArgumentError) as raised:
        smh.shrink(model, data() if callable(data) else data, quality=50)
    message = str(raised.value)
    assert all(words in message for words in said), message
    assert not re.search(r"\x1b|Exception encountered|__wrapped__|Arguments received", message)
    assert len(message) < 700 and len(message.splitlines()) == 1
    assert all(np.array_equal(x, y) for x, y in zip(before, model.get_weights(), strict=True))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="only TensorFlow's tensors hold text")
@pytest.mark.parametrize("form", ["text", "objects", "a tensor", "a data set", "labelled"])
def test_text_goes_to_a_model_that_takes_text(form):
    import tensorflow as tf

    words = layers.TextVectorization(max_tokens=50, output_sequence_length=6)
    words.adapt(["a b c", "d e f"])
    text = np.array([["a b"], ["c d f"]] * 20)

    def outcome(data):
        keras.utils.set_random_seed(0)
        rest = [layers.Embedding(50, 4), layers.Flatten(), layers.Dense(3)]
        model = keras.Sequential([keras.Input((1,), dtype="string"), words, *rest])
        smh.shrink(model, data, quality=50)
        return np.concatenate([np.ravel(v.numpy()) for v in model.trainable_variables])

    given = {
        "text": text,
        "objects": text.astype(object),
        "a tensor": tf.constant(text),
        "a data set": tf.data.Dataset.from_tensor_slices(text).batch(8),
        "labelled": tf.data.Dataset.from_tensor_slices((text, np.arange(40))).batch(8),
    }
    assert np.array_equal(outcome(given[form]), outcome(text))


# `evaluate=` as data


def labelled(x, y):
    """The same examples and labels in every form that is measured."""
    pairs = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, COUNT, BATCH)]
    forms = {
        "a pair": (x, y),
        "a list of two": [x, y],
        "weights": (x, y, WEIGHTS),
        "batches": Batches((x, y)),
        "a list of three batches": pairs,
        "a list of two batches": [(x[:8], y[:8]), (x[8:], y[8:])],
        "a list of one batch": [(x, y)],
        "a tuple of batches": tuple(pairs),
        "batches as lists": [[*pair] for pair in pairs],
    }
    return forms | ({"tf.data": data_set((x, y))} if ON_TENSORFLOW else {})


def compiled(make=ONE, **options):
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(**{"loss": loss, "metrics": ["accuracy"], **options})
    return model


@pytest.mark.parametrize("form", labelled(arrays(1)[0], LABELS))
def test_every_form_is_measured_as_its_plain_arrays_are(form):
    model, x = compiled(), arrays(1)[0]
    wanted = model.evaluate(x, LABELS, verbose=0, return_dict=True)
    found = smh.sensitivity_scan(model, labelled(x, LABELS)[form], [0.5], verbose=0).baseline
    assert found == pytest.approx(wanted, rel=1e-5)


def once(given):
    """`tf.data` over what can be read only once."""
    import tensorflow as tf

    batches = iter([given])
    kinds = tuple(tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in given)
    return tf.data.Dataset.from_generator(lambda: (yield from batches), output_signature=kinds)


SQUARE = lambda: keras.Sequential([keras.Input((8,)), layers.Dense(8)])  # noqa: E731
X, Y = of(COUNT, 8), LABELS
UNFIT = {
    "wrong width": (ONE, {}, (of(COUNT, 7), Y), ["shape (7,)", "shape (8,)"]),
    "wrong width in batches": (ONE, {}, [(of(8, 7), Y[:8])] * 2, ["(7,)", "(8,)"]),
    "one-hot": (ONE, {}, (X, np.eye(3)[Y]), ["cannot be evaluated", "(24, 3)"]),
    "text": (ONE, {}, (X, np.array(["a"] * COUNT)), ["cannot be evaluated", "<U1 (24,)"]),
    "unequal": (ONE, {}, (X, Y[:9]), ["as many labels", "x has 24, y has 9"]),
    "no example": (ONE, {}, (X[:0], Y[:0]), ["one example"]),
    "lists of numbers": (ONE, {}, (X.tolist(), Y.tolist()), ["np.asarray"]),
    "no loss": (ONE, {"loss": None, "metrics": None}, (X, Y), ["No loss to compute"]),
    "three of them": (SQUARE, {"loss": "mse"}, [X[:8]] * 3, ["Labels are missing", "(x, x)"]),
    "examples alone": (ONE, {}, X, ["a pair (x, y)", "ndarray"]),
    "four parts": (ONE, {}, (X, Y, WEIGHTS, WEIGHTS), ["4 parts", "sample_weight"]),
    "no end": (ONE, {}, lambda: Batches((X, Y), endless=True), ["without an end"]),
    **(
        {
            "tf.data without an end": (
                ONE,
                {},
                lambda: data_set((X, Y)).repeat(),
                ["without an end", "take(100)"],
            ),
            "unbatched": (ONE, {}, lambda: data_set((X, Y)).unbatch(), ["batch(32)"]),
            "read once": (ONE, {}, lambda: once((X, Y)), ["read again and again"]),
        }
        if ON_TENSORFLOW
        else {}
    ),
}


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_pair_whose_labels_are_like_the_examples_is_a_pair(kind):
    model = compiled(SQUARE, loss="mse", metrics=None)
    found = smh.sensitivity_scan(model, kind([X, 2 * X]), [0.5], verbose=0).baseline["loss"]
    assert found == pytest.approx(model.evaluate(X, 2 * X, verbose=0), rel=1e-5)


@pytest.mark.parametrize("door", ["shrink", "scan"])
@pytest.mark.parametrize("fault", UNFIT)
def test_what_cannot_be_measured_is_refused_and_nothing_changes(fault, door):
    make, options, data, said = UNFIT[fault]
    model = compiled(make, **options)
    before = model.get_weights()
    data = data() if callable(data) else data
    with pytest.raises(ArgumentError) as raised:
        if door == "shrink":
            smh.shrink(model, max_drop=0.1, evaluate=data)
        else:
            smh.sensitivity_scan(model, data, [0.5], verbose=0)
    message = str(raised.value)
    assert all(words in message for words in said), message
    assert not re.search(r"\x1b|Exception encountered|Arguments received", message)
    assert len(message) < 700 and len(message.splitlines()) == 1
    assert all(np.array_equal(x, y) for x, y in zip(before, model.get_weights(), strict=True))


LOSSES = {
    "a lambda": (lambda x: lambda m: m.evaluate(x, LABELS, verbose=0)[0], "return its negative"),
    "a score": (lambda x: lambda m: -m.evaluate(x, LABELS, verbose=0)[0], None),
    "a name": (lambda x: dice_loss, "return the negative"),
    "a key": (lambda x: lambda m: {"dice_loss": dice_loss(m)}, None),
}


def wide():
    return keras.Sequential([keras.Input((8,)), layers.Dense(48, "relu"), layers.Dense(3)])


def dice_loss(model):
    return model.evaluate(arrays(1)[0], LABELS, verbose=0)[0]


@pytest.mark.parametrize("door", ["shrink", "search_drop"])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_is_not_taken_for_a_score(kind, door):
    """Neither by its name, nor because it rises; one that is named in a dict is a loss."""
    x, (make, said) = arrays(1)[0], LOSSES[kind]
    model = compiled(wide, optimizer=keras.optimizers.Adam(0.05))
    model.fit(x, LABELS, epochs=60, verbose=0)
    before, weights = dice_loss(model), model.get_weights()

    def run():
        if door == "shrink":
            smh.shrink(model, x, max_drop=0.05, evaluate=make(x))
            assert dice_loss(model) <= before + 0.051
        else:
            smh.search_drop(model, 9.0 if said is None else 0.05, ready(make(x)), bits=4)

    def ready(evaluate):
        def measured(copy):
            copy.compile(loss=model.loss, metrics=["accuracy"])
            return evaluate(copy)

        measured.__name__ = evaluate.__name__
        return measured

    if said is None:
        run()
        return
    with pytest.raises(ArgumentError, match=said):
        run()
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


def training(model):
    model.fit(arrays(1)[0], LABELS, verbose=0)
    return 0.5


def assigning(model):
    bias = model.layers[0].bias
    bias.assign(bias + 1)
    return {"accuracy": 0.5}


def failing(model):
    assigning(model)
    raise KeyboardInterrupt


def pruning(model):
    smh.prune(model, 0.5)
    return 0.5


CHANGING = {
    "training": (training, ArgumentError, r"changed '.*' and \d more, which have been put back"),
    "assigning": (assigning, ArgumentError, "changed '[^']*bias', which have been put back"),
    "failing": (failing, KeyboardInterrupt, None),
    "pruning": (pruning, ArgumentError, "other weights, which it still has"),
}
MEASURING = {
    "shrink": lambda model, evaluate: smh.shrink(model, max_drop=0.1, evaluate=evaluate),
    "scan": lambda model, evaluate: smh.sensitivity_scan(model, evaluate, [0.5], verbose=0),
    "bits": lambda model, evaluate: smh.bits_scan(model, evaluate, [4], verbose=0),
    "search": lambda model, evaluate: smh.search_drop(model, 0.1, evaluate, bits=4),
}


@pytest.mark.parametrize("door", MEASURING)
@pytest.mark.parametrize("kind", CHANGING)
def test_what_only_measures_does_not_change_the_model(kind, door):
    """Else a score is of numbers that nobody gets, and a model is not put back as it was."""
    evaluate, error, said = CHANGING[kind]
    model = compiled(wide)
    weights = model.get_weights()
    with pytest.raises(error, match=said):
        MEASURING[door](model, evaluate)
    if kind != "pruning":
        assert all(np.array_equal(x, y) for x, y in zip(weights, model.get_weights(), strict=True))


def test_what_was_trained_is_not_given_back_by_a_recover():
    """It would be lost."""
    with pytest.raises(ArgumentError, match="in place, and returned another"):
        smh.search_size(wide(), 3000, bits=4, recover=lambda model: wide())


def test_a_try_whose_score_is_no_number_does_not_end_a_search():
    """What was tried before would be lost."""
    scores = iter([0.5, float("nan")])
    found = smh.search_drop(wide(), 0.1, lambda model: next(scores, 0.5), bits=4)
    assert [one.fits for one in found.tries][0] is False and found.best.fits


def scores(model):
    return [0.5, 0.9]


def no_number(model):
    return {"accuracy": float("nan")}


ANSWERS = {
    "a list": (scores, ["2 numbers", "Return the one that decides", "dict"]),
    "a pair": (lambda model: (0.5, 0.9), ["2 numbers", "Return the one that decides"]),
    "no number": (no_number, ["accuracy", "nan", "Check the model"]),
}


@pytest.mark.parametrize("door", ["shrink", "scan"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_advice_about_evaluate_is_what_the_caller_takes(answer, door):
    evaluate, said = ANSWERS[answer]
    model = functional(1)
    with pytest.raises(ArgumentError) as raised:
        if door == "shrink":
            smh.shrink(model, evaluate=evaluate, max_drop=0.1)
        else:
            smh.sensitivity_scan(model, evaluate)
    message = str(raised.value)
    assert "scanning" not in message
    assert ("metric=" in message) == (door == "scan" and answer != "no number")
    if door == "shrink":
        assert all(words in message for words in said), message


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int32", "float16", "bfloat16", "float32"]
)
def test_the_numbers_of_a_tensor(dtype):
    """Of a tensor, a variable and an array: the same, half precision as float32."""
    array = np.arange(6).reshape(2, 3) % 2
    tensor = keras.ops.convert_to_tensor(array, dtype)
    for given in (tensor, keras.Variable(tensor, dtype=dtype, trainable=False).value):
        found = values(given)
        assert isinstance(found, np.ndarray) and found.shape == (2, 3)
        assert found.dtype.name == ("float32" if "float" in dtype else dtype)
        assert (found == array).all()
