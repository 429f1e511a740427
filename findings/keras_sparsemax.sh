#!/bin/sh
# keras 3.15.1 (on TensorFlow 2.21.0)
#
# `keras.activations.sparsemax` projects a row on the probabilities. It returns zeros, not numbers that
# sum to 1, wherever more than one of them should be above zero: the threshold is computed from the
# sum of all cumulative sums, not from the last one. A network with it learns nothing, silently.
#
# Seen: of [1.2, 1.0, 0.0] it makes [0, 0, 0] where [0.6, 0.4, 0] is right; of [2, 1, 0] [1, 0, 0].
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

one = np.array(keras.activations.sparsemax(np.array([[2.0, 1.0, 0.0]], "float32")))
two = np.array(keras.activations.sparsemax(np.array([[1.2, 1.0, 0.0]], "float32")))
print("of [2, 1, 0]:", one, "of [1.2, 1, 0]:", two)
assert np.allclose(one, [[1, 0, 0]]) and np.allclose(two, 0)
PYTHON
