#!/bin/sh
# keras 3.15.1, tensorflow 2.21.0, jax 0.10.2
#
# A model of two outputs: `evaluate` returns the loss of all and the loss of each output. On JAX all
# three are means over examples. On TensorFlow the first is; those of the outputs are means over
# *batches*, so that a last batch of few examples counts as much as a full one, and the outputs' losses
# do not sum to the loss.
#
# Seen, 40 examples, the loss of output `a` in batches of 40, 20 and 32 (and one of 8): on JAX the same
# three times, on TensorFlow 614.6, 614.6 and 955.6, with the same loss of all.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 tensorflow==2.21.0
cd "$folder"
cat >losses.py <<'PYTHON'
import keras
import numpy as np

keras.utils.set_random_seed(0)
x = keras.Input((3,))
outputs = [keras.layers.Dense(1, name=name)(x) for name in "ab"]
model = keras.Model(x, outputs)
model.compile(loss=["mse", "mse"])
given = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
wanted = [given[:, :1] * np.arange(40)[:, None], given[:, 1:2]]
found = {
    size: model.evaluate(given, wanted, batch_size=size, verbose=0, return_dict=True)
    for size in (40, 20, 32)
}
for size, losses in found.items():
    print(f"batches of {size}:", {name: round(float(v), 1) for name, v in losses.items()})
assert np.isclose(found[40]["loss"], found[32]["loss"], rtol=1e-4)
assert np.isclose(found[40]["a_loss"], found[20]["a_loss"], rtol=1e-4)
same = np.isclose(found[40]["a_loss"], found[32]["a_loss"], rtol=0.01)
if same != (keras.backend.backend() == "jax"):
    raise SystemExit("the outputs' losses are counted otherwise: the behaviour has changed")
PYTHON
for backend in jax tensorflow; do
  echo "$backend"
  KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" losses.py
done
