#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# `compile` says how a model is trained, and a second `compile` is taken for all that holds from then on: so Keras' own
# text on fine-tuning uses it. But a loss or metrics that the second call leaves out stay those of the first, while the
# model's configuration is that of the second. So a model compiled for unlabelled data goes on with metrics of labels,
# which are not there, and what is trained without an error has no loss any more when it is loaded from its file. On
# JAX `fit` without a loss reports a loss of 0 and moves no weight (TensorFlow raises an error, with a loss to add).
#
# Seen: compiled with mse and mae, then with the optimizer alone: `fit` reports both and minimises mse as before, the
# configuration has loss `None`; after saving and loading, `fit` reports 0 and trains nothing. With `metrics=[]` mae goes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np

x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x @ np.ones((4, 1), "float32")
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
model.fit(x, y, verbose=0)

model.compile(keras.optimizers.SGD(0.1))
history = model.fit(x, y, epochs=20, verbose=0).history
config = model.get_compile_config()
print("fit reports", {name: f"{v[0]:.2f} to {v[-1]:.2f}" for name, v in history.items()})
print("the configuration has", {name: config[name] for name in ("loss", "metrics")})
assert set(history) == {"loss", "mae"} and history["loss"][-1] < 0.1 * history["loss"][0]
assert config["loss"] is None and config["metrics"] is None

model.save("model.keras")
again = keras.saving.load_model("model.keras")
again.set_weights([0 * weight for weight in again.get_weights()])
loaded = again.fit(x, y, epochs=5, verbose=0).history
print("loaded, fit reports", loaded, "and the weights are", np.ravel(again.get_weights()[0]))
assert set(loaded) == {"loss"} and not any(loaded["loss"])
assert not any(weight.any() for weight in again.get_weights())

model.compile(keras.optimizers.SGD(0.1), metrics=[])
assert set(model.fit(x, y, verbose=0).history) == {"loss"}
PYTHON
