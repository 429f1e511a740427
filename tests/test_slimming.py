"""The law of `smh.slim`: a smaller network that gives the same as the masked one."""

import keras
import numpy as np
import pytest
from keras import layers
from models import CASES as COMPRESSED
from slim_models import CASES, ODD, Case, conv, randomize

import smh
from smh.doors.output_units import units_of
from smh.doors.slimming.folding import pairs_of
from smh.doors.slimming.walking import walk
from smh.errors import ArgumentError, SelectionError
from smh.sizes.multiply_adds import count_multiply_adds
from smh.virtual_variable import own_layers, own_variables, virtual_variables

pytestmark = pytest.mark.backend_agnostic
table = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# Of the tables that look at the same rules once more, a part; `make test-all` runs the whole.
FEW = ("residual", "depthwise with a multiplier", "grouped", "lstm", "transformer")
few = pytest.mark.parametrize(
    "case",
    [case if case.name in FEW else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
    ids=lambda case: case.name,
)
levels = pytest.mark.parametrize("level", [pytest.param(0.3, marks=pytest.mark.slow), 0.6])


def outputs(model, data):
    flat = keras.tree.flatten(model(data if len(data) > 1 else data[0], training=False))
    return [np.asarray(keras.ops.convert_to_numpy(y)) for y in flat]


def assert_equal(model, small, data, off=1e-5):
    for expected, got in zip(outputs(model, data), outputs(small, data), strict=True):
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(got, expected, atol=off * scale, rtol=0)


@table
@levels
def test_slim_gives_what_the_masked_model_gives(case, level, tmp_path):
    model, data = case.build(), case.data()
    smh.prune(model, level, structure="channels")
    small, report = smh.slim(model, return_report=True)
    assert_equal(model, small, data)
    assert not virtual_variables(small)
    dense = sum(row.original for row in smh.report(model).rows)
    assert small.count_params() < dense * (1 - 0.2 * level)  # a trunk that is normalised stays
    assert report.numbers == (dense, small.count_params())
    shrunk = {row.layer for row in report.rows if row.after != row.before}
    # A layer that could lose channels did, but for one whose few are all worth more.
    assert len(shrunk) >= 0.5 * sum(may_lose(model, row.layer) for row in report.rows)
    if level == 0.6:
        trains(small, data)
        small.save(tmp_path / "small.keras")
        assert_equal(small, keras.saving.load_model(tmp_path / "small.keras"), data)


def may_lose(model, path):
    masked = {v.path.rpartition("/")[0] for v in virtual_variables(model)}
    return path in masked


def trains(model, data):
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    model.compile("sgd", "mse", run_eagerly=True)
    targets = keras.tree.map_structure(
        lambda y: np.ones(y.shape, "float32"), model(data if len(data) > 1 else data[0])
    )
    model.train_on_batch(data if len(data) > 1 else data[0], targets)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    assert sum((a != b).any() for a, b in zip(before, after, strict=True)) > len(before) / 2


def dense_stack(*units, activation="relu", size=6):
    hidden = [layers.Dense(n, activation) for n in units]
    model = keras.Sequential([keras.Input((size,)), *hidden, layers.Dense(3)])
    randomize(model)
    return model


def zero(variable, which):
    value = np.array(keras.ops.convert_to_numpy(variable))
    value[which] = 0
    variable.assign(value)


@few
@pytest.mark.parametrize("structure", ["weights", "filters"])
def test_whatever_is_zero_slim_gives_the_same(case, structure):
    """Also where biases and batch normalisation make constants of the channels that are zero."""
    model, data = case.build(), case.data()
    smh.prune(model, 0.5, structure=structure)
    assert_equal(model, smh.slim(model), data)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("case", ODD, ids=lambda case: case.name)
def test_whatever_is_called_in_an_odd_way_slim_gives_the_same(case):
    model, data = case.build(), case.data()
    assert_equal(model, smh.slim(model), data)
    for options in ({"structure": "filters"}, {}, {"of": "multiply_adds"}):
        model = case.build()
        options = {"structure": "channels", **options}
        try:
            smh.prune(model, 0.5, **options)
        except (SelectionError, ArgumentError):  # nothing can go, or not so much
            continue
        small, report = smh.slim(model, return_report=True)
        assert_equal(model, small, data)
        if "of" in options:
            assert report.multiply_adds[1] <= 0.5 * report.multiply_adds[0]


@few
def test_a_model_without_zeros_stays(case):
    model, data = case.build(), case.data()
    small, report = smh.slim(model, return_report=True)
    assert small.count_params() == model.count_params() == report.numbers[0]
    assert_equal(model, small, data)


@levels
@pytest.mark.parametrize("case", COMPRESSED, ids=lambda case: case.name)
def test_models_that_can_be_compressed(case, level):
    """None is cut wrongly: what cannot be cut is refused, or left whole."""
    whole_because = {  # of some everything is the model's input or output, or next to what stays
        "custom layer": r"OwnWeights\): there is no rule",
        "shared layer": "an input or an output of the model",
        "conv with batch norm": r"LayerNormalization\): it looks at all channels",
    }.get(case.name)
    model, data = case.build(), case.data(4)[0]
    if case.name == "subclassed":
        with pytest.raises(ArgumentError, match="no graph of layers"):
            smh.slim(model)
        return
    randomize(model)
    dense = sum(row.original for row in smh.report(model).rows)
    if whole_because:
        with pytest.raises(SelectionError, match=f"No channel can go(.|\\n)*{whole_because}"):
            smh.prune(model, level, structure="channels")
    else:
        smh.prune(model, level, structure="channels")
    small = smh.slim(model)
    assert_equal(model, small, [data])
    assert (small.count_params() < dense) == (not whole_because)


@table
def test_rules_agree_with_the_table_of_units(case):
    """What a channel is made of is said twice, once for each weight and once for the network."""
    model = case.build()
    owners = {id(v): layer for layer in own_layers(model) for v in own_variables(layer)}
    looked_at = 0
    for cut in walk(model).cuts.values():
        units = units_of(cut.variable, [owners[id(cut.variable)]])
        sides = {axis for axis in cut.makes if cut.variable.shape[axis] > 1}
        if units.of_output and len(cut.variable.shape) > 1:
            looked_at += bool(sides)
            assert sides <= set(units.axes), cut.variable.path
    assert looked_at


def test_a_schedule_says_how_channels_are_taken():
    with pytest.raises(ArgumentError, match="smh.prune.*structure='channels'"):
        smh.PruningSchedule(0.5, structure="channels")


@few
def test_multiply_adds_are_those_of_the_size_report(case):
    model = case.build()
    smh.prune(model, 0.5, structure="channels")
    small, report = smh.slim(model, return_report=True)
    counted = [count_multiply_adds(m).multiply_adds for m in (model, small)]
    assert report.multiply_adds == tuple(counted)


def test_a_constant_goes_into_the_bias():
    model = dense_stack(5, 4, activation="sigmoid")
    zero(model.layers[0].kernel, np.s_[:, 1:3])  # so these two are sigmoid(bias), always
    zero(model.layers[1].kernel, np.s_[:, 0])
    small = smh.slim(model)
    assert [layer.units for layer in small.layers] == [3, 3, 3]
    assert_equal(model, small, [np.random.default_rng(0).normal(size=(4, 6)).astype("float32")])


@pytest.mark.parametrize("padding, after", [("valid", 3), ("same", 6)])
def test_a_constant_that_the_border_sees_stays(padding, after):
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(6, 3, activation="sigmoid")(x)
    model = keras.Model(x, layers.Conv2D(2, 3, padding=padding, use_bias=False)(y))
    randomize(model)
    zero(model.layers[1].kernel, np.s_[..., :3])
    small = smh.slim(model)
    assert small.layers[1].filters == after
    assert small.layers[2].use_bias is (padding == "valid")  # there it takes the constants
    assert_equal(model, small, [np.random.default_rng(0).normal(size=(2, 8, 8, 3))])


def test_what_nothing_reads_goes_and_so_does_what_only_that_read():
    model = dense_stack(6, 5, 4)
    zero(model.layers[2].kernel, np.s_[:2])
    zero(model.layers[1].kernel, np.s_[0, 2:])  # is read by the two that nothing reads
    assert [layer.units for layer in smh.slim(model).layers] == [5, 3, 4, 3]


def test_one_channel_of_each_layer_stays():
    model = dense_stack(4, 4)
    for layer in model.layers[:2]:
        zero(layer.kernel, np.s_[:])
        zero(layer.bias, np.s_[:])
    small = smh.slim(model)
    assert [layer.units for layer in small.layers] == [1, 1, 3]
    assert_equal(model, small, [np.ones((2, 6), "float32")])
    model = dense_stack(4, 5)
    smh.prune(model, 0.99, structure="channels")
    assert [layer.units for layer in smh.slim(model).layers] == [1, 1, 3]


class Doubled(layers.Layer):
    """No rule knows it."""

    def call(self, x):
        return x + keras.ops.flip(x, 1)


class Turned(layers.Dense):
    """Looks like a layer that has a rule."""

    def call(self, x):
        return super().call(keras.ops.flip(x, 1))


@pytest.mark.parametrize("make", [Doubled, lambda: Turned(8)])
def test_what_has_no_rule_is_left_whole_and_named(make):
    x = keras.Input((6,))
    y = layers.Dense(8, "relu")(layers.Dense(8, "relu")(x))
    model = keras.Model(x, layers.Dense(3)(layers.Dense(8, "relu")(make()(y))))
    randomize(model)
    smh.prune(model, 0.5, structure="channels")
    small, report = smh.slim(model, return_report=True)
    assert_equal(model, small, [np.random.default_rng(0).normal(size=(4, 6)).astype("float32")])
    (left,) = report.left
    assert (left.kind, left.layer) == (type(model.layers[3]).__name__, model.layers[3].name)
    assert "no rule" in left.reason and left.layer in str(report)
    assert small.layers[2].units == 8 and small.layers[1].units < 8 > small.layers[4].units


class Unsaid(layers.Dense):
    """Does not say from what it is made."""

    def __init__(self, name_of_it, half):
        super().__init__(2 * half, name=name_of_it)


def test_a_layer_that_cannot_be_made_again_is_left_whole():
    x = keras.Input((6,))
    y = layers.Dense(8, "relu")(layers.Dense(8, "relu")(x))
    model = keras.Model(x, layers.Dense(3)(layers.Dense(8, "relu")(Unsaid("own", 4)(y))))
    smh.prune(model, 0.5, structure="channels")
    with pytest.raises(ArgumentError, match="cannot be rebuilt"):
        smh.slim(model)


@keras.saving.register_keras_serializable("tests")
class LeakyCell(layers.Layer):
    """A cell with none of the attributes of Keras' cells."""

    def __init__(self, size=6, **kwargs):
        super().__init__(**kwargs)
        self.size = self.state_size = size

    def build(self, shape):
        self.mixing = self.add_weight(shape=(shape[-1] + self.size, self.size), name="mixing")

    def call(self, x, states):
        h = keras.ops.tanh(keras.ops.concatenate([x, states[0]], -1) @ self.mixing) + states[0] / 2
        return h, [h]

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("tests")
class DoublingCell(layers.LSTMCell):
    """Looks like a cell that has a rule."""

    def call(self, x, states, training=False):
        h, states = super().call(x, states, training=training)
        return h + keras.ops.flip(h, 1), states


@keras.saving.register_keras_serializable("tests")
class TwiceLSTM(layers.LSTM):
    """Has a cell that a rule knows, and calls it in its own way."""

    def call(self, x, **kwargs):
        y = super().call(x, **kwargs)
        return y + keras.ops.flip(y, -1)


CELLS = {
    "stacked": lambda: layers.RNN(layers.StackedRNNCells([layers.LSTMCell(6), layers.GRUCell(5)])),
    "stack of one": lambda: layers.RNN([layers.LSTMCell(6)]),
    "own": lambda: layers.RNN(LeakyCell()),
    "own inside a stack": lambda: layers.RNN([LeakyCell(), layers.SimpleRNNCell(5)]),
    "own call of a known cell": lambda: layers.RNN(DoublingCell(6)),
    "both ways, stacked": lambda: layers.Bidirectional(
        layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)])
    ),
    "both ways, own": lambda: layers.Bidirectional(layers.RNN(LeakyCell())),
    "both ways, one own": lambda: layers.Bidirectional(
        layers.LSTM(6), backward_layer=layers.RNN(LeakyCell(), go_backwards=True)
    ),
    "both ways, own call of the layer": lambda: layers.Bidirectional(TwiceLSTM(6)),
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_without_a_rule_is_left_whole_and_named(cell):
    if cell == "stack of one" and keras.backend.backend() == "jax":
        pytest.skip("Keras on JAX cannot call a stack of one cell")
    x = keras.Input((5, 6))
    y = layers.Dense(8, "relu")(layers.Dense(8, "relu")(x))
    model = keras.Model(x, layers.Dense(3)(layers.Dense(8, "relu")(CELLS[cell]()(y))))
    randomize(model)
    recurrent, data = model.layers[3], np.random.default_rng(0).normal(size=(4, 5, 6))
    before = outputs(model, [data.astype("float32")])
    small, report = smh.slim(model, return_report=True)
    assert [one.layer for one in report.left] == [recurrent.name]
    for expected, got in zip(before, outputs(small, [data.astype("float32")]), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    smh.prune(model, 0.5, structure="channels")
    small, report = smh.slim(model, return_report=True)
    assert_equal(model, small, [data.astype("float32")])
    (left,) = report.left
    assert (left.kind, left.layer) == (type(recurrent).__name__, recurrent.name)
    assert small.layers[1].units < 8 > small.layers[4].units and small.layers[2].units == 8
    sizes = [[tuple(v.shape) for v in layer.weights] for layer in (recurrent, small.layers[3])]
    assert sizes[0] == sizes[1]


def test_frozen_and_excluded_layers_stay():
    model = dense_stack(8, 8, 8)
    model.layers[0].trainable = False
    smh.prune(model, 0.5, structure="channels", exclude=model.layers[1].kernel.path)
    assert [layer.units for layer in smh.slim(model).layers] == [8, 8, 4, 3]


BUDGETS = {
    "multiply_adds": lambda model: count_multiply_adds(model).multiply_adds,
    "numbers": lambda model: smh.slim(model, return_report=True)[1].numbers[0],
}


@pytest.mark.parametrize("of", BUDGETS)
@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("name", ["residual", "grouped", "lstm", "transformer"])
def test_a_budget_is_kept(name, share, of):
    model = next(case for case in CASES if case.name == name).build()
    whole = BUDGETS[of](model)
    smh.prune(model, share, structure="channels", of=of)
    rest = BUDGETS[of](smh.slim(model))
    assert (1 - share) * whole * 0.6 < rest <= (1 - share) * whole


@few
def test_a_multiple_of_the_channels_stays(case):
    model, data = case.build(), case.data()
    widths = [n for row in smh.slim(model, return_report=True)[1].rows for n in row.after]
    smh.prune(model, 0.5, structure="channels", round_to=2)
    small, report = smh.slim(model, return_report=True)
    assert_equal(model, small, data)
    after = [n for row in report.rows for n in row.after]
    assert len(after) == len(widths) and sum(after) < sum(widths)
    assert all(n == whole or n % 2 == 0 for n, whole in zip(after, widths, strict=True)), after


def test_channels_that_a_runtime_is_slow_with_are_told():
    x = keras.Input((8, 8, 3))
    y = layers.DepthwiseConv2D(3)(layers.Conv2D(32, 1)(x))
    net = keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    for round_to, told in ((1, True), (4, False)):
        model = keras.models.clone_model(net)
        smh.prune(model, 0.3, structure="channels", round_to=round_to)  # 10 of 32, or 12
        report = smh.slim(model, return_report=True)[1]
        assert ("onnxruntime is slow" in str(report)) == told


def test_what_matters_to_the_outputs_stays_though_it_is_small():
    """The units 0 to 3 are large, and the next layer does not look at them."""
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    ways = [
        (None, [0, 1, 2, 3]),
        (x, [4, 5, 6, 7]),
        ((x, np.zeros(64)), [4, 5, 6, 7]),  # labels beside them are left out
    ]
    for structure in ("channels", "filters", "weights"):
        for data, kept in ways:
            model = keras.Sequential([keras.Input((5,)), layers.Dense(8), layers.Dense(3)])
            first, _, second, _ = model.trainable_variables
            first.assign(np.where(np.arange(8) < 4, 3.0, 0.3) * np.ones((5, 8)))
            second.assign(np.where(np.arange(8) < 4, 1e-3, 1.0)[:, None] * np.ones((8, 3)))
            path = {} if structure == "channels" else {"apply_to": f"{model.layers[0].name}/kernel"}
            importance = None if data is None else smh.sensitivity.fisher(model, data)
            for _ in range(2):  # the second time of what is masked already
                smh.prune(model, 0.5, structure=structure, importance=importance, **path)
                if importance is not None:
                    importance = smh.sensitivity.fisher(model, data)
            kernel = np.asarray(keras.ops.convert_to_numpy(model.layers[0].kernel))
            assert np.flatnonzero(kernel.any(axis=0)).tolist() == kept, structure


def test_channels_go_by_magnitude_further_and_come_back():
    model = dense_stack(10)
    kernel = model.layers[0].kernel
    kernel.assign(np.ones(kernel.shape) * np.arange(1, 11))
    before = np.array(keras.ops.convert_to_numpy(kernel))

    def kept():
        return (np.asarray(keras.ops.convert_to_numpy(kernel)) != 0).all(axis=0).nonzero()[0]

    for level, first in ((0.3, 3), (0.6, 6), (0.2, 2), (0, 0)):
        smh.prune(model, level, structure="channels")
        assert kept().tolist() == list(range(first, 10))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), before)


def test_channels_stay_away_while_training():
    case = next(case for case in CASES if case.name == "normalised without gamma")
    model, data = case.build(), case.data(8)
    smh.prune(model, 0.5, structure="channels")
    size = smh.slim(model).count_params()
    model.compile(keras.optimizers.AdamW(0.01), "mse")
    model.fit(data[0], np.ones((8, 3)), epochs=3, verbose=0)
    small = smh.slim(model)
    assert small.count_params() == size
    assert_equal(model, small, data)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one, self.two = layers.Dense(8), layers.Dense(3)

    def call(self, x):
        return self.two(self.one(x))


def test_bad_calls_say_what_to_do_and_change_nothing():
    model = Subclassed()
    model(np.ones((1, 4)))
    for call in (smh.slim, lambda m: smh.prune(m, 0.5, structure="channels")):
        with pytest.raises(ArgumentError, match=r"no graph of layers.*keras.Model\(inputs"):
            call(model)
    assert not virtual_variables(model)
    with pytest.raises(smh.errors.UnbuiltModelError):
        smh.slim(keras.Sequential([layers.Dense(3)]))
    model, other = dense_stack(8), dense_stack(8)
    wrong = {
        "one number": {"sparsity": [("kernel", 0.5)], "structure": "channels"},
        "structure='channels'": {"of": "multiply_adds"},
        "round_to go with structure='channels'": {"round_to": 8},
        "round_to must be": {"round_to": 0, "structure": "channels"},
        "importance is a function of a weight": {"importance": "size"},
        "importance must return numbers, zero or more": {"importance": lambda v: np.ones(3)},
        r"zero or more, of shape \(": {"importance": lambda v: -np.ones(v.shape)},
        "is no stored trained weight of": {
            "importance": smh.sensitivity.fisher(other, np.ones((3, *other.input_shape[1:])))
        },
        "round_to=64 leaves nothing": {"structure": "channels", "round_to": 64},
        "with 8 channels left": {
            "sparsity": 0.9,
            "of": "numbers",
            "structure": "channels",
            "round_to": 8,
        },
        "of must be one of": {"of": "bytes", "structure": "channels"},
        r"at most 0\.\d+ do": {"sparsity": 0.99, "of": "multiply_adds", "structure": "channels"},
    }
    for message, options in wrong.items():
        with pytest.raises(ArgumentError, match=message):
            smh.prune(model, **{"sparsity": 0.5, **options})
    with pytest.raises(SelectionError, match="No channel can go"):
        smh.prune(dense_stack(), 0.5, structure="channels")
    free = keras.Sequential([keras.Input((None, 3)), layers.Conv1D(4, 3), layers.Conv1D(2, 3)])
    with pytest.raises(ArgumentError, match="takes depends on a size that is free"):
        smh.prune(free, 0.5, structure="channels", of="multiply_adds")
    assert not virtual_variables(model) and not virtual_variables(free)


def test_slim_takes_compressed_models_too():
    model = dense_stack(32, 32)
    smh.compress(model, 0.5)
    data = [np.random.default_rng(0).normal(size=(4, 6)).astype("float32")]
    small = smh.slim(model)
    assert not virtual_variables(small)
    assert_equal(model, small, data)
    with pytest.raises(SelectionError, match="No channel can go"):
        smh.prune(model, 0.5, structure="channels")


ZOO = [name for name in smh.zoo.__all__ if name not in ("build", "names")]
APPLICATIONS = (
    "ConvNeXtTiny DenseNet121 DenseNet169 DenseNet201 EfficientNetB1 EfficientNetB2 EfficientNetB3 "
    "EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2S InceptionResNetV2 InceptionV3 MobileNet "
    "MobileNetV2 MobileNetV3Large MobileNetV3Small NASNetMobile ResNet101 ResNet101V2 ResNet50 "
    "ResNet50V2 VGG16 VGG19 Xception"
).split()
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71, "alexnet": 71}


def normalise_as_after_training(model, data):
    """Takes the statistics from data: with those of the start nothing of an image comes through."""
    for layer in own_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(data[0], training=True)


@pytest.fixture
def in_float64():
    """Deep networks with the statistics of four images enlarge an error of rounding a lot."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("level", [0.3, 0.6])
@pytest.mark.parametrize("name", [*ZOO, *APPLICATIONS])
def test_networks_give_what_they_gave_masked(name, level):
    shape = SIZES.get(name, 32), SIZES.get(name, 32), 3
    model = smh.zoo.build(name, shape, 10)
    rng = np.random.default_rng(1)
    for variable in model.variables:  # so that what is masked would not be zero by itself
        if variable.path.endswith(("beta", "bias", "moving_mean")):
            variable.assign(rng.normal(size=variable.shape) * 0.1)
    data = [rng.random((4, *shape))]
    normalise_as_after_training(model, data)
    smh.prune(model, level, structure="channels")
    small, report = smh.slim(model, return_report=True)
    # EfficientNetV2S enlarges an error of rounding 1e8 times with these weights.
    (expected,), (near,) = (outputs(model, [x]) for x in (*data, data[0] * (1 + 1e-15)))
    off = max(1e-7, 10 * np.abs(near - expected).max() / np.abs(expected).max())
    assert_equal(model, small, data, off=off)
    # What two images make of it as well: little, where no normalisation keeps the signal up.
    wanted, got = (np.subtract(*outputs(m, data)[0][:2]) for m in (model, small))
    assert np.abs(wanted).max() > 1e-12
    np.testing.assert_allclose(got, wanted, atol=1e-3 * np.abs(wanted).max(), rtol=0)
    assert report.numbers[1] < report.numbers[0] * (1 - 0.5 * level)
    assert report.multiply_adds[1] == count_multiply_adds(small).multiply_adds
    without = smh.slim(model, fold_normalization=True)
    assert_equal(model, without, data, off=off)
    assert not pairs_of(without)


def folds(x):
    """Each kind of product, with and without a bias, a scale and an offset."""
    norm = layers.BatchNormalization
    x = norm()(conv(6, use_bias=False)(x))
    x = norm(scale=False)(layers.DepthwiseConv2D(3, depth_multiplier=2)(layers.ReLU()(x)))
    x = norm(center=False)(layers.SeparableConv2D(8, 3, depth_multiplier=2)(layers.ReLU()(x)))
    x = norm()(layers.Conv2DTranspose(5, 3, strides=2)(layers.ReLU()(x)))
    y = norm()(conv(10, groups=5, use_bias=False)(layers.ReLU()(x)))
    x = norm()(conv(10)(x)) + y  # a residual of what was normalised
    x = norm()(layers.Dense(7, use_bias=False)(x))
    inner = keras.Sequential([layers.Dense(6), norm(), layers.ReLU()])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return norm()(layers.Dense(4)(inner(x)))


def stays_after_an_activation(x):
    return layers.BatchNormalization()(conv(4, activation="relu")(x))


def stays_where_two_read(x):
    x = conv(4)(x)
    return layers.BatchNormalization()(x) + x


def stays_where_the_model_gives_it(x):
    x = conv(4)(x)
    return [layers.BatchNormalization()(x), x]


def stays_on_another_axis(x):
    return layers.BatchNormalization(axis=1)(conv(4)(x))


def stays_with_its_own_batch(x):
    return layers.BatchNormalization()(conv(4)(x), training=True)


def stays_inside_what_is_called_as_in_training(x):
    inner = [conv(4), layers.BatchNormalization()]
    return keras.Sequential([keras.Input(x.shape[1:]), *inner])(x, training=True)


def stays_in_a_layer_that_is_called_twice(x):
    one = conv(2)
    return layers.BatchNormalization()(one(one(x)))


def stays_with_a_constraint(x):
    return layers.BatchNormalization()(conv(4, kernel_constraint="non_neg")(x))


def stays_in_front(x):
    return conv(4)(layers.BatchNormalization()(x))


class Doubled(layers.BatchNormalization):
    """Computes something else than its base class."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def stays_of_another_class(x):
    return Doubled()(conv(4)(x))


STAY = [value for name, value in globals().items() if name.startswith("stays_")]


@table
def test_normalisations_are_folded(case):
    """Whatever they follow: the same predictions, and where it can be none is left."""
    model, data = case.build(), case.data()
    before = len(pairs_of(model))
    small, report = smh.slim(model, fold_normalization=True, return_report=True)
    assert_equal(model, small, data)
    assert len(report.folded) == before
    assert not pairs_of(small)


def test_every_kind_of_product_takes_a_normalisation_in(tmp_path):
    case = Case("folds", folds, ((9, 9, 2),))
    model, data = case.build(), case.data()
    smh.prune(model, 0.3, structure="channels")
    small, report = smh.slim(model, fold_normalization=True, return_report=True)
    assert len(report.folded) == 9 and "layer before: 9" in str(report)
    assert "batch_normalization" not in " ".join(v.path for v in small.variables)
    assert_equal(model, small, data)
    trains(small, data)
    small.save(tmp_path / "small.keras")
    assert_equal(small, keras.saving.load_model(tmp_path / "small.keras"), data)
    smh.save(small, tmp_path / "small.smh")
    assert_equal(small, smh.load(tmp_path / "small.smh"), data)


@pytest.mark.parametrize("make", STAY, ids=lambda make: make.__name__)
def test_a_normalisation_that_cannot_be_folded_stays(make):
    case = Case("stays", make, ((7, 7, 2),))
    model, data = case.build(), case.data()
    small, report = smh.slim(model, fold_normalization=True, return_report=True)
    assert report.folded == ()
    assert small.count_params() == model.count_params()
    assert_equal(model, small, data)


def test_layers_with_a_map_of_dtypes_are_folded():
    dtype = keras.DTypePolicy("float32")
    each = keras.dtype_policies.DTypePolicyMap(default_policy=dtype)
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(3, dtype=each), layers.BatchNormalization(dtype=each)]
    )
    randomize(model)
    small, report = smh.slim(model, fold_normalization=True, return_report=True)
    assert len(report.folded) == 1
    assert_equal(model, small, [np.random.default_rng(0).normal(size=(4, 5)).astype("float32")])


def test_what_float16_cannot_hold_stays():
    given = keras.Input((5,), dtype="float16")
    dense, norm = layers.Dense(3, dtype="float16"), layers.BatchNormalization(dtype="float16")
    norm.epsilon = 1e-7
    model = keras.Model(given, norm(dense(given)))
    dense.kernel.assign(np.full((5, 3), 50.0))
    norm.moving_variance.assign(np.full(3, 1e-7))
    small, report = smh.slim(model, fold_normalization=True, return_report=True)
    assert report.folded == ()
    assert np.isfinite(outputs(small, [np.full((2, 5), 1e-3, "float16")])[0]).all()


@pytest.mark.parametrize("name, count", [("resnet_20", 19), ("mobilenet_v2", 52)])
def test_networks_have_no_normalisation_left(name, count):
    model = smh.zoo.build(name, (32, 32, 3), 10)
    randomize(model)
    small, report = smh.slim(model, fold_normalization=True, return_report=True)
    assert len(report.folded) == count
    assert not [x for x in small.layers if isinstance(x, layers.BatchNormalization)]
    data = [np.random.default_rng(0).random((3, 32, 32, 3)).astype("float32")]
    assert_equal(model, small, data)
