#!/bin/sh
# keras 3.15.1 (on jax 0.10.2)
#
# A functional model whose two Sequential models share one layer is saved to `.keras` without a word,
# and cannot be loaded: the file holds the layer's weights once, in the first of the two, and the
# model that is made again has two layers, of which one is left without.
#
# Seen: ValueError: "A total of 1 objects could not be loaded ... Layer 'shared' expected 2 variables,
# but received 0 variables during loading".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
from keras import layers

shared = layers.Dense(4, name="shared")
one = keras.Sequential([keras.Input((4,)), shared, layers.Dense(4)])
two = keras.Sequential([keras.Input((4,)), shared, layers.Dense(4)])
x = keras.Input((4,))
keras.Model(x, layers.Add()([one(x), two(x)])).save("model.keras")
print("saved")
try:
    keras.saving.load_model("model.keras")
except ValueError as error:
    print("not loaded:", str(error).split("\n\n")[1])
    assert "expected 2 variables, but received 0" in str(error)
else:
    raise SystemExit("it loads: the behaviour has changed")
PYTHON
