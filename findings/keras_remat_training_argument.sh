#!/bin/sh
# keras 3.15.1, on TensorFlow 2.21.0 and on JAX 0.10.2
#
# A layer made in a `keras.RematScope` that computes the whole layer anew (mode "full", "larger_than" or
# "list_of_layers") can be called, and its model can neither be trained nor asked, if the layer's `call` has
# the argument `training`: on TensorFlow the recomputation takes no keywords inside a graph, on JAX `training`
# becomes a traced number, which no layer can branch on. On TensorFlow that takes in `Dense`, which the
# scope's documentation shows, and a `Sequential`; on JAX it is the layers that look at it. Layers without it
# work (Conv2D, LayerNormalization), and so does the mode "activations".
#
# Seen: `fit`, `evaluate` and `predict` fail on TensorFlow for Dense, BatchNormalization, Dropout and
# Sequential (ValueError, "supports keywords arguments only when eager execution is enabled"), on JAX for
# BatchNormalization and Dropout (`predict`: AttributeError, "'str' object has no attribute '_error_repr'").
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
cat >it.py <<'PYTHON'
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 8, 8, 3)).astype("float32")
y = rng.integers(0, 4, 64)
backend = keras.backend.backend()
kinds = {
    "Conv2D": lambda: layers.Conv2D(3, 3, padding="same", activation="relu"),
    "LayerNormalization": lambda: layers.LayerNormalization(),
    "Dense": lambda: layers.Dense(3, activation="relu"),
    "Sequential": lambda: keras.Sequential([layers.Conv2D(3, 3, padding="same")]),
    "BatchNormalization": lambda: layers.BatchNormalization(),
    "Dropout": lambda: layers.Dropout(0.2),
}
fails = {"BatchNormalization", "Dropout"}
if backend == "tensorflow":
    fails |= {"Dense", "Sequential"}
changed = []
for kind, make in kinds.items():
    for mode in "activations", "full", "larger_than", "list_of_layers":
        given = keras.Input((8, 8, 3))
        with keras.RematScope(mode=mode, output_size_threshold=10, layer_names=["it"]):
            layer = make()
            layer.name = "it"
            inner = layer(given)
        out = layers.Dense(4, activation="softmax")(layers.Flatten()(inner))
        model = keras.Model(given, out)
        model.compile("sgd", "sparse_categorical_crossentropy")
        failed, told = [], ""
        for what, do in {
            "fit": lambda: model.fit(x, y, verbose=0),
            "evaluate": lambda: model.evaluate(x, y, verbose=0),
            "predict": lambda: model.predict(x, verbose=0),
        }.items():
            try:
                do()
            except Exception as error:
                failed.append(what)
                told = type(error).__name__
                for part in "only when eager execution is enabled", "has no attribute '_error_repr'":
                    if part in str(error):
                        told += f", ... {part}"
        print(f"{backend}, {kind}, {mode}:", f"{', '.join(failed)} fail: {told}" if failed else "works")
        if kind in fails and mode != "activations":
            changed += [] if len(failed) == 3 else [(kind, mode)]
        else:
            assert not failed, (kind, mode, failed)
if changed:
    raise SystemExit(f"these work, the behaviour has changed: {changed}")
PYTHON
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" -W ignore it.py
done
