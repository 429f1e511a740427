#!/bin/sh
# keras 3.15.1, jax 0.10.2
#
# `MultiHeadAttention` whose values have another size than its keys (`value_dim`, a documented argument)
# runs on TensorFlow and not on JAX: there the layer goes through `jax.nn.dot_product_attention`, which
# wants one size for queries, keys and values. Asked for the scores as well, the same layer computes
# them itself, and works.
#
# Seen: value_dim=6 beside key_dim=6 runs; value_dim=5 raises TypeError "cannot reshape array of shape
# (3, 5, 4, 1, 5)"; value_dim=5 with return_attention_scores=True runs.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import logging

import keras
import numpy as np

logging.getLogger("absl").setLevel(logging.CRITICAL)
x = np.ones((3, 5, 8), "float32")
found = []
for size, scores in ((6, False), (5, False), (5, True)):
    layer = keras.layers.MultiHeadAttention(4, 6, value_dim=size)
    try:
        layer(x, x, return_attention_scores=scores)
        found.append("runs")
    except (TypeError, ValueError) as error:
        found.append(type(error).__name__)
        print([line for line in str(error).splitlines() if "reshape" in line or "shape should" in line])
    print(f"key_dim=6, value_dim={size}, return_attention_scores={scores}: {found[-1]}")
assert found == ["runs", "TypeError", "runs"], found
PYTHON
