#!/bin/sh
# Keras 3.15.1 on TensorFlow 2.21.0
#
# The first training step of a freshly compiled model is traced twice, and the first of the two traces
# is thrown away: the optimizer makes its variables inside the traced function, and a `tf.function`
# that makes variables is traced again without them. `model.optimizer.build(...)` between `compile` and
# `fit` halves what the first step takes; the weights after training are the same to the last bit.
# Keras' own `_symbolic_build` would do that, but on TensorFlow it is left out without a strategy.
#
# Seen: `train_step` runs twice in Python before the first step, once with the optimizer built before;
# 32 convolutions: 10.7 and 4.8 seconds of processor time.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow "$folder/venv/bin/python" - <<'PYTHON'
import time

import keras
import numpy as np
from keras import layers

X, Y = np.ones((8, 8, 8, 3), "float32"), np.zeros((8, 8, 8, 8), "float32")


class Counted(keras.Sequential):
    traces = 0

    def train_step(self, data):
        self.traces += 1
        return super().train_step(data)


def first_step(build):
    keras.utils.set_random_seed(0)
    deep = [layers.Conv2D(8, 3, padding="same", activation="relu") for _ in range(32)]
    model = Counted([keras.Input(X.shape[1:]), *deep])
    model.compile("adam", "mse")
    begin = time.process_time()
    if build:
        model.optimizer.build(model.trainable_variables)
    model.fit(X, Y, verbose=0)
    return model.traces, time.process_time() - begin, model.get_weights()


first_step(False)  # warms up
(lazy, lazy_time, one), (built, built_time, other) = first_step(False), first_step(True)
print(f"as compiled: {lazy} traces, {lazy_time:.1f} s; optimizer built: {built}, {built_time:.1f} s")
assert (lazy, built) == (2, 1)
assert all(np.array_equal(a, b) for a, b in zip(one, other))
PYTHON
