"""Makes the golden files in this folder: what today's files must still mean tomorrow.

Regenerate with

    PYTHONPATH=tests .venv-oldest/bin/python tests/golden/make_golden.py

(`make test-oldest` makes that environment: a newer Keras reads what an older one described, not the
other way round). But do so only for a new version of a file format, and under new names, beside the
old ones: a golden file that is made again proves nothing about the files that users have.

`model.smh`, `model.keras` and `model.weights.h5` hold one model whose weights are slices of a pool
with 4-bit factors, pruned, shared, pruned and shared, rounded to 3 bits, and dense.
`every/NAME.smh` is the network of `parametrizations.py`, compressed in each way that its table
knows and that needs no class of the tests.
`codings.smh` is a container with every coding, kind of symbols and kind of positions.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import parametrizations
from artifact_files import all_codings, read_all
from keras import layers

import smh
from smh import container

FOLDER = Path(__file__).parent
OF_THE_TESTS = ("function", "without a pool")  # `small_tanh` and `Gated` are no part of smh


def build():
    """Returns the model before it is compressed; its weights are those of a fixed seed."""
    x = keras.Input((8, 8, 2))
    y = layers.Conv2D(6, 3, activation="relu", name="conv")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Flatten(name="flat")(y)
    for name in ("pooled", "pruned", "shared", "pruned_shared", "few_bits"):
        y = layers.Dense(12, activation="tanh", name=name)(y)
    model = keras.Model(x, layers.Dense(3, name="head")(y), name="golden")
    rng = np.random.default_rng(5)
    for variable in model.variables:
        if variable.dtype.startswith("float"):
            positive = np.abs if "variance" in variable.name else np.asarray
            variable.assign(positive(rng.normal(size=variable.shape)).astype("float32") * 0.3)
    return model


def compressed():
    """Returns the model, each layer compressed in the way that it is named after."""
    model = build()
    smh.compress(model, 0.3, apply_to=["conv/kernel", "pooled/kernel"], seed=1, init="fit")
    smh.quantize_factors(model, 4)
    smh.prune(model, [("pruned/kernel", 0.6), ("pruned_shared/kernel", 0.5)], seed=1)
    smh.cluster(model, 3, apply_to=["shared/kernel", "pruned_shared/kernel"], seed=1)
    return smh.quantize_weights(model, 3, apply_to=["few_bits/kernel"])


def trained(model):
    """Returns the model after two steps, so that `model.keras` has an optimizer with a state."""
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    x, y = inputs(), np.random.default_rng(7).normal(size=(16, 3)).astype("float32")
    for _ in range(2):
        model.train_on_batch(x, y)
    return model


def inputs():
    return np.random.default_rng(6).normal(size=(16, 8, 8, 2)).astype("float32")


def save_every():
    """Writes a file of each parametrization, and what their models answer."""
    outputs = {}
    for name, parametrize in parametrizations.PARAMETRIZATIONS.items():
        if name in OF_THE_TESTS:
            continue
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        model = parametrize(parametrizations.network(), seed=3)
        file = name.replace(" ", "_").replace(",", "")
        smh.save(model, FOLDER / "every" / f"{file}.smh", bits=8, rest="float16")
        restored = smh.load(FOLDER / "every" / f"{file}.smh")  # factors rounded to 8 bits
        outputs[file] = keras.ops.convert_to_numpy(restored(parametrizations.inputs()))
    np.savez_compressed(FOLDER / "every" / "outputs.npz", **outputs)


def main():
    (FOLDER / "every").mkdir(exist_ok=True)
    save_every()
    keras.utils.clear_session()
    model = trained(compressed())
    smh.save(model, FOLDER / "model.smh")
    model.save(FOLDER / "model.keras")
    model.save_weights(FOLDER / "model.weights.h5")
    np.save(FOLDER / "outputs.npy", model.predict(inputs(), verbose=0))
    np.savez_compressed(FOLDER / "weights.npz", **smh.runtime.load(FOLDER / "model.smh"))
    container.write(FOLDER / "codings.smh", {"a": [1, 2.5, None, "ä"]}, all_codings())
    np.savez_compressed(FOLDER / "codings.npz", **read_all(container.read(FOLDER / "codings.smh")))
    made_by = {name: version(name) for name in ("keras", "numpy", "constriction")}
    made_by = {"python": platform.python_version(), "smh": smh.__version__, **made_by}
    (FOLDER / "made_by.json").write_text(json.dumps(made_by, indent=2) + "\n")


if __name__ == "__main__":
    main()
