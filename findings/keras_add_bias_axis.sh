#!/bin/sh
# keras 3.15.1, tensorflow 2.21.0, jax 0.10.2
#
# `keras.ops.add(x, b)` broadcasts like NumPy, but on TensorFlow not always: a `b` of which all sides but
# one are 1 is taken for the bias of a layer, and if `x` has as many along axis 1, it is added there, wherever
# `b` has its long side. `EinsumDense` and `MultiHeadAttention` add their biases so: attention with
# `key_dim=1` and as many heads as steps gives other numbers on TensorFlow than on JAX, from the same
# weights. The operator `+` broadcasts as NumPy does on both.
#
# Seen: zeros `[1, 2, 2, 1]` plus `[[1], [2]]` is 1 1 2 2 by `keras.ops.add` on TensorFlow, 1 2 1 2 by `+`
# and on JAX. MultiHeadAttention(3, 1) on 3 steps differs by 10.9 between the backends, on 4 steps by 4e-6.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0 jax==0.10.2 numpy==2.4.6
cd "$folder"
cat > run.py <<'PYTHON'
import sys

import keras
import numpy as np

x, b = np.zeros((1, 2, 2, 1), "float32"), np.array([[1], [2]], "float32")
as_tensor = keras.ops.convert_to_tensor
found = {
    "add": keras.ops.add(x, b),
    "plus": as_tensor(x) + as_tensor(b),
}
rng = np.random.default_rng(0)
for steps in (3, 4):
    data = rng.normal(size=(2, steps, 6)).astype("float32")
    layer = keras.layers.MultiHeadAttention(3, 1)
    layer(data, data)
    for variable in layer.variables:
        if "seed" not in variable.path:
            variable.assign(rng.normal(size=variable.shape))
    found[f"attention on {steps} steps"] = layer(data, data)
np.savez(sys.argv[1], **{key: keras.ops.convert_to_numpy(y) for key, y in found.items()})
PYTHON
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" run.py "$backend.npz" 2> log.txt || { cat log.txt; exit 1; }
done
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np

one, other = np.load("tensorflow.npz"), np.load("jax.npz")
for key in ("add", "plus"):
    print(key, "on TensorFlow:", one[key].ravel(), "on JAX:", other[key].ravel())
off = {steps: float(np.abs(one[key] - other[key]).max()) for steps in (3, 4) for key in [f"attention on {steps} steps"]}
print("attention, greatest difference between the backends:", off)
assert one["add"].ravel().tolist() == [1, 1, 2, 2]
assert one["plus"].ravel().tolist() == other["add"].ravel().tolist() == [1, 2, 1, 2]
assert off[3] > 0.01 and off[4] < 1e-5
PYTHON
