#!/bin/sh
# keras 3.15.1 (on JAX 0.10.2)
#
# A model with `MultiHeadAttention` that was quantised (`model.quantize("int8")`, or "int4") runs and is
# saved, but its `.keras` file cannot be loaded. That a layer is quantised stands in its own configuration;
# an attention makes the four layers inside it anew by itself, as floats, and their weights do not fit. So
# it is with every layer or model that makes layers of its own. Plain layers and a model in a model are
# loaded. The weights are not lost: a model built and quantised anew reads them from a `.weights.h5` file.
#
# Seen: ValueError, "A total of 4 objects could not be loaded", for MultiHeadAttention and
# GroupQueryAttention; the int8 file of an EinsumDense, which is what they are made of, is loaded.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np
from keras import layers

x = np.random.default_rng(0).normal(size=(8, 5, 32)).astype("float32")


def build(kind):
    given = keras.Input((5, 32))
    if kind == "EinsumDense":
        out = layers.EinsumDense("abc,cde->abde", (None, 4, 8), bias_axes="de")(given)
    elif kind == "a model in a model":
        out = keras.Sequential([layers.Dense(8), layers.Dense(8)])(given)
    elif kind == "MultiHeadAttention":
        out = layers.MultiHeadAttention(4, 8)(given, given)
    else:
        out = layers.GroupQueryAttention(8, 4, 2)(given, given)
    return keras.Model(given, out)


def same(one, two):
    return np.allclose(np.array(one(x)), np.array(two(x)), atol=1e-6)


for kind in "EinsumDense", "a model in a model", "MultiHeadAttention", "GroupQueryAttention":
    model = build(kind)
    model.save("float.keras")
    assert same(keras.models.load_model("float.keras"), model)
    before = np.array(model(x))
    model.quantize("int8")
    error = float(np.abs(np.array(model(x)) - before).max() / np.abs(before).max())
    model.save("int8.keras")
    model.save_weights("int8.weights.h5")
    print(f"{kind}: in int8 {error:.4f} of the largest output off;", end=" ")
    try:
        loaded = keras.models.load_model("int8.keras")
    except ValueError as told:
        print("the file is not loaded:", str(told).split(". ")[0])
        assert "4 objects could not be loaded" in str(told) and "Attention" in kind
        anew = build(kind)
        anew.quantize("int8")
        anew.load_weights("int8.weights.h5")
        print("    its weights in a model built and quantised anew: same outputs", same(anew, model))
        assert same(anew, model)
    else:
        print("the file is loaded")
        assert same(loaded, model)
        if "Attention" in kind:
            raise SystemExit("it is loaded: the behaviour has changed")
PYTHON
