"""Whole numbers stay whole numbers in LiteRT and ONNX files: small, and the same predictions."""

import functools
import itertools
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from models import numpy_of
from parametrizations import by_channels, compressed, pruned, rounded, shared_values, shrunk, then
from run_exported import RUN

import smh
from smh.errors import ArgumentError, SmhWarning
from smh.exporting.low_bit.matching import Found, Whole, match, narrowed
from smh.exporting.low_bit.onnx_writing import packed
from smh.exporting.onnx_names import graphs_of
from smh.exporting.samples import Sample, check_answers
from smh.exporting.trial import warn_if_far
from smh.parametrizations.counting import Steps
from smh.parametrizations.stepped import Stepped
from smh.virtual_variable import parametrize

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the converters need TensorFlow"
)
SUFFIX = {"litert": ".tflite", "onnx": ".onnx"}
ALLOWANCE = 64 * 1024


def network():
    """A normalisation that converters merge, a depthwise kernel, and most weights in one matrix."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(16, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, use_bias=False),
            layers.BatchNormalization(),
            layers.Conv2D(20, 1, activation="relu"),
            layers.Flatten(),
            layers.Dense(300, activation="relu"),
            layers.Dense(7),
        ]
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(rng.uniform(0.5, 2, variable.shape))
    return model


def inputs():
    return np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype("float32")


def bits(number, granularity="auto"):
    return lambda model, seed: smh.quantize_weights(model, number, granularity=granularity)


# What makes whole numbers of weights, and the bits of one in LiteRT, which has 4, 8 and 16.
KINDS = {
    "8 bits": (bits(8), 8),
    "4 bits, by rows": (bits(4, "row"), 4),
    "shared values": (shared_values, 4),
    "shrunk by channels": (by_channels, 8),
    "2 bits": (bits(2, "tensor"), 4),
    "8 bits, by columns": (bits(8, "column"), 8),
    "shrunk": (shrunk(quality=40), 8),
    "shrunk finely": (shrunk(quality=90), 16),
    "pruned, shared values": (then(pruned, shared_values), 4),
    "8-bit shared values": (lambda model, seed: smh.cluster(model, 8), 8),
    "4-bit factors": (then(compressed, rounded(4, lambda model, seed: model)), None),
    "shrunk factors": (then(compressed, shrunk(quality=40)), None),
    "shared values of factors": (then(compressed, shared_values), None),
}
QUICK = ("8 bits", "shared values")


@pytest.mark.parametrize("format", SUFFIX)
@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in KINDS]
)
def test_a_file_takes_the_bytes_of_the_whole_numbers(kind, format, tmp_path):
    change, width = KINDS[kind]
    model = change(network(), 3)
    expected = numpy_of(model(inputs()))
    path = tmp_path / f"m{SUFFIX[format]}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", SmhWarning)  # nothing is left as floats
        smh.export(model, path, format)
    (got,) = RUN[path.suffix](str(path), inputs())
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    kernels = [v for v in network().trainable_variables if len(v.shape) > 1]
    numbers = sum(int(np.prod(v.shape)) for v in kernels)
    # A pool of 0.4 of the weights, its factors in a byte each at most.
    limit = numbers * width / 8 if width else 0.4 * numbers
    assert path.stat().st_size < 1.05 * limit + ALLOWANCE < 0.6 * 4 * numbers
    np.testing.assert_array_equal(numpy_of(model(inputs())), expected)  # it is as it was


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIX)
def test_weights_of_which_a_converter_makes_something_else_are_computed_in_the_file(
    format, tmp_path
):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 40), batch_size=1), layers.LSTM(50), layers.Dense(3)])
    smh.quantize_weights(model, 8)
    path = tmp_path / f"m{SUFFIX[format]}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", SmhWarning)
        smh.export(model, path, format)
    x = np.ones((1, 4, 40), "float32")
    (got,) = RUN[path.suffix](str(path), x)
    np.testing.assert_allclose(got, numpy_of(model(x)), atol=1e-5)
    assert path.stat().st_size < 90 * 200 + 16_000  # a byte for each number


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIX)
def test_a_pruned_file_has_no_zeros_in_it(format, tmp_path):
    model = smh.prune(network(), 0.8)
    path = tmp_path / f"m{SUFFIX[format]}"
    smh.export(model, path, format)
    expected = numpy_of(model(inputs()))
    (got,) = RUN[path.suffix](str(path), inputs())
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    numbers = sum(v.size for v in map(numpy_of, network().trainable_variables))
    # Four bytes for what is not zero; a bit for each place, or two bytes for each kept one.
    places = 0.2 * 2 if format == "litert" else 1 / 8
    assert path.stat().st_size < numbers * (0.2 * 4 + places) + ALLOWANCE


def whole(shape, axis=None, table=None):
    rng = np.random.default_rng(len(shape))
    numbers = rng.integers(0 if table is not None else -7, 8, shape).astype("int32")
    steps = np.ones([1] * len(shape), "float32")
    if axis is not None:
        sizes = [n if a == axis else 1 for a, n in enumerate(shape)]
        steps = rng.uniform(0.1, 2, sizes).astype("float32")
    value = (numbers if table is None else table[numbers]) * steps
    return Whole("w", numbers, steps, table, value.astype("float32"))


SHAPES = [(6, 5), (3, 3, 4, 5), (3, 3, 6, 1), (3, 3, 4, 2), (2, 2, 4, 4), (5, 2, 3), (9,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_is_found_in_any_order_and_times_a_scale_for_each_index_of_an_axis(shape):
    rng = np.random.default_rng(0)
    table = rng.normal(size=8).astype("float32")
    weights = [whole(shape, axis) for axis in (None, 0, len(shape) - 1)] + [
        whole(shape, None, table)
    ]
    merged = [(*shape[:-2], shape[-2] * shape[-1]), shape] if len(shape) > 1 else [shape]
    for weight, form in itertools.product(weights, merged):
        for order in itertools.permutations(range(len(form))):
            constant = weight.value.reshape(form).transpose(order)
            for axis in range(constant.ndim):
                scale = rng.uniform(0.5, 2, constant.shape[axis]).astype("float32")
                given = np.moveaxis(np.moveaxis(constant, axis, -1) * scale, -1, axis)
                found = match(np.ascontiguousarray(given), [weight])
                table = found.table
                floats = found.numbers if table is None else table[found.numbers]
                np.testing.assert_allclose(
                    functools.reduce(np.multiply, found.scales, floats), given, rtol=3e-6
                )
                # Each along one axis: never a scale for every number.
                assert all(scale.size == max(scale.shape) for scale in found.scales)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if len(shape) > 1])
@pytest.mark.parametrize("factor", (1.0, 0.37))
def test_rows_of_zeros_take_no_scale_of_their_own(shape, factor):
    weight = whole(shape)
    for axis in range(len(shape)):
        if shape[axis] == 1:
            continue
        zeros = tuple(0 if a == axis else slice(None) for a in range(len(shape)))
        numbers, value = weight.numbers.copy(), weight.value.copy()
        numbers[zeros] = value[zeros] = 0
        changed = Whole("w", numbers, weight.steps, None, value)
        for order in itertools.permutations(range(len(shape))):
            constant = np.ascontiguousarray(value.transpose(order)) * np.float32(factor)
            (scale,) = match(constant, [changed]).scales
            assert scale.size == 1


def test_other_numbers_are_not_taken_for_a_weight():
    weight = whole((6, 5), 0)
    changed = weight.value.copy()
    place = tuple(np.argwhere(changed)[-1])
    changed[place] *= 1 + 1e-4
    assert match(weight.value, [weight]) and match(changed, [weight]) is None
    assert match(weight.value.astype("float64"), [weight]) is None
    assert match(np.resize(weight.value, (7, 5)), [weight]) is None
    assert match(np.zeros((0,), "float32"), [weight]) is None


def wide(zeros=0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((128,)), layers.Dense(96), layers.Dense(3)])
    kernel = numpy_of(model.layers[0].kernel)
    kernel[:zeros] = 0
    model.layers[0].kernel.assign(kernel)
    return model


def finely(model, seed):
    """Whole numbers of some 20 bits."""
    kernel = model.layers[0].kernel
    fine = Stepped.of(kernel.path, numpy_of(kernel), Steps(2.0**-22))
    return parametrize(model, [(kernel, fine)])


def clustered(number):
    return lambda model, seed: smh.cluster(model, number)


# Bytes that a number of the wide kernel takes in LiteRT and in ONNX; whether there is a warning.
BYTES = {
    "8 bits": (bits(8), 0, 1, 1, False),
    "8 bits, rows of zeros": (bits(8), 9, 1, 1, False),
    "4 bits by rows": (bits(4, "row"), 0, 0.5, 0.5, False),
    "shrunk, rows of zeros": (by_channels, 9, 1, 1, False),
    "4 bits, pruned": (then(pruned, clustered(4)), 0, 1, 1, False),
    "8 bits, pruned": (then(pruned, clustered(8)), 0, 2, 2, False),
    "4096 values": (clustered(12), 0, 3.4, 3.4, False),
    "20 bits": (finely, 0, 4, 4, True),
}


@pytest.mark.parametrize("format", SUFFIX)
@pytest.mark.parametrize("kind", BYTES)
def test_no_weight_takes_more_bytes_than_floats(kind, format, tmp_path):
    change, zeros, *each, warned = BYTES[kind]
    model = change(wide(zeros), 3)
    path = tmp_path / f"m{SUFFIX[format]}"
    with warnings.catch_warnings(record=True) as told:
        smh.export(model, path, format)  # which compares the file with the model
    said = [str(w.message) for w in told if issubclass(w.category, SmhWarning)]
    assert [f"{model.layers[0].kernel.path}." in text for text in said] == [True] * warned
    number = each[list(SUFFIX).index(format)]
    assert path.stat().st_size < 128 * 96 * number + 96 * 4 + 257 * 4 + 4000


@pytest.mark.parametrize("count, told", [(200, False), (2000, True)])
def test_as_many_values_as_numbers_stay_floats(count, told):
    table = np.linspace(0.1, 1, count).astype("float32")
    numbers = np.arange(count).reshape(-1, 2)
    scale = np.ones([1, 1], "float32")
    found = Found((4, 8, 16))
    (matched,) = [match(table[numbers], [Whole("w", numbers, scale, table, table[numbers])])]
    assert not found.is_worth(matched)
    assert found.paths == {"w"} and found.floats == ({"w"} if told else set())


@pytest.mark.parametrize("dtype, least, most", [("int8", -128, 127), ("uint8", 0, 255)])
def test_numbers_are_not_narrowed_to_what_has_no_room_for_them(dtype, least, most):
    assert narrowed(np.array([least, most]), dtype).tolist() == [least, most]
    for number in (least - 1, most + 1):
        with pytest.raises(AssertionError, match="has no room"):
            narrowed(np.array([0, number]), dtype)
    with pytest.raises(AssertionError):
        packed(np.array([4]), 2)


@pytest.mark.parametrize("count", (1, 7, 8, 33))
@pytest.mark.parametrize("width", (1, 2, 4))
def test_numbers_are_packed_with_the_first_in_the_lowest_bits(width, count):
    numbers = np.random.default_rng(0).integers(0, 2**width, count)
    stored = packed(numbers, width)
    assert stored.shape == (-(-count * width // 8), 1)
    digits = np.unpackbits(stored.ravel(), bitorder="little").reshape(-1, width)
    np.testing.assert_array_equal((digits << np.arange(width)).sum(axis=1)[:count], numbers)


def in_floats(kind, dtype):
    """A model of one kind of layer that computes in `dtype`."""
    keras.utils.set_random_seed(0)
    layer = {
        "dense": lambda: layers.Dense(8, dtype=dtype),
        "convolution": lambda: layers.Conv2D(8, 3, dtype=dtype),
        "depthwise": lambda: layers.DepthwiseConv2D(3, dtype=dtype),
    }[kind]()
    ends = [layers.Flatten(dtype=dtype), layers.Dense(3, dtype=dtype)]
    return keras.Sequential([keras.Input((8, 8, 3), dtype=dtype), layer, *ends])


OF_FLOATS = {
    "floats": lambda model, seed: model,
    "8 bits": bits(8),
    "4 bits": bits(4),
    "shared values": clustered(3),
    "shrunk": shrunk(quality=40),
}


@pytest.mark.parametrize("dtype", ("float64", "float16"))
@pytest.mark.parametrize("layer", ("dense", "convolution", "depthwise"))
@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=() if k == "8 bits" else pytest.mark.slow) for k in OF_FLOATS],
)
def test_a_layer_in_other_floats_is_right_or_the_advice_works(kind, layer, dtype, tmp_path):
    model = OF_FLOATS[kind](in_floats(layer, dtype), 3)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(dtype)
    expected = numpy_of(model(x))
    near = {"atol": 1e-12 if dtype == "float64" else 2e-2, "rtol": 0}
    if dtype == "float16" or layer == "dense":
        smh.export(model, tmp_path / "m.onnx", "onnx")
        (got,) = RUN[".onnx"](str(tmp_path / "m.onnx"), x)
        np.testing.assert_allclose(got, expected, **near)
        return
    with pytest.raises(ArgumentError) as told:
        smh.export(model, tmp_path / "m.onnx", "onnx")
    said = str(told.value)
    assert f"'{model.layers[0].name}'" in said and "in float64. Build the model again" in said
    assert "NOT_IMPLEMENTED" in said  # the runtime's own words, not those of a type that is wrong
    call = re.search(r"(smh\.save\(.*?\)), keras", said)[1].replace("m.smh", "{path}")
    eval(call.format(path=tmp_path / "m.smh"), {"smh": smh, "model": model})
    again = smh.load_weights(in_floats(layer, "float32"), tmp_path / "m.smh")
    np.testing.assert_allclose(numpy_of(again(x)), expected, atol=1e-5)
    smh.export(again, tmp_path / "m.onnx", "onnx")


@pytest.fixture(scope="module")
def examples():
    made = np.random.default_rng(1).normal(size=(40, 12, 12, 3)).astype("float32")
    made[0] *= 4  # the ranges have to be those of all examples
    return made


@pytest.mark.parametrize("fixed", [None, 1, 3])
@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 32, 48])
def test_examples_are_tried_each_once_and_in_no_empty_batch(count, fixed):
    if fixed and count < fixed:
        return
    sizes = []

    class Seen(keras.layers.Layer):
        def call(self, x):
            sizes.append(x.shape[0])
            return x

    model = keras.Sequential([keras.Input((2,), batch_size=fixed), Seen()])
    sizes.clear()
    signature = [keras.KerasTensor((fixed, 2))]
    check_answers(model, signature, [np.zeros((count, 2), "float32")])
    assert min(sizes) > 0 and (not fixed or set(sizes) == {fixed})
    assert sum(sizes) == (count // fixed * fixed if fixed else count)


@pytest.mark.parametrize("format", SUFFIX)
def test_activations_are_rounded_by_the_ranges_of_examples(format, examples, tmp_path):
    model = network()
    path = tmp_path / f"m{SUFFIX[format]}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smh.export(model, path, format, activations="int8", calibration=[examples])
    expected = numpy_of(model(examples))
    got = np.concatenate([RUN[path.suffix](str(path), x[None])[0] for x in examples])
    for part in (0, slice(None)):
        assert np.corrcoef(got[part].ravel(), expected[part].ravel())[0, 1] > 0.98
        assert np.ptp(got[part]) > 0.9 * np.ptp(expected[part])
    assert not np.allclose(got, expected, atol=1e-4 * np.ptp(expected))  # it is rounded
    assert path.stat().st_size < 500_000  # of 387,000 weights


WRONG = {
    "calibration=": ({"activations": "int8"}, "go together"),
    "activations=": ({"calibration": [1]}, "go together"),
    "int8 only": ({"activations": "int4", "calibration": [1]}, "'int8' or None, got 'int4'"),
    "mode": ({"activations": "int8", "calibration": [1], "mode": "stream"}, "(?i)leave mode out"),
    "one's own": (
        {"activations": "int8", "calibration": [1], "optimizations": []},
        "sets optimizations itself",
    ),
    "shape": (
        {"activations": "int8", "calibration": [np.ones((2, 3))]},
        "calibration has an array",
    ),
    "none": (
        {"activations": "int8", "calibration": [np.ones((0, 12, 12, 3))]},
        "at least 1, got .0.",
    ),
    "not finite": (
        {"activations": "int8", "calibration": [np.full((3, 12, 12, 3), np.nan)]},
        "'input_0': example 0 has numbers that are not finite",
    ),
    "no array": (
        {"activations": "int8", "calibration": [iter([1])]},
        r"has a list_iterator .*np.concatenate\(list",
    ),
    "no list": ({"activations": "int8", "calibration": np.ones(3)}, "calibration must be a list"),
}


def test_what_cannot_be_rounded_is_refused(tmp_path):
    model = network()
    for options, message in WRONG.values():
        with pytest.raises(ArgumentError, match=message):
            smh.export(model, tmp_path / "m.tflite", "litert", **options)
    with pytest.raises(ArgumentError, match="needs format='litert' or 'onnx'"):
        smh.export(model, tmp_path / "m", activations="int8", calibration=[1])
    assert not list(tmp_path.iterdir())


def tokens():
    embedding = [layers.Embedding(50, 8), layers.GlobalAveragePooling1D(), layers.Dense(3)]
    return keras.Sequential([keras.Input((10,), dtype="int32"), *embedding])


@pytest.mark.parametrize("format", SUFFIX)
@pytest.mark.parametrize("place", (0, 30))
def test_an_example_that_the_model_does_not_take_is_named(place, format, tmp_path):
    examples = np.zeros((40, 10), "int32")
    examples[place, 3] = 60
    path = tmp_path / f"m{SUFFIX[format]}"
    with pytest.raises(ArgumentError, match=f"with calibration, example {place}: .*60 is not in"):
        smh.export(tokens(), path, format, activations="int8", calibration=[examples])
    assert not list(tmp_path.iterdir())


class Repeated(layers.Layer):
    """A loop that reads nothing step by step."""

    def call(self, x):
        more = lambda i, y: (i + 1, keras.ops.tanh(y))  # noqa: E731
        return keras.ops.while_loop(lambda i, y: i < 3, more, (0, x))[1][:, 0]


STEPS = {
    "gru": (lambda: layers.GRU(5), r"'gru.*' \(GRU.*unroll=True"),
    "both ways": (lambda: layers.Bidirectional(layers.LSTM(3)), r"'forward_lstm.*unroll=True"),
    "unrolled": (lambda: layers.LSTM(5, unroll=True), None),
    "another loop": (Repeated, None),
}


@pytest.mark.parametrize("way", ("activations", "representative_dataset"))
@pytest.mark.parametrize("kind", STEPS)
def test_a_loop_on_which_calibration_crashes_is_refused(kind, way, tmp_path):
    import tensorflow as tf

    make, message = STEPS[kind]
    model = keras.Sequential([keras.Input((4, 3)), make(), layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")
    options = {
        "activations": {"activations": "int8", "calibration": [x]},
        "representative_dataset": {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([x[i : i + 1]] for i in range(8)),
        },
    }[way]
    options["input_signature"] = [keras.InputSpec(shape=(1, 4, 3), dtype="float32")]
    path = tmp_path / "m.tflite"
    if message is None:
        smh.export(model, path, "litert", **options)
        assert path.exists()
        return
    with pytest.raises(ArgumentError, match=message):
        smh.export(model, path, "litert", **options)
    assert not list(tmp_path.iterdir())


def test_a_dataset_of_ones_own_with_numbers_that_are_not_finite_is_refused(tmp_path):
    import tensorflow as tf

    bad = np.full((1, 128), np.inf, "float32")
    options = {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: iter([[bad]]),
    }
    with pytest.raises(ArgumentError, match="representative_dataset: example 0 has numbers"):
        smh.export(wide(), tmp_path / "m.tflite", "litert", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("activations", (None, "int8"))
def test_names_inside_an_onnx_file_are_short(activations, tmp_path):
    import onnx

    model = keras.Sequential(
        [keras.Input((4, 3), name="signal_of_a_sensor"), layers.GRU(5), layers.Dense(2)]
    )
    x = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")
    calibration = None if activations is None else [x]
    path = tmp_path / "m.onnx"
    smh.export(model, path, "onnx", activations=activations, calibration=calibration)
    graph = onnx.load(path).graph
    assert [graph.input[0].name, graph.output[0].name] == ["signal_of_a_sensor", "output_0"]
    for inner in graphs_of(graph):
        names = {name for node in inner.node for name in (*node.input, *node.output, node.name)}
        assert max(map(len, names - {"signal_of_a_sensor", "output_0"})) < 6
        assert not inner.value_info


def test_outputs_that_are_far_from_the_models_are_told():
    outputs = [np.ones((2, 3), "float32"), np.array([1, 2])]
    sample = Sample([], outputs)
    warn_if_far(sample, [outputs[0] * 1.2, outputs[1] * 9])
    with pytest.warns(SmhWarning, match="off by 50% of its size"):
        warn_if_far(sample, [outputs[0] * 1.5, outputs[1]])
