"""The table of models that are saved whole, and the new process that loads all of them.

Run as a script, it is that process: `python saved_models.py DIR` loads each `DIR/NAME.keras`,
predicts, trains on, and writes `DIR/loaded.npz`.
"""

import sys
from pathlib import Path

import keras
import models
import numpy as np
from keras import layers
from parametrizations import PARAMETRIZATIONS, inputs, network

import smh

STEPS = 2


def batch(name):
    """The inputs of the model called `name`."""
    if name.startswith("case "):
        return models.by_name[name[5:].split(" (")[0]].data(16)[0]
    if name.startswith("parametrization "):
        return inputs()
    return np.random.default_rng(0).normal(size=(16, 12)).astype("float32")


def behaviour(model, name):
    """What a model does: its predictions, and its losses in further training if compiled."""
    x = batch(name)
    before = keras.tree.map_structure(models.numpy_of, model(x))
    found = {f"{name}/{i}": y for i, y in enumerate(keras.tree.flatten(before))}
    if model.compiled:
        y = keras.tree.map_structure(np.tanh, before)
        y = keras.tree.map_structure(lambda v: v[::-1].astype("float32"), y)
        model.reset_metrics()  # Keras 3.10 returns the mean loss since then
        losses = [np.ravel(model.train_on_batch(x, y))[0] for _ in range(STEPS)]
        found[f"{name}/losses"] = np.array(losses)
    return found


def compiled(model, name, optimizer="adam"):
    """`model`, compiled and trained for some steps, so that its optimizer has a state."""
    model.compile(optimizer, "mse", run_eagerly=True)  # tracing would take most of the time
    x = batch(name)
    y = keras.tree.map_structure(lambda v: models.numpy_of(v).astype("float32") / 2, model(x))
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return model


def with_dropout():
    stack = (models.dense(24, "relu"), lambda: layers.Dropout(0.4, seed=3), models.head)
    # Seeded: without a seed Keras on PyTorch draws from PyTorch's own state, which no file holds.
    return smh.compress(models.sequential(*stack)(), 0.5, seed=1)


def regularised():
    hidden = layers.Dense(24, kernel_regularizer="l2", kernel_constraint="max_norm")
    return smh.compress(keras.Sequential([keras.Input((12,)), hidden, layers.Dense(3)]), 0.5)


def frozen_layer():
    model = smh.compress(models.sequential(models.dense(24), models.dense(12), models.head)(), 0.5)
    model.layers[1].trainable = False
    return model


def frozen_weight():
    model = smh.compress(models.sequential(models.dense(24), models.head)(), 0.5)
    model.layers[0].kernel.trainable = False
    return model


def frozen_whole():
    model = smh.compress(models.mlp(), 0.5)
    model.trainable = False
    return model


def thawed():
    model = frozen_layer()
    compiled(model, "thawed")
    model.layers[1].trainable = True
    return model


def two_outputs():
    x = keras.Input((12,))
    y = layers.Dense(24, activation="relu")(x)
    outputs = {"a": layers.Dense(3, name="a")(y), "b": layers.Dense(2, name="b")(y)}
    return smh.compress(keras.Model(x, outputs), 0.5, seed=1)


def compressed_inside():
    inner = smh.compress(models.mlp(), 0.5, seed=1)
    return keras.Sequential([keras.Input((12,)), inner, layers.Dense(2)])


def two_inside_of_one_pool():
    first, second = models.mlp(), models.mlp()
    smh.compress(first, 0.6, seed=1)
    pool = models.pools_of(first)[0]
    pool.index_store.position = 0  # the second takes the same weights
    smh.compress(second, pool=pool)
    x = keras.Input((12,))
    return keras.Model(x, layers.Add()([first(x), second(x)]))


def shared_layer_of_two():
    shared = layers.Dense(12, activation="tanh")
    parts = [keras.Sequential([keras.Input((12,)), shared, models.head()]) for _ in range(2)]
    x = keras.Input((12,))
    return smh.compress(keras.Model(x, [part(x) for part in parts]), 0.5, seed=1)


def head_cut_off():
    model = smh.compress(models.nested(), 0.5, seed=1)
    return keras.Model(model.input, model.layers[-2].output)


def layers_of_another():
    model = smh.compress(
        models.sequential(models.dense(24, "relu"), models.dense(12), models.head)(), 0.5, seed=1
    )
    return keras.Sequential([keras.Input((12,)), *model.layers[:2], layers.Dense(3)])


def one_layer():
    layer = layers.Dense(30)
    layer.build((None, 12))
    smh.compress(layer, 0.5, seed=1)
    return keras.Sequential([keras.Input((12,)), layer, models.head()])


def compressed_twice():
    model = smh.compress(models.mlp(), 0.5, apply_to="sequential/dense/|dense/", seed=1)
    return smh.compress(model, 0.9, apply_to=lambda v: v.shape == (24, 3), seed=2)


def with_lambda():
    x = keras.Input((12,))
    y = layers.Lambda(lambda v: v * 2)(layers.Dense(24)(x))
    return smh.compress(keras.Model(x, layers.Dense(3)(y)), 0.5, seed=1)


def mixed():
    x = keras.Input((12,))
    y = layers.Dense(24, dtype="mixed_bfloat16", activation="relu")(x)
    return smh.compress(keras.Model(x, layers.Dense(3)(y)), 0.5, seed=1)


def deployed(mode):
    return lambda: smh.deploy(smh.compress(models.mlp(), 0.5, seed=1), mode)


@keras.saving.register_keras_serializable(package="tests")
class Branches(keras.Model):
    """Its layers are in a dict and a list, and take an object as an argument."""

    def __init__(self, branch, count=2, **kwargs):
        super().__init__(**kwargs)
        self.count = count
        self.branch = branch
        self.stack = [layers.Dense(12, activation="relu") for _ in range(count)]
        self.ends = {"out": layers.Dense(3)}

    def build(self, input_shape):
        for layer in [self.branch, *self.stack]:
            if not layer.built:
                layer.build(input_shape)
        self.ends["out"].build(input_shape)

    def call(self, x):
        for layer in self.stack:
            x = x + layer(x)
        return self.ends["out"](self.branch(x))

    def get_config(self):
        return {**super().get_config(), "branch": self.branch, "count": self.count}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("branch")), **config)


def with_branches():
    model = Branches(layers.Dense(12, use_bias=False))
    model.build((None, 12))
    return smh.compress(model, 0.5, seed=1)


MODELS = {
    "dropout": with_dropout,
    "regularised": regularised,
    "frozen layer": frozen_layer,
    "frozen weight": frozen_weight,
    "frozen whole": frozen_whole,
    "thawed": thawed,
    "two outputs": two_outputs,
    "compressed inside": compressed_inside,
    "two inside of one pool": two_inside_of_one_pool,
    "shared layer of two": shared_layer_of_two,
    "head cut off": head_cut_off,
    "layers of another": layers_of_another,
    "one layer": one_layer,
    "compressed twice": compressed_twice,
    "lambda": with_lambda,
    "mixed": mixed,
    "deployed, stream": deployed("stream"),
    "deployed, cached": deployed("cached"),
    "branches": with_branches,
    **{
        f"case {case.name}": lambda case=case: smh.compress(case.build(), case.fraction, seed=1)
        for case in models.CASES
    },
    **{
        f"parametrization {name}": lambda make=make: make(network(), seed=1)
        for name, make in PARAMETRIZATIONS.items()
    },
}

if __name__ == "__main__":
    folder, loaded = Path(sys.argv[1]), {}
    for path in sorted(folder.glob("*.keras")):
        keras.utils.clear_session()
        model = keras.saving.load_model(path, safe_mode="lambda" not in path.stem)
        loaded.update(behaviour(model, path.stem))
    np.savez(folder / "loaded.npz", **{k.replace("/", "|"): v for k, v in loaded.items()})
