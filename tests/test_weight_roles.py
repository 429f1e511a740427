"""Which weights are taken by default: by their role, not by their rank."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numpy_of

import smh
from smh.doors.candidates import candidates
from smh.doors.compressible import select
from smh.doors.weight_roles import Role, role_of
from smh.errors import SelectionError
from smh.sensitivity.scanned import find_candidates
from smh.virtual_variable import own_layers, own_variables, virtual_variables

pytestmark = pytest.mark.backend_agnostic


@keras.saving.register_keras_serializable(package="tests")
class Weights(layers.Layer):
    """A layer of a user's own with weights of the given names, all of rank 2."""

    def __init__(self, names, **kwargs):
        super().__init__(**kwargs)
        self.names = list(names)

    def build(self, input_shape):
        # In a list, so that only the name of each variable tells what it is.
        self.held = [self.add_weight((input_shape[-1],) * 2, name=name) for name in self.names]

    def call(self, x):
        return sum(ops.matmul(x, weight) for weight in self.held)


class BitWidthQuantizer(layers.Layer):
    """As those of HGQ2: integer and fractional bits for each number of a kernel, trained."""

    def build(self, input_shape):
        self._b = self.add_weight(input_shape, initializer="ones", name="b")
        self._i = self.add_weight(input_shape, initializer="ones", name="i")

    def call(self, kernel):
        return kernel * ops.sigmoid(self._b) * ops.sigmoid(self._i)


class QuantizedDense(layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 4), name="kernel")
        self.kq = BitWidthQuantizer()
        self.kq.build(self.kernel.shape)

    def call(self, x):
        return ops.matmul(x, self.kq(self.kernel))


class VectorQuantizer(layers.Layer):
    """As that of a VQ-VAE: its codebook is an embedding."""

    def build(self, input_shape):
        self.embeddings = self.add_weight((input_shape[-1], 8), name="codes")

    def call(self, x):
        return ops.matmul(x, self.embeddings)


class HeldAsBias(layers.Layer):
    """The attribute tells what the name does not."""

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 4), name="v1")
        self.bias = self.add_weight((1, 4), name="v2")

    def call(self, x):
        return ops.matmul(x, self.kernel) + self.bias


def model_of(*stack, shape=(6, 4), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack])


def attention():
    x = keras.Input((6, 4))
    return keras.Model(x, layers.MultiHeadAttention(2, 3)(x, x))


def own(*names):
    return lambda: model_of(Weights(names))


# A model, and the bare names of what is taken and of what of rank 2 or more stays.
CASES = {
    "gru": (lambda: model_of(layers.GRU(5)), ["kernel", "recurrent_kernel"], ["bias"]),
    "bidirectional gru": (
        lambda: model_of(layers.Bidirectional(layers.GRU(5))),
        ["kernel", "recurrent_kernel"] * 2,
        ["bias"] * 2,
    ),
    "attention heads": (attention, ["kernel"] * 4, ["bias"] * 3),
    "einsum": (
        lambda: model_of(layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")),
        ["kernel"],
        ["bias"],
    ),
    "prelu": (lambda: model_of(layers.Dense(3), layers.PReLU()), ["kernel"], ["alpha"]),
    "normalisation of two axes": (
        lambda: model_of(layers.LayerNormalization(axis=(1, 2)), layers.Dense(3)),
        ["kernel"],
        ["gamma", "beta"],
    ),
    "depthwise and separable": (
        lambda: model_of(layers.DepthwiseConv1D(2), layers.SeparableConv1D(3, 2)),
        ["kernel", "depthwise_kernel", "pointwise_kernel"],
        [],
    ),
    "embedding": (
        lambda: model_of(layers.Embedding(9, 4), shape=(6,), dtype="int32"),
        ["embeddings"],
        [],
    ),
    "quantiser": (lambda: model_of(QuantizedDense()), ["kernel"], ["b", "i"]),
    "vector quantiser": (lambda: model_of(VectorQuantizer()), ["codes"], []),
    "attribute": (lambda: model_of(HeldAsBias()), ["v1"], ["v2"]),
    "own names": (own("w", "mat0", "b", "shared_table"), ["w", "mat0", "b", "shared_table"], []),
    "own biases": (
        own("w", "my_bias", "relative_position_bias_table", "beta", "scale_shift_table", "gamma"),
        ["w"],
        ["my_bias", "relative_position_bias_table", "beta", "scale_shift_table", "gamma"],
    ),
    "own kernels": (
        own("bias_kernel", "scaleKernel", "position_embedding", "out_matrix"),
        ["bias_kernel", "scaleKernel", "position_embedding", "out_matrix"],
        [],
    ),
    "own bit widths": (own("w", "bits", "kernel_bit_width"), ["w"], ["bits", "kernel_bit_width"]),
}
table = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def names(variables):
    return sorted(v.name for v in variables)


@table
def test_every_call_takes_the_same_by_default(case):
    build, taken, stays = case
    assert names(item.variable for item in select(build())) == sorted(taken)
    assert names(item.variable for item in candidates(build())) == sorted(taken)
    assert names(c.weight for c in find_candidates(build(), None, None)) == sorted(taken)
    matrices = [v for v in build().trainable_variables if len(v.shape) >= 2]
    assert names(matrices) == sorted([*taken, *stays])


@table
def test_apply_to_reaches_everything(case):
    build, _, _ = case
    every = names(build().trainable_variables)
    assert names(item.variable for item in select(build(), ".*")) == every
    assert names(item.variable for item in candidates(build(), ".*")) == every
    assert names(c.weight for c in find_candidates(build(), ".*", None)) == every


DOORS = {
    "compress": lambda model: smh.compress(model, 0.9, seed=0),
    "prune": lambda model: smh.prune(model, 0.5),
    "cluster": lambda model: smh.cluster(model, 2),
    "quantize_weights": lambda model: smh.quantize_weights(model, 4),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize(
    "name",
    [
        "gru",
        "quantiser",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("attention heads", "own biases")),
    ],
)
def test_biases_and_bit_widths_stay_as_they_are(door, name):
    build, taken, _ = CASES[name]
    model = build()
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    before = {v.path: numpy_of(v) for v in model.trainable_variables}
    door(model)
    assert names(virtual_variables(model)) == sorted(taken)
    stayed = [v for v in model.trainable_variables if v.path in before]
    assert stayed
    for variable in stayed:
        assert (numpy_of(variable) == before[variable.path]).all()


def test_a_penalty_is_on_what_is_taken():
    model = smh.recipes.penalise_weights(CASES["gru"][0](), 1e-3)
    cell = model.layers[0].cell
    assert cell.bias.regularizer is None and cell.kernel.regularizer is not None


def test_where_layers_differ_the_kernel_counts():
    embedding, dense = layers.Embedding(6, 4), layers.Dense(4)
    embedding.build((None,))
    dense.build((None, 6))
    table = embedding.embeddings
    assert role_of(table, [embedding]) is Role.EMBEDDING
    assert role_of(dense.kernel, [dense, Weights(["w"])]) is Role.KERNEL
    assert role_of(dense.bias, []) is Role.BIAS


def lora_model():
    model = model_of(
        layers.Embedding(9, 4, name="words"),
        layers.Dense(5, name="inner"),
        layers.Conv1D(3, 2, name="conv"),
        layers.EinsumDense("abc,cd->abd", (None, 2), name="last"),
        shape=(6,),
        dtype="int32",
    )
    return model


def with_lora(*adapted):
    model = lora_model()
    rng = np.random.default_rng(1)
    for name in adapted:
        model.get_layer(name).enable_lora(2)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


CALLS = {
    **DOORS,
    "sensitivity_scan": lambda m, **k: smh.sensitivity_scan(m, lambda m: 1.0, [0.5], verbose=0),
    "bits_scan": lambda m: smh.bits_scan(m, lambda m: 1.0, [4], verbose=0),
    "plan": lambda m: smh.plan(m, [0.5]),
    "shrink": lambda m: smh.shrink(m, quality=50),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    "adapted",
    ["words", *(pytest.param(n, marks=pytest.mark.slow) for n in ("inner", "conv", "last"))],
)
def test_adapters_are_refused_and_the_way_out_is_named(call, adapted):
    model = with_lora(adapted)
    before = [(v.path, numpy_of(v)) for v in model.variables]
    with pytest.raises(SelectionError, match=f"{adapted}/lora_.*merged.weights.h5.*exclude="):
        call(model)
    assert [path for path, _ in before] == [v.path for v in model.variables]
    assert all(
        (numpy_of(v) == was).all() for v, (_, was) in zip(model.variables, before, strict=True)
    )


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_merged_adapters_are_acted_on(door, tmp_path):
    """The way out that the message names."""
    adapted = with_lora("words", "inner", "conv", "last")
    x = np.random.default_rng(2).integers(0, 9, (4, 6))
    adapted.save_weights(tmp_path / "merged.weights.h5")
    plain = lora_model()
    plain.load_weights(tmp_path / "merged.weights.h5")
    np.testing.assert_allclose(numpy_of(plain(x)), numpy_of(adapted(x)), rtol=1e-4, atol=1e-4)
    door(plain)
    assert names(virtual_variables(plain)) == ["embeddings", "kernel", "kernel", "kernel"]


def test_excluded_or_named_adapters_are_no_error():
    model = smh.prune(with_lora("inner"), 0.5, exclude=".*lora_")
    assert names(virtual_variables(model)) == ["embeddings", "kernel", "kernel"]
    model = smh.prune(with_lora("inner"), 0.5, apply_to=".*lora_")
    assert names(virtual_variables(model)) == ["lora_kernel_a", "lora_kernel_b"]


def test_every_layer_of_keras_with_a_matrix_has_a_known_role():
    """Fails if a layer of Keras names a weight as none of the rules knows."""
    stacks = [
        model_of(layers.LSTM(3, return_sequences=True), layers.SimpleRNN(3)),
        model_of(layers.Conv2D(3, 2), layers.Conv2DTranspose(3, 2), shape=(5, 5, 2)),
        model_of(layers.ConvLSTM1D(3, 2), shape=(3, 5, 2)),
        model_of(layers.GroupNormalization(2), layers.RMSNormalization(), layers.PReLU()),
        attention(),
        lora_model(),
    ]
    for model in stacks:
        for layer in own_layers(model):
            for variable in own_variables(layer):
                if variable.trainable:
                    assert role_of(variable, [layer]) is not Role.OTHER, variable.path
