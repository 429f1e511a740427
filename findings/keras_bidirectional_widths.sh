#!/bin/sh
# keras 3.15.1 (on jax 0.10.2)
#
# `Bidirectional` with a `backward_layer` of another width says that its output has twice the width of
# the forward layer, and gives the sum of both. The next layer of a functional model is built for the
# wrong width.
#
# Seen: widths 1 and 2 are announced as (None, 2) and come out as (1, 3).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
from keras import layers

both = layers.Bidirectional(layers.LSTM(1), backward_layer=layers.LSTM(2, go_backwards=True))
announced = both(keras.Input((3, 2))).shape
given = both(np.ones((1, 3, 2), "float32")).shape
print("announced", announced, "given", given)
assert announced == (None, 2) and given == (1, 3), "the behaviour has changed"
PYTHON
