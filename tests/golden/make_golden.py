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
`networks/NAME.smh` are small networks of layers that are called in many ways, rounded by
`smh.shrink`: their headers leave out of the architecture what follows.
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
    return drawn(model, 0.3)


def drawn(model, spread):
    """Returns the model with numbers of a fixed seed."""
    rng = np.random.default_rng(5)
    for variable in model.variables:
        if variable.dtype.startswith("float"):
            positive = np.abs if "variance" in variable.name else np.asarray
            variable.assign(positive(rng.normal(size=variable.shape)).astype("float32") * spread)
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


def residual():
    x = keras.Input((8, 8, 3), name="image")
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    for strides in (1, 2):
        z = layers.SeparableConv2D(4, 3, strides, padding="same", use_bias=False)(y)
        z = layers.BatchNormalization()(z)
        z = layers.ReLU(6.0)(z)
        z = layers.DepthwiseConv2D(3, padding="same", dtype="mixed_bfloat16")(z)
        y = layers.Conv2D(4, 1, strides)(y) + keras.ops.cast(z, "float32")
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, {"classes": layers.Dense(3, "softmax")(y), "size": layers.Dense(1)(y)})


def sequence():
    tokens, mask = keras.Input((7,), dtype="int32"), keras.Input((7,), dtype="bool")
    x = layers.Embedding(9, 4)(tokens)
    x = layers.Concatenate()([x, layers.Conv1D(4, 3, padding="same")(x)])
    x = layers.MultiHeadAttention(2, 3)(x, x, attention_mask=mask[:, None, :])
    states = layers.LSTM(3, return_state=True)(x, training=False)
    return keras.Model([tokens, mask], layers.Concatenate()(states[1:]))


def nested():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.ReLU()])
    shared, x = layers.Dense(4), keras.Input((4,))
    y = shared(inner(shared(x)))
    return keras.Model(x, [y, keras.ops.reshape(inner(y), (-1, 2, 2))])


NETWORKS = {"residual": residual, "sequence": sequence, "nested": nested}


def some_inputs(model, seed=8):
    """Two examples of what a model takes."""
    rng, found = np.random.default_rng(seed), []
    for tensor in model.inputs:
        drawn = rng.normal(size=(2, *tensor.shape[1:]))
        found.append(drawn.astype("float32") if tensor.dtype == "float32" else drawn > 0)
        if tensor.dtype == "int32":
            found[-1] = rng.integers(0, 9, drawn.shape).astype("int32")
    return found if len(found) > 1 else found[0]


def save_networks():
    """Writes a file of each network, and what it answers."""
    (FOLDER / "networks").mkdir(exist_ok=True)
    outputs = {}
    for name, build_one in NETWORKS.items():
        keras.utils.clear_session()
        model = drawn(build_one(), 0.5)
        smh.shrink(model, quality=80)
        smh.save(model, FOLDER / "networks" / f"{name}.smh")
        found = keras.tree.flatten(
            smh.load(FOLDER / "networks" / f"{name}.smh")(some_inputs(model))
        )
        for i, output in enumerate(found):
            outputs[f"{name} {i}"] = keras.ops.convert_to_numpy(output)
    np.savez_compressed(FOLDER / "networks" / "outputs.npz", **outputs)


def main():
    (FOLDER / "every").mkdir(exist_ok=True)
    save_every()
    save_networks()
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
