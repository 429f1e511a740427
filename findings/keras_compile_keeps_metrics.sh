#!/bin/sh
# keras 3.15.1 (on jax 0.10.2)
#
# A second `compile` without metrics does not take those of the first away: they go on being computed
# and reported, also where the new loss has targets of another shape, on which they then fail.
#
# Seen: the second fit's history has 'mae', which only the first compile asked for.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
x, y = np.ones((4, 2)), np.ones(4)
model.compile("sgd", "mse", metrics=["mae"])
model.fit(x, y, verbose=0)
model.compile("sgd", "mse")
history = model.fit(x, y, verbose=0).history
print("after a second compile without metrics:", sorted(history))
assert "mae" in history, "the behaviour has changed"
PYTHON
