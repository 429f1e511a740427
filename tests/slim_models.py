"""The table of models that `smh.slim` must make smaller: each is there for a rule or two."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

# On JAX Keras 3.15 computes no attention whose values have another size than its keys.
VALUE_DIM = 6 if keras.backend.backend() == "jax" else 5


@dataclass(frozen=True)
class Case:
    """A model: `make` gets its input tensors and gives the outputs."""

    name: str
    make: Callable
    shapes: tuple[tuple[int, ...], ...]
    tokens: int = 0  # inputs are whole numbers below it

    def build(self):
        """The model, with random weights in all of it."""
        dtype = "int32" if self.tokens else "float32"
        inputs = [keras.Input(shape, dtype=dtype) for shape in self.shapes]
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], self.make(*inputs))
        randomize(model)
        return model

    def data(self, count=3):
        rng = np.random.default_rng(5)
        if self.tokens:
            return [rng.integers(0, self.tokens, (count, *s)).astype("int32") for s in self.shapes]
        return [rng.normal(size=(count, *s)).astype("float32") for s in self.shapes]


def randomize(model, seed=0):
    """Draws all weights and running statistics, so that nothing is zero by chance of its start."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" in variable.path or "int" in str(variable.dtype):
            continue
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        value = rng.normal(size=variable.shape) / np.sqrt(fan_in if len(variable.shape) > 1 else 4)
        if variable.path.endswith("variance"):
            value = 0.5 + np.abs(value)
        variable.assign(value)


def conv(filters, size=3, **options):
    return layers.Conv2D(filters, size, padding=options.pop("padding", "same"), **options)


def bn_relu(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


def logits(x):
    return layers.Dense(3)(layers.GlobalAveragePooling2D()(x))


def residual(x):
    x = bn_relu(conv(8)(x))
    y = bn_relu(conv(8)(x))
    x = layers.Add()([x, conv(8, use_bias=False)(y)])
    return logits(bn_relu(conv(6, strides=2)(bn_relu(x))))


def before(x):
    """Batch normalisation in front of convolutions, on a trunk that grows by concatenation."""
    x = conv(6)(x)
    for _ in range(2):
        y = conv(6, 1, use_bias=False)(bn_relu(x))
        x = layers.Concatenate()([x, conv(4)(bn_relu(y))])
    return logits(bn_relu(x))


def padded(x):
    """The shortcut of thin ResNets: every second pixel, and zeros for the channels that are new."""
    x = conv(6)(x)
    y = conv(12, strides=2)(x)
    short = ops.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (2, 4)))
    x = ops.concatenate([bn_relu(layers.Add()([short, y])), y], axis=-1)
    return layers.Dense(3)(conv(6)(x)[:, 0, -1])


def unscaled(x):
    """As Inception has it: no gamma."""
    for filters in (8, 6):
        x = conv(filters, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(scale=False)(x))
    return logits(x)


def inverted(x):
    """A block of MobileNetV3: depthwise in the middle, squeeze and excitation, a residual."""
    x = conv(6)(x)
    y = bn_relu(conv(12, 1)(x))
    y = bn_relu(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
    s = layers.GlobalAveragePooling2D(keepdims=True)(y)
    s = conv(12, 1)(layers.ReLU()(conv(4, 1)(s)))
    y = layers.Multiply()([y, ops.relu6(s + 3.0) * (1.0 / 6.0)])
    return logits(x + conv(6, 1)(y))


def multiplier(x):
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(conv(6)(x))
    return logits(conv(5)(bn_relu(x)))


def separable(x):
    x = layers.SeparableConv2D(6, 3, depth_multiplier=2, activation="relu")(conv(6)(x))
    return logits(layers.SeparableConv2D(5, 3, padding="same", activation="gelu")(x))


def grouped(x):
    x = bn_relu(conv(12, groups=3)(conv(12)(x)))
    x = conv(8, groups=8, activation="relu")(conv(8, 1)(x))
    return logits(conv(5)(x))


def up_and_down(x):
    a = conv(6, activation="relu")(x)
    b = conv(8, activation="relu")(layers.MaxPooling2D()(a))
    c = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(b)
    d = layers.UpSampling2D()(layers.AveragePooling2D(2, padding="same")(c))
    d = layers.Cropping2D(1)(layers.ZeroPadding2D(1)(d))
    x = conv(6, activation="leaky_relu")(layers.Concatenate()([a, c, d]))
    return conv(2)(layers.SpatialDropout2D(0.2)(layers.PReLU(shared_axes=[1, 2])(x)))


def flat(x):
    x = layers.Flatten()(layers.MaxPooling2D()(conv(6, activation="relu")(x)))
    x = layers.Dropout(0.5)(layers.Dense(12, activation="sigmoid")(x))
    return layers.Dense(3, activation="softmax")(layers.Dense(8, activation="softplus")(x))


def squeezed(x):
    """Reshape and permute around the channels."""
    x = conv(8, activation="relu")(x)
    s = layers.Reshape((1, 1, 8))(layers.Dense(8, "tanh")(layers.GlobalMaxPooling2D()(x)))
    x = layers.Reshape((64, 8))(layers.Multiply()([x, s]))
    x = layers.Conv1D(6, 3, padding="causal", activation="relu")(x)
    x = layers.Conv1D(6, 3, padding="valid", activation="silu")(x)
    return layers.Dense(3)(layers.Flatten()(layers.Permute((2, 1))(x)))


def lstm(x):
    x = layers.LSTM(8, return_sequences=True)(x)
    x = layers.LSTM(7)(layers.Dropout(0.1)(x))
    return layers.Dense(3)(layers.Dense(6, "relu")(x))


def gru(x):
    x = layers.GRU(8, return_sequences=True)(x)
    x = layers.GRU(7, reset_after=False, return_sequences=True)(x)
    return layers.Dense(3)(layers.RNN(layers.SimpleRNNCell(6))(x))


def bidirectional(x):
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True), merge_mode="sum")(x)
    return layers.Dense(3)(layers.Bidirectional(layers.SimpleRNN(5))(x))


def encoder_decoder(x, y):
    _, h, c = layers.LSTM(8, return_state=True)(x)
    y = layers.LSTM(8, return_sequences=True)(y, initial_state=[h, c])
    return layers.TimeDistributed(layers.Dense(3))(layers.TimeDistributed(layers.Dense(6))(y))


def transformer(x):
    """Heads, what is in them, and the wide layer can go; the trunk is normalised, so it stays."""
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 6, value_dim=VALUE_DIM)(y, y)])
    y = layers.Dense(16, "gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d")(y)])
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(x))


def cross_attention(x, y):
    x, y = layers.Dense(10)(x), layers.Dense(9)(y)
    z = layers.MultiHeadAttention(3, 4)(x, y)
    return layers.Dense(3)(layers.Flatten()(layers.Add()([x, z])))


def embedded(x):
    x = layers.Embedding(11, 8)(x)
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    return layers.Dense(3)(layers.GlobalMaxPooling1D()(x))


def masked(x):
    x = layers.Embedding(11, 8, mask_zero=True)(x)
    return layers.Dense(3)(layers.LSTM(6)(x))


def shared(x):
    one, two = layers.Dense(8, "relu"), layers.Dense(8, "tanh")
    x = two(one(x))
    return layers.Dense(3)(layers.Concatenate()([two(x), two(two(x)), x]))


def nested(x):
    inner = keras.Input((8, 8, 6))
    block = keras.Model(inner, bn_relu(conv(6)(inner)), name="block")
    stack = keras.Sequential(
        [keras.Input((8, 8, 6)), conv(7, activation="relu"), keras.Sequential([conv(5)])]
    )
    return logits(bn_relu(stack(block(block(conv(6)(x))))))


def several(x, y):
    x = layers.Dense(8, "relu")(x)
    y = layers.Dense(8, "relu")(y)
    both = layers.Maximum()([x, y])
    mean = layers.Average()([layers.Dense(6)(both), layers.Dense(6)(layers.Subtract()([x, y]))])
    return {"one": layers.Dense(2, name="one")(mean), "two": layers.Dense(3, name="two")(both)}


IMAGE = ((8, 8, 3),)
CASES = [
    Case("residual", residual, IMAGE),
    Case("concatenation, normalised before", before, IMAGE),
    Case("padded shortcut", padded, IMAGE),
    Case("normalised without gamma", unscaled, IMAGE),
    Case("inverted bottleneck", inverted, IMAGE),
    Case("depthwise with a multiplier", multiplier, IMAGE),
    Case("separable", separable, IMAGE),
    Case("grouped", grouped, IMAGE),
    Case("transposed", up_and_down, IMAGE),
    Case("flatten to dense", flat, IMAGE),
    Case("reshape", squeezed, IMAGE),
    Case("lstm", lstm, ((5, 4),)),
    Case("gru", gru, ((5, 4),)),
    Case("bidirectional", bidirectional, ((5, 4),)),
    Case("encoder and decoder", encoder_decoder, ((5, 4), (6, 3))),
    Case("transformer", transformer, ((5, 8),)),
    Case("cross attention", cross_attention, ((5, 8), (4, 7))),
    Case("embedding", embedded, ((6,),), tokens=11),
    Case("masked", masked, ((6,),), tokens=11),
    Case("shared layers", shared, ((8,),)),
    Case("nested models", nested, IMAGE),
    Case("several inputs and outputs", several, ((5,), (4,))),
]


# Calls that a rule may take for something else; of some nothing can be cut.


@keras.saving.register_keras_serializable("tests")
class Gate(layers.Layer):
    """Takes numbers from what is called a mask."""

    def call(self, x, mask=None):
        return x * mask


@keras.saving.register_keras_serializable("tests")
class Centred(layers.ReLU):
    """Looks like an activation of each number by itself."""

    def call(self, x):
        return super().call(x) - ops.mean(x, -1, keepdims=True)


@keras.saving.register_keras_serializable("tests")
class Halves(layers.Dense):
    """Looks like a layer that has a rule, and is made from other arguments."""

    def __init__(self, half, **options):
        super().__init__(2 * half, **options)

    def get_config(self):
        config = super().get_config()
        del config["units"]
        return {**config, "half": self.units // 2}


def masked_by_numbers(x, z):
    weight = layers.Dense(5, "sigmoid")(z)
    pooled = layers.GlobalAveragePooling1D()(layers.Dense(8)(x), mask=weight)
    return layers.Dense(3)(pooled), layers.Dense(2)(layers.LSTM(4)(layers.Dense(6)(x), mask=weight))


def masked_by_place(x, z):
    return layers.GlobalAveragePooling1D()(layers.Dense(8)(x), layers.Dense(5, "sigmoid")(z))


def masked_softmax(x):
    let_through = ops.cast(layers.Dense(6, "relu")(x), "bool")
    return layers.Dense(3)(layers.Softmax()(layers.Dense(6)(x), mask=let_through))


def gated(x):
    return layers.Dense(3)(Gate()(layers.Dense(8)(x), mask=layers.Dense(8, "sigmoid")(x)))


def called_by_names(x):
    a, b = keras.Input((6,), name="query"), keras.Input((6,), name="item")
    parts = [layers.Dense(4, "relu")(a), layers.Dense(5, "tanh")(b)]
    inner = keras.Model([a, b], layers.Concatenate()(parts))
    item, query = layers.Dense(6, "sigmoid")(x), layers.Dense(6, "relu")(x)
    return layers.Dense(3)(inner({"item": item, "query": query}))


def scores_first(x):
    attention = layers.MultiHeadAttention(3, 4)
    y, scores = attention(x, x, return_attention_scores=True)
    weight = layers.Dense(5, "relu")(layers.Dense(6)(ops.mean(scores, axis=1)))
    again = attention(layers.Dense(6, "gelu")(x), x)
    return layers.Dense(2)(weight), layers.Dense(3)(y), layers.Dense(3)(again)


def started_first(x, start):
    both = layers.Bidirectional(layers.SimpleRNN(5, return_sequences=True))
    y = layers.Dense(6)(layers.Dense(9, "relu")(both(x, initial_state=[start, start])))
    return layers.Dense(3)(both(y))


def activated_by_an_own_class(x):
    return layers.Dense(3)(layers.Dense(8, activation=Centred())(layers.Dense(8, "relu")(x)))


def made_from_other_arguments(x):
    return layers.Dense(3)(Halves(4, activation="gelu")(layers.Dense(10, "relu")(x)))


def one_reshape_twice(x):
    reshape, pool = layers.Reshape((64, 8)), layers.GlobalAveragePooling1D()
    a, b = conv(8, 1, activation="relu")(x), conv(8, activation="gelu")(x)
    return layers.Dense(3)(pool(reshape(a))), layers.Dense(3)(pool(reshape(b)))


def one_block_twice(x):
    block = keras.Sequential([keras.Input((5, 6)), layers.ReLU(), layers.Dropout(0.1)])
    wide = layers.Conv1D(8, 3, activation="gelu", padding="same")(x)
    y = layers.Conv1D(6, 3, padding="same")(wide)
    return layers.Dense(3)(block(x)), layers.Dense(3)(block(y))


def clipped_by_an_array(x):
    bounds = [-1.0, -2.0, -0.5, 0.0], [1.0, 0.2, 0.3, 0.4]
    return layers.Dense(3)(ops.clip(layers.Dense(4)(layers.Dense(8, "relu")(x)), *bounds))


def added_to_all_channels(x):
    y = conv(16, activation="relu")(x)
    return logits(layers.ReLU()(conv(8, 1)(layers.Add()([y, conv(1, 1)(y)]))))


def trained_in_the_graph(x):
    y = layers.BatchNormalization()(conv(8, 1, use_bias=False)(x), training=True)
    inner = keras.Sequential([keras.Input((8, 8, 8)), layers.BatchNormalization(), layers.ReLU()])
    return logits(layers.ReLU()(y)), logits(inner(conv(8)(x), training=True))


def as_many_heads_as_steps(x):
    return layers.Dense(2)(layers.Flatten()(layers.MultiHeadAttention(3, 2)(x, x)))


def as_many_rows_as_steps(x):
    y = layers.Dense(6, "gelu")(x)
    y = layers.EinsumDense("abd,dec->abec", (3, 3, 4), bias_axes="ec", activation="relu")(y)
    return layers.Dense(2)(layers.Flatten()(y))


ODD = [
    Case("masked by numbers", masked_by_numbers, ((5, 6), (4,))),
    Case("masked by place", masked_by_place, ((5, 6), (4,))),
    Case("masked softmax", masked_softmax, ((6,),)),
    Case("own layer with a mask", gated, ((6,),)),
    Case("called by names", called_by_names, ((7,),)),
    Case("scores first", scores_first, ((4, 6),)),
    Case("started first", started_first, ((4, 6), (5,))),
    Case("own activation", activated_by_an_own_class, ((6,),)),
    Case("own arguments", made_from_other_arguments, ((6,),)),
    Case("one reshape twice", one_reshape_twice, IMAGE),
    Case("one block twice", one_block_twice, ((5, 6),)),
    # JAX takes no list here, and Keras writes no array into a configuration.
    *(
        [Case("clipped by an array", clipped_by_an_array, ((6,),))]
        if keras.backend.backend() == "tensorflow"
        else []
    ),
    Case("added to all channels", added_to_all_channels, IMAGE),
    Case("trained in the graph", trained_in_the_graph, IMAGE),
    Case("as many heads as steps", as_many_heads_as_steps, ((3, 6),)),
    Case("as many rows as steps", as_many_rows_as_steps, ((3, 6),)),
]
