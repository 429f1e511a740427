#!/bin/sh
# Keras 3.15.1, TensorFlow 2.21.0, JAX 0.10.2
#
# Setting `trainable` of a model sets that of every layer in it, which is how networks are frozen and thawed for
# fine-tuning. On TensorFlow an assignment of the value that the attribute has already is left out (its trackable objects
# skip `self.x = self.x`), and with it the whole pass over the layers. So `base.trainable = True` after some layers were
# frozen one by one thaws none of them, and `base.trainable = False` after one was thawed leaves it trained: silently, and
# not so on JAX. `summary` counts what is the case. Set the opposite first, or go through the layers.
#
# Seen, three dense layers, numbers of trained weights: two layers frozen one by one, then `base.trainable = True`: 2 on
# TensorFlow, 6 on JAX. `base.trainable = False`, the last layer thawed, `base.trainable = False`: under a new head, the
# base's kernels move by 0.1 in a step on TensorFlow, by 0 on JAX. With the opposite value set in between: 6 and 0 on both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0 jax==0.10.2
cd "$folder"
cat > freezing.py <<'PYTHON'
import json

import keras
import numpy as np
from keras import layers


def three():
    return keras.Sequential([keras.Input((4,)), *(layers.Dense(4) for _ in range(3))])


def thawed(opposite_first):
    base = three()
    for layer in base.layers[:2]:
        layer.trainable = False
    if opposite_first:
        base.trainable = False
    base.trainable = True
    return len(base.trainable_variables)


def moved(opposite_first):
    keras.utils.set_random_seed(0)
    base = three()
    base.trainable = False
    base.layers[-1].trainable = True  # tried, and taken back
    if opposite_first:
        base.trainable = True
    base.trainable = False
    model = keras.Sequential([keras.Input((4,)), base, layers.Dense(1)])
    before = [np.array(weight) for weight in base.get_weights()]
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    return max(float(np.abs(a - b).max()) for a, b in zip(before, base.get_weights()))


print(json.dumps([thawed(False), thawed(True), round(moved(False), 3), round(moved(True), 3)]))
PYTHON
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" -W ignore freezing.py 2>errors > $backend.json || { cat errors; exit 2; }
done
"$folder/venv/bin/python" - <<'PYTHON'
import json

found = {name: json.load(open(f"{name}.json")) for name in ("tensorflow", "jax")}
for name, values in found.items():
    print(name, dict(zip(("weights thawed", "weights thawed, opposite first", "moved", "moved, opposite first"), values)))
assert found["jax"] == [6, 6, 0, 0], "JAX"
assert found["tensorflow"][1] == 6 and found["tensorflow"][3] == 0, "TensorFlow with the opposite first"
if found["tensorflow"][0] == 6 or found["tensorflow"][2] == 0:
    raise SystemExit("TensorFlow hands the value down: the behaviour has changed")
PYTHON
