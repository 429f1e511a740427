"""What one output channel is made of, for every kind of layer; whole units go, and never all."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers
from models import numpy_of

import smh
from smh.doors.output_units import units_of
from smh.virtual_variable import own_layers, own_variables

pytestmark = pytest.mark.backend_agnostic


@keras.saving.register_keras_serializable(package="tests")
class OwnCell(layers.Layer):
    """A recurrent cell of a user's own: two gates, side by side."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 2 * self.units), name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, 2 * self.units), name="again")

    def call(self, x, states):
        both = keras.ops.matmul(x, self.kernel) + keras.ops.matmul(states[0], self.recurrent_kernel)
        gate, new = keras.ops.split(both, 2, axis=-1)
        state = keras.ops.tanh(new) * keras.ops.sigmoid(gate)
        return state, [state]


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, its input, and how many units each of its weights has, in the layer's order."""

    name: str
    make: Callable[[], keras.Layer]
    shape: tuple
    counts: tuple
    tokens: int = 0
    states: tuple = ()  # shapes of a recurrent layer's states


CASES = [
    Case("dense", lambda: layers.Dense(5), (4,), (5, 5)),
    Case(
        "einsum",
        lambda: layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"),
        (3, 4),
        (5, 5),
    ),
    Case(
        "attention heads",
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"),
        (3, 4),
        (6, 6),
    ),
    Case("heads to output", lambda: layers.EinsumDense("abcd,cde->abe", (3, 5)), (3, 2, 4), (5,)),
    Case("einsum in groups", lambda: layers.EinsumDense("agi,gio->ago", (2, 3)), (2, 4), (6,)),
    Case("conv 1-D", lambda: layers.Conv1D(5, 3), (6, 4), (5, 5)),
    Case("conv 2-D", lambda: layers.Conv2D(5, 3), (5, 5, 4), (5, 5)),
    Case("conv 3-D", lambda: layers.Conv3D(5, 2), (3, 3, 3, 4), (5, 5)),
    Case("grouped", lambda: layers.Conv2D(6, 3, groups=2), (5, 5, 4), (6, 6)),
    Case("transposed 1-D", lambda: layers.Conv1DTranspose(5, 3), (4, 3), (5, 5)),
    Case("transposed 2-D", lambda: layers.Conv2DTranspose(5, 3), (4, 4, 3), (5, 5)),
    Case("transposed 3-D", lambda: layers.Conv3DTranspose(5, 2), (3, 3, 3, 2), (5, 5)),
    Case("depthwise 1-D", lambda: layers.DepthwiseConv1D(3), (6, 4), (4, 4)),
    Case("depthwise 2-D", lambda: layers.DepthwiseConv2D(3), (5, 5, 4), (4, 4)),
    Case(
        "depthwise, 2 of each",
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        (5, 5, 3),
        (6, 6),
    ),
    Case(
        "separable 1-D", lambda: layers.SeparableConv1D(8, 3, depth_multiplier=2), (6, 4), (8, 8, 8)
    ),
    Case(
        "separable 2-D",
        lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2),
        (5, 5, 3),
        (6, 5, 5),
    ),
    Case("simple rnn", lambda: layers.SimpleRNN(5), (1, 4), (5, 5, 5), states=((5,),)),
    Case("lstm", lambda: layers.LSTM(5), (1, 4), (5, 5, 5), states=((5,), (5,))),
    Case("gru", lambda: layers.GRU(5), (1, 4), (5, 5, 5), states=((5,),)),
    Case("own cell", lambda: layers.RNN(OwnCell(5)), (1, 4), (5, 5), states=((5,),)),
    Case(
        "conv lstm",
        lambda: layers.ConvLSTM2D(3, 3, padding="same"),
        (1, 5, 5, 2),
        (3, 3, 3),
        states=((5, 5, 3), (5, 5, 3)),
    ),
    Case("embedding", lambda: layers.Embedding(7, 5), (3,), (5,), tokens=7),
]
table = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# Its reset gates act on the state before the product, so that each unit's reaches all the others.
GRU_BEFORE = Case(
    "gru before", lambda: layers.GRU(5, reset_after=False), (1, 4), (5, 5, 5), states=((5,),)
)


def built(case):
    """A layer with random weights, and a call of it on fixed inputs."""
    rng, layer = np.random.default_rng(3), case.make()
    if case.tokens:
        x = rng.integers(0, case.tokens, (2, *case.shape)).astype("int32")
    else:
        x = rng.normal(size=(2, *case.shape)).astype("float32")
    states = [rng.normal(size=(2, *shape)).astype("float32") for shape in case.states]
    keywords = {"initial_state": states} if states else {}
    layer(x, **keywords)
    for variable in weights_of(layer):
        variable.assign(rng.normal(size=variable.shape))
    return layer, lambda: numpy_of(layer(x, **keywords)).astype("float64")


def weights_of(layer):
    return [v for part in own_layers(layer) for v in own_variables(part) if v.trainable]


def owner_of(layer, weight):
    return next(p for p in own_layers(layer) if any(v is weight for v in own_variables(p)))


@table
def test_a_unit_changes_its_channel_and_no_other(case):
    layer, call = built(case)
    if isinstance(layer, (layers.SeparableConv1D, layers.SeparableConv2D)):
        inner = layer.pointwise_kernel.shape[-2]
        if inner == layer.filters:  # then the inner channels can be seen in the output
            layer.pointwise_kernel.assign(np.eye(inner).reshape(layer.pointwise_kernel.shape))
    before, counts = call(), []
    for weight in weights_of(layer):
        units = units_of(weight, [owner_of(layer, weight)])
        counts.append(units.count)
        if not units.of_output and units.count != before.shape[-1]:
            continue
        was = numpy_of(weight)
        for unit in range(units.count):
            mine = units.spread(np.arange(units.count) == unit, was.shape)
            weight.assign(np.where(mine, was + 0.5, was))
            change = np.abs(call() - before).reshape(-1, units.count).max(axis=0)
            assert change[unit] > 1e-3, (weight.path, unit)
            assert np.delete(change, unit).max() < 1e-5, (weight.path, unit, change)
        weight.assign(was)
    assert tuple(counts) == case.counts


def in_model(case):
    dtype = "int32" if case.tokens else "float32"
    x = keras.Input(case.shape, dtype=dtype)
    return keras.Model(x, case.make()(x))


@pytest.mark.parametrize("case", [*CASES, GRU_BEFORE], ids=lambda case: case.name)
@pytest.mark.parametrize(
    "level",
    [pytest.param(0.5, marks=pytest.mark.slow), 0.6, pytest.param(0.99, marks=pytest.mark.slow)],
)
def test_whole_units_are_pruned_and_never_all(case, level):
    model = in_model(case)
    smh.prune(model, level, structure="filters")
    gone = {}
    for layer in own_layers(model):
        for weight in own_variables(layer):
            if not isinstance(weight, smh.virtual_variable.VirtualVariable):
                continue
            units, kept = units_of(weight, [layer]), numpy_of(weight) != 0
            sums, sizes = units.sums(kept), units.sums(np.ones(kept.shape))
            assert ((sums == 0) | (sums == sizes)).all(), weight.path  # whole ones
            assert (sums == 0).sum() == min(round(level * units.count), units.count - 1)
            if units.of_output:
                gone.setdefault((id(layer), units.count), []).append(sums == 0)
    assert gone or isinstance(model.layers[-1], layers.RNN)
    for of_layer in gone.values():  # a unit of a layer goes in all of its weights
        assert all((other == of_layer[0]).all() for other in of_layer)


def test_the_weakest_unit_over_all_its_weights_goes():
    """Of an LSTM: by its gates in the kernel and in the recurrent kernel together."""
    model = in_model(Case("lstm", lambda: layers.LSTM(3), (2, 4), ()))
    cell = model.layers[-1].cell
    kernel, recurrent = np.ones((4, 12), "float32"), np.ones((3, 12), "float32")
    kernel[:, 0::3], recurrent[:, 0::3] = 0.1, 9  # weak in one only
    kernel[:, 1::3], recurrent[:, 1::3] = 0.9, 0.9
    cell.kernel.assign(kernel)
    cell.recurrent_kernel.assign(recurrent)
    smh.prune(model, 0.34, structure="filters")
    for weight in (cell.kernel, cell.recurrent_kernel):
        assert (numpy_of(weight) == 0).all(axis=0).tolist() == [False, True, False] * 4


def test_weights_of_one_layer_may_go_to_different_levels():
    model = in_model(Case("lstm", lambda: layers.LSTM(10), (2, 4), ()))
    levels = [(".*recurrent_kernel", 0.2), (".*kernel", 0.5)]
    smh.prune(model, levels, structure="filters")
    cell = model.layers[-1].cell
    assert (numpy_of(cell.kernel) == 0).all(axis=0).mean() == 0.5
    assert (numpy_of(cell.recurrent_kernel) == 0).all(axis=0).mean() == pytest.approx(0.2)


@pytest.mark.parametrize("level", [0.3, 0.99])
def test_a_scan_of_filters_takes_the_same_units(level):
    x = keras.Input((6, 6, 4))
    model = keras.Model(x, layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    kernel, seen = model.layers[-1].kernel, []
    smh.sensitivity_scan(
        model,
        lambda model: seen.append(numpy_of(kernel)) or 1.0,
        [level],
        structure="filters",
        seed=0,
        verbose=0,
    )
    smh.prune(model, level, structure="filters")
    assert (seen[1] == numpy_of(model.layers[-1].kernel)).all()
    assert 0 < (seen[1] == 0).all(axis=(0, 1)).sum() == min(round(level * 8), 7)


def test_a_weight_of_an_unknown_layer_goes_by_its_last_axis():
    class Two(layers.Layer):
        def build(self, input_shape):
            self.mats = [self.add_weight((input_shape[-1], 4), name=f"mat{i}") for i in range(2)]

        def call(self, x):
            return keras.ops.matmul(x, self.mats[0]) * keras.ops.matmul(x, self.mats[1])

    layer = Two()
    layer.build((None, 3))
    units = units_of(layer.mats[0], [layer])
    assert (units.count, units.axes, units.of_output) == (4, (1,), False)
