#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# `trainable` is part of a layer's configuration, so that what is frozen stays frozen in a file. The flag is set where a
# layer is made and not handed down to the layers that it makes for itself. `MultiHeadAttention`, `GroupQueryAttention` and
# the convolutional LSTMs have all of their weights in such layers: saved frozen, they come back from `.keras` files (and
# from `clone_model`) saying `trainable=False`, with every weight trained. The optimizer's state is stored by position and
# now belongs to other weights, which nothing says either where shapes agree. Layers without others inside, wrappers and
# nested models are right. On JAX and PyTorch, set `layer.trainable = False` once more after loading (on TensorFlow that
# does nothing, see `keras_freeze_again.sh`: set True first).
#
# Seen: of a frozen attention with 8 weights 0 are trained before, 8 after loading; a `ConvLSTM1D` 0 and 3; `Dense`, `LSTM`,
# `Bidirectional` and a nested model 0 and 0. One epoch of 32 steps moves the frozen attention's weights by 0.2 after
# loading, by 0 before.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np
from keras import layers


def nested(x):
    return keras.Sequential([layers.Dense(4), layers.Dense(3)], name="frozen")(x)


CASES = {
    "MultiHeadAttention": ((6, 8), lambda x: layers.MultiHeadAttention(2, 4, name="frozen")(x, x)),
    "GroupQueryAttention": ((6, 8), lambda x: layers.GroupQueryAttention(4, 2, 2, name="frozen")(x, x)),
    "ConvLSTM1D": ((4, 6, 2), lambda x: layers.ConvLSTM1D(3, 2, name="frozen")(x)),
    "Dense": ((6, 8), lambda x: layers.Dense(3, name="frozen")(x)),
    "LSTM": ((6, 8), lambda x: layers.LSTM(3, name="frozen")(x)),
    "Bidirectional": ((6, 8), lambda x: layers.Bidirectional(layers.LSTM(3), name="frozen")(x)),
    "nested model": ((6, 8), nested),
}


def moved(model, shape):
    before = model.get_layer("frozen").get_weights()
    x = np.random.default_rng(0).normal(size=(256, *shape)).astype("float32")
    model.fit(x, np.ones((256, *model.output_shape[1:])), batch_size=8, verbose=0)
    return max(float(np.abs(a - b).max()) for a, b in zip(before, model.get_layer("frozen").get_weights()))


found = {}
for name, (shape, layer) in CASES.items():
    keras.utils.set_random_seed(0)
    x = keras.Input(shape)
    model = keras.Model(x, layers.Dense(1)(layer(x)))
    model.get_layer("frozen").trainable = False
    model.compile(keras.optimizers.Adam(0.01), "mse")
    by_live = moved(model, shape)
    model.save("model.keras")
    again = keras.saving.load_model("model.keras")
    clone = keras.models.clone_model(model)
    counts = [len(one.trainable_variables) - 2 for one in (model, again, clone)]
    found[name] = (*counts, by_live, moved(again, shape))
    print(f"{name:20} trained weights: live {counts[0]}, loaded {counts[1]}, clone {counts[2]}; "
          f"moved by training: live {by_live:.2f}, loaded {found[name][4]:.2f}")
assert all(one[0] == 0 and one[3] == 0 for one in found.values())
right = [name for name, one in found.items() if one[1] == one[2] == 0 and one[4] == 0]
assert set(right) >= {"Dense", "LSTM", "Bidirectional", "nested model"}
if set(right) & {"MultiHeadAttention", "GroupQueryAttention", "ConvLSTM1D"}:
    raise SystemExit("what was saved frozen is frozen: the behaviour has changed")
PYTHON
