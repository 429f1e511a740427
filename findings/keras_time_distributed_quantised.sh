#!/bin/sh
# keras 3.15.1 (on JAX 0.10.2)
#
# `model.quantize("int8")` reaches the layer inside a `TimeDistributed` and makes its weights integers, but
# `TimeDistributed` calls the layer's float computation by name, past the quantised one: the integers are
# used as the weights, and the scale beside them is not. What comes out is hundreds of times too large,
# silently, also from the file saved from it. The same layers without the wrapper are right.
#
# Seen, on TensorFlow 2.21.0 as well: TimeDistributed(Dense) gives 300 to 400 times the right numbers in
# int8 (about 20 times in int4), TimeDistributed(Embedding) more than 2000 times (160 in int4); in float8
# the numbers are those of float. Without the wrapper, int8 is 1.1 % of the largest output off, or less.
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

rng = np.random.default_rng(0)
numbers = rng.normal(size=(8, 5, 32)).astype("float32")
words = rng.integers(0, 50, (8, 5))


def ratio(layer, x, wrapped):
    keras.utils.set_random_seed(0)
    given = keras.Input(x.shape[1:], dtype=x.dtype.name)
    model = keras.Model(given, (layers.TimeDistributed(layer) if wrapped else layer)(given))
    before = np.array(model(x))
    model.quantize("int8")
    after = np.array(model(x))
    model.save("it.keras")
    loaded = np.array(keras.models.load_model("it.keras")(x))
    error = np.abs(after - before).max() / np.abs(before).max()
    assert np.array_equal(loaded, after)
    return float(np.linalg.norm(after) / np.linalg.norm(before)), float(error)


for name, make, x in (
    ("Dense", lambda: layers.Dense(8, use_bias=False), numbers),
    ("Embedding", lambda: layers.Embedding(50, 16), words[..., None]),
):
    times, error = ratio(make(), x, wrapped=False)
    print(f"{name} in int8: {times:.3f} times as large as in float, error {error:.4f}")
    assert 0.99 < times < 1.01 and error < 0.02
    times, error = ratio(make(), x, wrapped=True)
    print(f"TimeDistributed({name}) in int8: {times:.1f} times as large, error {error:.1f}")
    if times < 100:
        raise SystemExit("the scale is used: the behaviour has changed")
PYTHON
