"""The table of models that are more than their variables: a builder and an input for each.

Run as a script, it is the new process: `python stateful_models.py DIR` loads each `DIR/*.smh`,
`*.keras` and `*.plain.keras` and writes the predictions to `DIR/loaded.npz`.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from keras_behaviour import LOADS_TF_IDF

register = keras.saving.register_keras_serializable(package="stateful")


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(5, 3, shape).astype("float32")


@register
class Table(layers.Layer):
    """Adds a NumPy table, which is no variable; as text in its configuration it would be large."""

    def __init__(self, dtype_of_table="float32", **kwargs):
        super().__init__(**kwargs)
        self.dtype_of_table, self.table = dtype_of_table, np.zeros(12)

    def call(self, x):
        return x + ops.cast(ops.convert_to_tensor(self.table), x.dtype)

    def save_own_variables(self, store):
        store["table"] = self.table
        store["empty"] = np.zeros((0, 3), "int8")

    def load_own_variables(self, store):
        assert store["empty"].shape == (0, 3)
        self.table = np.array(store["table"])
        assert self.table.dtype.name == self.dtype_of_table, self.table.dtype

    def get_config(self):
        return {**super().get_config(), "dtype_of_table": self.dtype_of_table}


@register
class Words(layers.Layer):
    """Has its offsets in files, one of them in a folder."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.offsets = np.zeros(12, "float32")

    def call(self, x):
        return x + ops.convert_to_tensor(self.offsets)

    def save_assets(self, folder):
        (Path(folder) / "deep").mkdir()
        (Path(folder) / "deep" / "ünï.txt").write_text(str(self.offsets[0]), "utf-8")
        (Path(folder) / "offset").write_text(str(self.offsets[1]))

    def load_assets(self, folder):
        names = "deep/ünï.txt", "offset"
        self.offsets = np.float32([float((Path(folder) / n).read_text("utf-8")) for n in names])
        self.offsets = np.resize(self.offsets, 12)


@register
class Positions(layers.Layer):
    """Names its weight in both directions, as the position embeddings of vision transformers."""

    def build(self, shape):
        self.pos = self.add_weight(shape=(6, shape[-1]), initializer="normal", name="pos")
        self.shift = self.add_weight(shape=(shape[-1],), initializer="ones", name="shift")

    def call(self, x):
        return (x[:, None] + self.pos + self.shift)[:, 1]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["position_embedding"] = self.pos

    def load_own_variables(self, store):
        self.pos.assign(store["position_embedding"])
        self.shift.assign(store["1"])


@register
class Finalized(layers.Layer):
    """Computes with what it took from its weight when it was loaded, as `Normalization` does."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(4, shape[-1]), initializer="normal", name="factor")
        self.finalize()

    def finalize(self):
        self.sum = np.sum(np.array(ops.convert_to_numpy(self.factor.value)), 0)

    def call(self, x):
        return x * self.sum

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.finalize()


@register
class Tempered(keras.Model):
    """A subclassed model with state of its own, and stateful layers in a list, a dict and below."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.temperature = None
        self.blocks = [layers.Dense(12, activation="relu"), Table()]
        self.named = {"normal": layers.Normalization(), "words": Words()}
        self.head = layers.Dense(3)

    def build(self, shape):
        if not self.named["normal"].built:  # it is adapted
            self.named["normal"].build(shape)
        self.blocks[0].build(shape)
        self.head.build((None, 12))
        self.built = True

    def call(self, x):
        x = self.blocks[1](self.blocks[0](self.named["normal"](x)))
        return self.head(self.named["words"](x)) / self.temperature

    def save_own_variables(self, store):
        store["temperature"] = np.float32(self.temperature)

    def load_own_variables(self, store):
        self.temperature = float(store["temperature"])


def chain(*stack, shape=(12,), dtype=None):
    """A dense network behind `stack`."""
    end = [layers.Dense(16, activation="relu"), layers.Dense(3)]
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack, *end])


def adapted(layer, data):
    layer.adapt(data)
    return layer


def with_table(dtype="float32"):
    table = Table(dtype)
    table.table = np.array(ops.convert_to_numpy(ops.cast(numbers(12, seed=4), dtype)))
    return table


def with_words():
    words = Words()
    words.offsets = np.resize(np.float32([0.5, -1.25]), 12)
    return words


def tempered():
    model = Tempered()
    model.named["normal"].adapt(numbers(100, 12))
    model.blocks[1].table = numbers(12, seed=5)
    model.named["words"].offsets = with_words().offsets
    model.temperature = 2.5
    model.build((None, 12))
    return model


def nested():
    inner = chain(adapted(layers.Normalization(), numbers(100, 12)), with_words())
    middle = keras.Sequential([keras.Input((12,)), inner, layers.Dense(12), with_table()])
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(3)(layers.Concatenate()([middle(x), with_words()(x)])))


def in_two_models():
    """A layer, and one with state, that two models below the outer one have."""
    shared = [normal(), layers.Dense(12, activation="relu"), with_table()]
    towers = [
        keras.Sequential([keras.Input((12,)), *shared, layers.Dense(n)], name=f"tower{n}")
        for n in (4, 5)
    ]
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(3)(layers.Concatenate()([tower(x) for tower in towers])))


def called_on_two_levels():
    """What Keras itself cannot make again: a model in a model, and beside it."""
    inner = chain(normal())
    middle = keras.Sequential([keras.Input((12,)), inner, layers.Dense(12)])
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(3)(layers.Concatenate()([middle(x), inner(x)])))


def two_towers():
    """Two layers of one class, which only their places tell apart."""
    x = keras.Input((12,))
    first = adapted(layers.Normalization(name="b"), numbers(100, 12))
    second = adapted(layers.Normalization(name="a"), 3 * numbers(100, 12, seed=9))
    both = layers.Concatenate()([layers.Dense(8)(second(x)), layers.Dense(8)(first(x))])
    return keras.Model(x, layers.Dense(3)(both))


def indices(layer):
    return lambda: chain(layer(), layers.Embedding(40, 12), layers.Flatten(), shape=(4,))


WORDS = np.array(["a cat sat", "the dog ran a mile", "ünï cat"])
TEXT = np.array([["the cat ran"], ["dog a ünï"]], dtype=object)
WHOLE = np.random.default_rng(2).integers(0, 30, (8, 4))


def text(mode, **options):
    vectors = adapted(layers.TextVectorization(output_mode=mode, **options), WORDS)
    between = [layers.Embedding(20, 12), layers.Flatten()] if mode == "int" else []
    return chain(vectors, *between, shape=(1,), dtype="string")


def lookups():
    """A vocabulary in a branch, and numbers in the other."""
    word, x = keras.Input((1,), dtype="string", name="word"), keras.Input((12,), name="x")
    found = adapted(layers.StringLookup(output_mode="one_hot"), WORDS)(word)
    normal = adapted(layers.Normalization(), numbers(100, 12))(x)
    return keras.Model([word, x], layers.Dense(3)(layers.Concatenate()([found, normal])))


def normal():
    return adapted(layers.Normalization(), numbers(100, 12))


X = numbers(8, 12, seed=1)
# Name: builder, inputs.
STATEFUL = {
    "Normalization": (lambda: chain(normal()), X),
    "Normalization of a given mean": (
        lambda: chain(layers.Normalization(mean=[3.0] * 12, variance=[2.0] * 12)),
        X,
    ),
    "Normalization over all axes, inverted": (
        lambda: chain(adapted(layers.Normalization(axis=None, invert=True), numbers(100, 12))),
        X,
    ),
    "Discretization": (
        indices(lambda: adapted(layers.Discretization(num_bins=7), WHOLE.ravel())),
        WHOLE.astype("float32"),
    ),
    "IntegerLookup": (indices(lambda: adapted(layers.IntegerLookup(), WHOLE)), WHOLE),
    "IntegerLookup of a given vocabulary": (
        indices(lambda: layers.IntegerLookup(vocabulary=[4, 9, 17])),
        WHOLE,
    ),
    "Hashing": (indices(lambda: layers.Hashing(num_bins=11, salt=133)), WHOLE),
    "BatchNormalization": (lambda: chain(layers.BatchNormalization()), X),
    "Masking of an infinity": (
        lambda: chain(layers.Masking(-np.inf), layers.LSTM(6), shape=(4, 3)),
        X.reshape(8, 4, 3),
    ),
    "a table": (lambda: chain(with_table()), X),
    "a table of float64": (lambda: chain(with_table("float64")), X),
    "a table of bfloat16": (lambda: chain(with_table("bfloat16")), X),
    "files": (lambda: chain(with_words()), X),
    "a named weight": (lambda: chain(Positions()), X),
    "a finalized weight": (lambda: chain(Finalized()), X),
    "subclassed": (tempered, X),
    "nested": (nested, X),
    "two of one class": (two_towers, X),
    "in two models": (in_two_models, X),
}
# What needs TensorFlow, whatever the backend.
ON_TENSORFLOW = {
    "StringLookup in a branch": (lookups, [np.array([["cat"], ["a cat sat"]], object), X[:2]]),
    "TextVectorization to numbers": (lambda: text("int", output_sequence_length=5), TEXT),
    "TextVectorization to tf-idf": (lambda: text("tf_idf"), TEXT),
    "TextVectorization to pairs": (lambda: text("count", ngrams=2), TEXT),
}
if not LOADS_TF_IDF:
    del ON_TENSORFLOW["TextVectorization to tf-idf"]
if keras.backend.backend() == "tensorflow":
    STATEFUL |= ON_TENSORFLOW


def predictions(model, inputs):
    def tensor(x):
        if x.dtype == object:
            import tensorflow as tf

            return tf.constant(x.tolist())
        return ops.convert_to_tensor(x)

    inputs = [tensor(x) for x in inputs] if isinstance(inputs, list) else tensor(inputs)
    return np.array(ops.convert_to_numpy(model(inputs)))


def main(folder):
    import smh

    found = {}
    for path in sorted(folder.iterdir()):
        name = path.name.split(".")[0]
        load = smh.load if path.suffix == ".smh" else keras.saving.load_model
        found[path.name] = predictions(load(path), STATEFUL[name][1])
    np.savez(folder / "loaded.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
