#!/bin/sh
# keras 3.14.0, jax 0.6.2
#
# Layers in a dictionary in a list, as multi-task heads are often kept, are tracked and trained, and
# left out of `.weights.h5` and `.keras` files: nothing is said when they are written or loaded, and
# the loaded model keeps whatever these layers began with. A list of layers alone is saved. Keras
# 3.15.1 saves both.
#
# Seen: 4 trainable weights, of which the file has 2 ("in a list"), or 0 ("in a dictionary in a
# list"); no warning; the outputs differ.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.14.0 jax==0.6.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import warnings

import h5py
import keras
import numpy as np


class Heads(keras.layers.Layer):
    def __init__(self, in_a_dictionary):
        super().__init__()
        first, second = keras.layers.Dense(2), keras.layers.Dense(2)
        self.heads = [{"first": first, "second": second}] if in_a_dictionary else [first, second]

    def every(self):
        return self.heads[0].values() if isinstance(self.heads[0], dict) else self.heads

    def build(self, shape):
        for head in self.every():
            head.build(shape)

    def call(self, x):
        return sum(head(x) for head in self.every())


def model(in_a_dictionary):
    return keras.Sequential([keras.Input((3,)), Heads(in_a_dictionary)])


x = np.ones((1, 3), "float32")
for in_a_dictionary, stored in ((False, 2), (True, 0)):
    one, other = model(in_a_dictionary), model(in_a_dictionary)
    assert len(one.trainable_weights) == 4
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        one.save_weights("m.weights.h5")
        other.load_weights("m.weights.h5")
    with h5py.File("m.weights.h5") as file:
        kernels = []
        file.visititems(lambda path, item: kernels.append(path) if path.endswith("/0") else None)
    equal = np.allclose(one(x), other(x))
    print("in a dictionary in a list:" if in_a_dictionary else "in a list:", kernels, equal)
    about_layers = [str(one.message) for one in said if "layer" in str(one.message).lower()]
    assert len(kernels) == stored and equal == (stored == 2) and not about_layers
PYTHON
