"""The table of models that `smh.export` must write rightly, or refuse by an error that helps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from exported_layers import FourierMix, Halved, Sampled
from keras import layers, ops

import smh

FORMATS = ("saved_model", "litert", "onnx", "keras")
SENTENCES = np.array([["the cat sat"], ["a dog and the cat"]])


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model, inputs for it, and in which formats it is refused, with what in the message."""

    name: str
    build: Callable[[], keras.Model]
    inputs: Any  # one structure, a batch of two
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    fixed_batch: tuple[str, ...] = ()  # formats that need `input_signature` with a batch of two
    tolerance: float = 1e-4
    treat: Callable[[keras.Model], Any] = lambda model: smh.compress(model, 0.5, seed=0)
    fast: bool = False


def normal(*shape, dtype="float32"):
    return np.random.default_rng(1).normal(size=(2, *shape)).astype(dtype)


def tokens(*shape, below=20):
    return np.random.default_rng(1).integers(0, below, (2, *shape)).astype("int32")


def stack(*made, shape=(12,), dtype=None, policy=None):
    """A builder of a sequential model of layers made by calls, under a dtype policy."""

    def build():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy or before)
        try:
            return keras.Sequential([keras.Input(shape, dtype=dtype), *(make() for make in made)])
        finally:
            keras.config.set_dtype_policy(before)

    return build


def of(kind, *args, **kwargs):
    """A layer to be made later, once for each model."""
    return lambda: kind(*args, **kwargs)


HEAD = of(layers.Dense, 3)
FLAT = of(layers.Flatten)


def dense(units=16, **kwargs):
    return of(layers.Dense, units, **kwargs)


def adapted(layer, data):
    layer.adapt(data)
    return layer


def vectorized(**kwargs):
    layer = layers.TextVectorization(output_sequence_length=6, **kwargs)
    return adapted(layer, ["the cat sat on the mat", "a dog and a cat"])


def vectorized_tf_idf():
    layer = layers.TextVectorization(output_mode="tf_idf")
    return adapted(layer, ["the cat sat on the mat", "a dog and a cat"])


def attended(layer, **kwargs):
    """A model in which a layer is called with a query and a value."""

    def build():
        x = keras.Input((6, 12))
        return keras.Model(x, layers.Dense(3)(layers.Flatten()(layer()(x, x, **kwargs))))

    return build


def dictionary():
    ins = {"a": keras.Input((12,), name="a"), "b": keras.Input((6,), name="b")}
    both = layers.Concatenate()([layers.Dense(8)(ins["a"]), layers.Dense(8)(ins["b"])])
    outs = {"z": layers.Dense(3, name="z")(both), "y": layers.Dense(2, name="y")(both)}
    return keras.Model(ins, outs)


def listed():
    a, b = keras.Input((12,), name="left"), keras.Input((6,), name="right")
    both = layers.Add()([layers.Dense(8)(a), layers.Dense(8)(b)])
    return keras.Model([a, b], [layers.Dense(3)(both), layers.Dense(2)(both)])


def nested():
    inner = stack(dense(20, activation="relu"), dense(12))()
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(3)(layers.Concatenate()([inner(x), inner(-x)])))


def masked():
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(20, 16, mask_zero=True)(x)
    return keras.Model(x, layers.Dense(3)(layers.LSTM(8)(y)))


def lambdas():
    x = keras.Input((12,))
    y = ops.sum(ops.reshape(layers.Dense(24)(x), (-1, 4, 6)), axis=1)
    return keras.Model(x, layers.Dense(3)(ops.where(y > 0, y, 0.1 * y)))


def gaussian():
    return adapted(layers.Normalization(), np.random.default_rng(0).normal(3, 2, (64, 200)))


def looked_up():
    words = keras.Input((2,), dtype="string")
    found = layers.StringLookup(vocabulary=["yes", "no"])(words)
    return keras.Model(words, layers.Dense(3)(layers.Flatten()(layers.Embedding(3, 32)(found))))


def pruned_with_l1(model):
    return smh.prune(model, 0.5)


def clustered_with_l1(model):
    return smh.cluster(model, 4)


LSTM = dict(fixed_batch=("litert",))
HALF = r"(?s)dense.*float32"
STRINGS = r"(?s)string.*saved_model"
L1 = dict(kernel_regularizer=keras.regularizers.L1(1e-3))
IMAGE = (8, 8, 3)

ADAPTIVE = []
if hasattr(layers, "AdaptiveAveragePooling2D"):  # not in the oldest Keras
    pooled = stack(of(layers.AdaptiveAveragePooling2D, 3), FLAT, HEAD, shape=IMAGE)
    ADAPTIVE = [Exported("adaptive pooling", pooled, normal(*IMAGE))]

MODELS = [
    Exported("dense", stack(dense(activation="relu"), HEAD), normal(12)),
    Exported("gelu", stack(dense(activation="gelu"), HEAD), normal(12), fast=True),
    Exported("celu", stack(dense(activation="celu"), HEAD), normal(12)),
    Exported("selu", stack(dense(activation="selu"), HEAD), normal(12)),
    Exported("elu", stack(dense(activation="elu"), HEAD), normal(12)),
    Exported("mish", stack(dense(activation="mish"), HEAD), normal(12)),
    Exported("silu", stack(dense(activation="silu"), HEAD), normal(12)),
    Exported("log softmax", stack(dense(activation="log_softmax"), HEAD), normal(12)),
    Exported("hard swish", stack(dense(activation="hard_silu"), HEAD), normal(12)),
    Exported("squareplus", stack(dense(activation="squareplus"), HEAD), normal(12)),
    Exported("tanh shrink", stack(dense(activation="tanh_shrink"), HEAD), normal(12)),
    Exported("glu", stack(dense(), of(Halved), HEAD), normal(12)),
    Exported("soft shrink", stack(dense(activation="soft_shrink"), HEAD), normal(12)),
    Exported(
        "recurrent dropout",
        stack(of(layers.LSTM, 8, dropout=0.2, recurrent_dropout=0.2), HEAD, shape=(5, 12)),
        normal(5, 12),
        fast=True,
        **LSTM,
    ),
    Exported(
        "gru dropout",
        stack(of(layers.GRU, 8, dropout=0.2), HEAD, shape=(5, 12)),
        normal(5, 12),
        **LSTM,
    ),
    Exported(
        "bidirectional",
        stack(
            lambda: layers.Bidirectional(layers.LSTM(8, recurrent_dropout=0.1)),
            HEAD,
            shape=(5, 12),
        ),
        normal(5, 12),
        **LSTM,
    ),
    Exported(
        "simple rnn",
        stack(of(layers.SimpleRNN, 8, dropout=0.1, unroll=True), HEAD, shape=(5, 12)),
        normal(5, 12),
    ),
    Exported(
        "time distributed",
        stack(lambda: layers.TimeDistributed(layers.Dense(8)), FLAT, HEAD, shape=(5, 12)),
        normal(5, 12),
    ),
    Exported(
        "conv lstm",
        stack(of(layers.ConvLSTM1D, 4, 3, dropout=0.1), FLAT, HEAD, shape=(4, 8, 3)),
        normal(4, 8, 3),
        **LSTM,
    ),
    Exported(
        "text",
        stack(
            vectorized,
            of(layers.Embedding, 20, 32),
            of(layers.GlobalAveragePooling1D),
            HEAD,
            shape=(1,),
            dtype="string",
        ),
        SENTENCES,
        refused={"litert": STRINGS, "onnx": STRINGS},
        fast=True,
    ),
    Exported(
        "tf idf",
        stack(
            of(vectorized_tf_idf),
            HEAD,
            shape=(1,),
            dtype="string",
        ),
        SENTENCES,
        refused={"litert": STRINGS, "onnx": STRINGS},
    ),
    Exported(
        "string lookup",
        looked_up,
        np.array([["yes", "maybe"], ["no", "yes"]]),
        refused={"onnx": STRINGS},
    ),
    # A graph has up to 128 captured numbers as constants, and more of them as inputs.
    Exported("normalization", stack(gaussian, dense(), HEAD, shape=(200,)), normal(200), fast=True),
    Exported(
        "rescaling",
        stack(of(layers.Rescaling, 1 / 255), FLAT, HEAD, shape=IMAGE, dtype="uint8"),
        np.random.default_rng(0).integers(0, 256, (2, *IMAGE)).astype("uint8"),
    ),
    Exported(
        "discretization",
        stack(
            of(layers.Discretization, bin_boundaries=[-1.0, 0.0, 1.0]),
            of(layers.Embedding, 4, 16),
            FLAT,
            HEAD,
        ),
        normal(12),
        refused={"onnx": r"'discretization.*Bucketize"},
    ),
    Exported(
        "integer lookup",
        stack(
            of(layers.IntegerLookup, vocabulary=[2, 4, 6]),
            of(layers.Embedding, 4, 16),
            FLAT,
            HEAD,
            shape=(5,),
            dtype="int64",
        ),
        tokens(5, below=8).astype("int64"),
        refused={"litert": r"'integer_lookup.*Lookup", "onnx": r"'integer_lookup.*Lookup"},
    ),
    Exported(
        "category",
        stack(of(layers.CategoryEncoding, 20), HEAD, shape=(5,), dtype="int32"),
        tokens(5),
        refused={"litert": r"'category_encoding.*DenseBincount"},
    ),
    Exported(
        "bfloat16",
        stack(dense(activation="relu"), HEAD, policy="bfloat16"),
        normal(12),
        refused={"litert": HALF, "onnx": HALF},
        tolerance=0.05,
        fast=True,
    ),
    Exported(
        "mixed bfloat16",
        stack(dense(activation="relu"), HEAD, policy="mixed_bfloat16"),
        normal(12),
        refused={"litert": HALF, "onnx": HALF},
        tolerance=0.05,
    ),
    Exported(
        "mixed float16",
        stack(dense(activation="relu"), HEAD, policy="mixed_float16"),
        normal(12),
        refused={"litert": HALF},
        tolerance=0.01,
    ),
    Exported(
        "float16",
        stack(dense(activation="relu"), HEAD, policy="float16"),
        normal(12),
        refused={"litert": HALF},
        tolerance=0.01,
    ),
    Exported(
        "float64",
        stack(dense(activation="relu"), HEAD, policy="float64"),
        normal(12),  # Keras' inputs are float32, whatever the policy
        refused={"litert": r"float64.*'dense"},
    ),
    Exported(
        "attention",
        attended(of(layers.MultiHeadAttention, 2, 8, dropout=0.1)),
        normal(6, 12),
        fast=True,
    ),
    Exported(
        "grouped attention",
        attended(of(layers.GroupQueryAttention, 8, 4, 2), use_causal_mask=True),
        normal(6, 12),
    ),
    Exported(
        "einsum",
        stack(of(layers.EinsumDense, "abc,cd->abd", (6, 8)), FLAT, HEAD, shape=(6, 12)),
        normal(6, 12),
    ),
    Exported(
        "embedding",
        stack(of(layers.Embedding, 20, 16), FLAT, HEAD, shape=(5,), dtype="int32"),
        tokens(5),
    ),
    Exported("masked", masked, tokens(5), **LSTM),
    Exported(
        "conv 1d",
        stack(of(layers.Conv1D, 8, 3, padding="causal", dilation_rate=2), FLAT, HEAD, shape=(8, 3)),
        normal(8, 3),
    ),
    Exported(
        "conv 2d",
        stack(of(layers.Conv2D, 8, 3, strides=2, padding="same"), FLAT, HEAD, shape=IMAGE),
        normal(*IMAGE),
    ),
    Exported(
        "conv 3d",
        stack(of(layers.Conv3D, 4, 3), FLAT, HEAD, shape=(5, 5, 5, 2)),
        normal(5, 5, 5, 2),
    ),
    Exported(
        "grouped conv",
        stack(of(layers.Conv2D, 8, 3, groups=2), FLAT, HEAD, shape=(8, 8, 4)),
        normal(8, 8, 4),
    ),
    Exported(
        "transposed 1d",
        stack(of(layers.Conv1DTranspose, 8, 3, strides=2), FLAT, HEAD, shape=(8, 3)),
        normal(8, 3),
    ),
    Exported(
        "transposed 2d",
        stack(of(layers.Conv2DTranspose, 8, 3, strides=2, padding="same"), FLAT, HEAD, shape=IMAGE),
        normal(*IMAGE),
    ),
    Exported(
        "transposed 3d",
        stack(of(layers.Conv3DTranspose, 4, 3), FLAT, HEAD, shape=(4, 4, 4, 2)),
        normal(4, 4, 4, 2),
    ),
    Exported(
        "depthwise 1d",
        stack(of(layers.DepthwiseConv1D, 3, depth_multiplier=2), FLAT, HEAD, shape=(8, 3)),
        normal(8, 3),
    ),
    Exported(
        "depthwise 2d",
        stack(of(layers.DepthwiseConv2D, 3, depth_multiplier=2), FLAT, HEAD, shape=IMAGE),
        normal(*IMAGE),
    ),
    Exported(
        "separable 1d",
        stack(of(layers.SeparableConv1D, 8, 3), FLAT, HEAD, shape=(8, 3)),
        normal(8, 3),
    ),
    Exported(
        "separable 2d",
        stack(of(layers.SeparableConv2D, 8, 3), FLAT, HEAD, shape=IMAGE),
        normal(*IMAGE),
    ),
    Exported(
        "upsampling",
        stack(
            of(layers.UpSampling2D, interpolation="bilinear"),
            of(layers.Conv2D, 4, 3),
            of(layers.UpSampling2D),
            FLAT,
            HEAD,
            shape=(4, 4, 3),
        ),
        normal(4, 4, 3),
    ),
    Exported(
        "resizing",
        stack(
            of(layers.Resizing, 5, 5, interpolation="bicubic"),
            of(layers.CenterCrop, 4, 4),
            of(layers.ZeroPadding2D),
            of(layers.Cropping2D),
            FLAT,
            HEAD,
            shape=IMAGE,
        ),
        normal(*IMAGE),
        refused={"litert": r"'resizing.*ResizeBicubic", "onnx": "'resizing"},
    ),
    Exported(
        "pooling",
        stack(
            of(layers.Conv2D, 4, 3, padding="same"),
            of(layers.MaxPooling2D, padding="same"),
            of(layers.AveragePooling2D, 2, padding="same"),
            of(layers.GlobalMaxPooling2D),
            HEAD,
            shape=(9, 9, 3),
        ),
        normal(9, 9, 3),
    ),
    Exported(
        "pooling 1d",
        stack(of(layers.MaxPooling1D), of(layers.AveragePooling1D, 2), FLAT, HEAD, shape=(8, 3)),
        normal(8, 3),
    ),
    Exported(
        "pooling 3d",
        stack(of(layers.MaxPooling3D), of(layers.GlobalAveragePooling3D), HEAD, shape=(4, 4, 4, 8)),
        normal(4, 4, 4, 8),
        refused={"litert": r"'max_pooling3d.*MaxPool3D"},
    ),
    *ADAPTIVE,
    Exported("operations", lambdas, normal(12)),
    Exported("dictionaries", dictionary, {"a": normal(12), "b": normal(6)}, fast=True),
    Exported("lists", listed, [normal(12), normal(6)]),
    Exported("nested", nested, normal(12)),
    Exported(
        "free picture",
        stack(
            of(layers.Conv2D, 8, 3, activation="relu"),
            of(layers.Conv2D, 8, 3, strides=2),
            of(layers.GlobalAveragePooling2D),
            HEAD,
            shape=(None, None, 3),
        ),
        normal(11, 9, 3),
    ),
    Exported(
        "free length",
        stack(of(layers.Conv1D, 8, 3), of(layers.GlobalMaxPooling1D), HEAD, shape=(None, 12)),
        normal(7, 12),
    ),
    Exported(
        "group norm",
        stack(dense(), of(layers.GroupNormalization, 4), HEAD),
        normal(12),
    ),
    Exported(
        "layer norm",
        stack(dense(), of(layers.LayerNormalization), of(layers.RMSNormalization), HEAD),
        normal(12),
    ),
    Exported(
        "batch norm",
        stack(
            of(layers.Conv2D, 8, 3),
            of(layers.BatchNormalization),
            of(layers.ReLU, max_value=6),
            FLAT,
            HEAD,
            shape=IMAGE,
        ),
        normal(*IMAGE),
    ),
    Exported(
        "unit norm",
        stack(dense(), of(layers.UnitNormalization), of(layers.PReLU), HEAD),
        normal(12),
    ),
    Exported(
        "noise",
        stack(
            dense(),
            of(layers.GaussianNoise, 0.1),
            of(layers.Dropout, 0.3),
            of(layers.AlphaDropout, 0.1),
            HEAD,
        ),
        normal(12),
    ),
    Exported("pruned, L1", stack(dense(**L1), HEAD), normal(12), treat=pruned_with_l1),
    Exported(
        "clustered, L1", stack(dense(**L1), HEAD), normal(12), treat=clustered_with_l1, fast=True
    ),
    Exported("compressed, L1", stack(dense(**L1), HEAD), normal(12)),
    Exported(
        "activity",
        stack(dense(activity_regularizer="l2"), of(layers.ActivityRegularization, 0.1), HEAD),
        normal(12),
    ),
    Exported(
        "fourier",
        stack(of(FourierMix), HEAD, shape=(12,)),
        normal(12),
        refused={"litert": r"'fourier_mix.*FFT", "onnx": r"'fourier_mix.*FFT"},
    ),
    Exported(
        "sampled",
        stack(of(Sampled), HEAD, shape=(12,)),
        normal(12),
        refused={"litert": "sampled", "onnx": "sampled"},
    ),
]
BY_NAME = {case.name: case for case in MODELS}
