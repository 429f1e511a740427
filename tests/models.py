"""The table of models that `compress` must work on: a builder, an input shape, an output shape."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers, ops


@keras.saving.register_keras_serializable(package="tests")
class TwoLayers(keras.Model):
    """Subclassed; its layers are built by the first call."""

    def __init__(self, units=24, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = layers.Dense(units, activation="relu")
        self.out = layers.Dense(3)

    def call(self, x):
        return self.out(self.hidden(x))


@keras.saving.register_keras_serializable(package="tests")
class OwnWeights(layers.Layer):
    """A layer with its own add_weight: two matrices in a list, a vector, a counter."""

    def __init__(self, units=16, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.mats = [
            self.add_weight(shape=(input_shape[-1], self.units), name=f"mat{i}") for i in range(2)
        ]
        self.shift = self.add_weight(shape=(self.units,), initializer="zeros", name="shift")
        self.count = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="count"
        )

    def call(self, x):
        return ops.matmul(x, self.mats[0]) * ops.sigmoid(ops.matmul(x, self.mats[1])) + self.shift

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def subclassed():
    model = TwoLayers()
    model(np.zeros((1, 12), "float32"))
    return model


def nested():
    inner = keras.Sequential([keras.Input((12,)), layers.Dense(20, activation="relu")], name="in")
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(3)(layers.Concatenate()([inner(x), inner(-x)])))


def shared_layer():
    x = keras.Input((12,))
    dense = layers.Dense(12, activation="tanh")
    return keras.Model(x, layers.Dense(3)(dense(dense(x))))


def attention():
    x = keras.Input((6, 12))
    y = layers.MultiHeadAttention(2, 8)(x, x)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


def sequential(*stack, shape=(12,)):
    return lambda: keras.Sequential([keras.Input(shape), *(make() for make in stack)])


def dense(units, activation=None):
    return lambda: layers.Dense(units, activation=activation)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], keras.Model]
    shape: tuple
    vocabulary: int = 0  # inputs are token ids below it
    fraction: float = 0.5

    def data(self, count=32, seed=0):
        """Inputs, and targets that depend on them, so that a loss can fall."""
        rng = np.random.default_rng(seed)
        if self.vocabulary:
            x = rng.integers(0, self.vocabulary, (count, *self.shape)).astype("int32")
            score = (x / self.vocabulary).reshape(count, -1).mean(1)
        else:
            x = rng.normal(size=(count, *self.shape)).astype("float32")
            score = x.reshape(count, -1)[:, 0]
        return x, np.stack([score, -score, score**2], axis=1).astype("float32")


def numpy_of(x):
    """The value of a tensor or variable, as a copy."""
    return np.array(keras.ops.convert_to_numpy(x))


def head():
    return layers.Dense(3)


CASES = [
    Case("sequential", sequential(dense(24, "relu"), head), (12,)),
    Case("subclassed", subclassed, (12,)),
    Case("custom layer", sequential(OwnWeights, head), (12,)),
    Case("nested", nested, (12,)),
    Case("shared layer", shared_layer, (12,)),
    Case(
        "conv",
        sequential(lambda: layers.Conv2D(8, 3), layers.Flatten, head, shape=(8, 8, 3)),
        (8, 8, 3),
    ),
    Case(
        "separable and depthwise conv",
        sequential(
            lambda: layers.SeparableConv2D(8, 3),
            lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
            lambda: layers.Conv2DTranspose(4, 3),
            layers.Flatten,
            head,
            shape=(9, 9, 3),
        ),
        (9, 9, 3),
    ),
    Case(
        "conv with batch norm",
        sequential(
            lambda: layers.Conv1D(8, 3),
            layers.BatchNormalization,
            layers.LayerNormalization,
            # Without a seed Keras on PyTorch draws from PyTorch's own state, which no file holds.
            lambda: layers.Dropout(0.1, seed=5),
            layers.Flatten,
            head,
            shape=(8, 4),
        ),
        (8, 4),
    ),
    Case("lstm", sequential(lambda: layers.LSTM(10), head, shape=(5, 6)), (5, 6)),
    Case("gru", sequential(lambda: layers.GRU(10), head, shape=(5, 6)), (5, 6)),
    Case(
        "bidirectional",
        sequential(lambda: layers.Bidirectional(layers.LSTM(8)), head, shape=(5, 6)),
        (5, 6),
    ),
    Case("attention", attention, (6, 12)),
    Case(
        "embedding",
        sequential(
            lambda: layers.Embedding(50, 12), layers.GlobalAveragePooling1D, head, shape=(7,)
        ),
        (7,),
        vocabulary=50,
    ),
]

# For tests that take seconds with each: the rest of the table is left to `make test-all`.
_QUICK = ("subclassed", "nested", "shared layer", "conv with batch norm", "lstm")
SOME_CASES = [
    pytest.param(case, id=case.name, marks=() if case.name in _QUICK else pytest.mark.slow)
    for case in CASES
]
by_name = {case.name: case for case in CASES}


def pools_of(model):
    """The pools a model draws from, each once."""
    from smh.virtual_variable import virtual_variables

    found = {
        id(v.parametrization.source): v.parametrization.source for v in virtual_variables(model)
    }
    return list(found.values())


def mlp(width=24, inputs=12):
    return sequential(dense(width, "relu"), head, shape=(inputs,))()
