#!/bin/sh
# Keras 3.15.1, TensorFlow 2.21.0, JAX 0.10.2
#
# On TensorFlow, the first training step with `keras.optimizers.ScheduleFreeAdamW` throws all weights away. The
# optimizer is built inside the compiled step, where the copy of the weights that it starts from is lost: it starts
# from zero, and as the first step's average has weight 1, so do the weights, each then a learning rate from zero.
# A trained model is forgotten, a new one learns next to nothing, nothing warns, and the loss looks like one of a bad
# rate. Built by hand before (`optimizer.build(model.trainable_variables)`), it keeps the weights; but the old state
# is read after it has changed, so its steps are others than the method's and than those on JAX. JAX does both as
# defined. Take Adam with `use_ema`, or train on JAX.
#
# Seen, one step of 1e-4 on a network of mean weights 0.144: afterwards 0.144 on JAX, 0.0001 on TensorFlow, 0.144 there
# if built before. One step of 1e-5 on a trained network: on JAX the loss stays at 0.003, on TensorFlow 0.06 becomes
# 0.50, that of zeros. A hundred given gradients: JAX is 2e-6 off the definition in NumPy, TensorFlow 0.06 (the numbers
# move by 0.58).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow-cpu==2.21.0 jax==0.10.2 numpy==2.4.6
cd "$folder"
cat >seen.py <<'PYTHON'
import json
import sys

import keras
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(1024, 16)).astype("float32")
y = np.sin(x[:, :3].sum(1, keepdims=True))


def network():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((16,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)]
    return keras.Sequential(layers)


def size(model):
    return float(np.mean([np.abs(w).mean() for w in model.get_weights()[::2]]))


told = {}
for built in False, True:
    model = network()
    optimizer = keras.optimizers.ScheduleFreeAdamW(1e-4)
    model.compile(optimizer, "mse")
    if built:
        optimizer.build(model.trainable_variables)
    before = size(model)
    model.fit(x[:64], y[:64], batch_size=64, verbose=0)
    told["built" if built else "plain"] = [before, size(model)]
model = network()
model.compile(keras.optimizers.Adam(0.01), "mse")
model.fit(x, y, epochs=60, verbose=0)
trained = model.evaluate(x, y, verbose=0)
model.compile(keras.optimizers.ScheduleFreeAdamW(1e-5), "mse")
model.train_on_batch(x[:64], y[:64])
told["trained"] = [trained, model.evaluate(x, y, verbose=0), float((y**2).mean())]

# The method, in 64 bits, for given gradients.
start, gradients, rate = rng.normal(size=8), rng.normal(0.3, 1, size=(100, 8)), 0.03
variable = keras.Variable(start.astype("float32"))
optimizer = keras.optimizers.ScheduleFreeAdamW(rate)
optimizer.build([variable])
z = average = start
second = 0
for t, g in enumerate(gradients, 1):
    optimizer.apply([keras.ops.convert_to_tensor(g.astype("float32"))], [variable])
    second = 0.999 * second + 0.001 * g**2
    z = z - rate * g / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
    average = (1 - 1 / t) * average + z / t
right = 0.1 * z + 0.9 * average
told["definition"] = [float(np.abs(keras.ops.convert_to_numpy(variable) - right).max()), float(np.abs(right - start).max())]
json.dump(told, open(sys.argv[1], "w"))
PYTHON
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 JAX_PLATFORMS=cpu "$folder/venv/bin/python" seen.py $backend.json >errors.txt 2>&1 || { tail -20 errors.txt; exit 1; }
done
"$folder/venv/bin/python" - <<'PYTHON'
import json

told = {backend: json.load(open(f"{backend}.json")) for backend in ("jax", "tensorflow")}
for backend, seen in told.items():
    print(f"{backend}: mean weights before and after one step {seen['plain']}, if built before {seen['built']}")
    print(f"  a trained model's loss, after one step, and of zeros: {seen['trained']}")
    print(f"  off the definition by {seen['definition'][0]:.7f} (the numbers move by {seen['definition'][1]:.3f})")
jax, tensorflow = told["jax"], told["tensorflow"]
for before, after in jax["plain"], jax["built"], tensorflow["built"]:
    assert abs(after - before) < 0.01 * before
assert jax["trained"][1] < 1.2 * jax["trained"][0] and jax["definition"][0] < 1e-4
if tensorflow["plain"][1] > 0.01 * tensorflow["plain"][0] or tensorflow["trained"][1] < 0.9 * tensorflow["trained"][2]:
    raise SystemExit("TensorFlow keeps the weights: the behaviour has changed")
if tensorflow["definition"][0] < 0.01:
    raise SystemExit("TensorFlow follows the definition: the behaviour has changed")
PYTHON
