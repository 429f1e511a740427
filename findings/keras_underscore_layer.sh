#!/bin/sh
# keras 3.15.1, tensorflow 2.21.0
#
# Keras names a layer after its class, and a class that begins with "_" (as private ones do) gets a name that
# begins with two: `_Block` is "__block". The model is built, trained, saved as .keras and loaded, and no
# deployment format is written: a name that begins with "_" is none of TensorFlow's scopes at the root of a
# graph, which shows only where variables are put into a new one.
#
# Seen: fit, predict, save and load work; `model.export` as a SavedModel and as LiteRT raises ValueError
# "'__block/...' is not a valid root scope name". With name="block" both are written.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np


@keras.saving.register_keras_serializable("finding")
class _Block(keras.layers.Layer):
    def build(self, shape):
        self.dense = keras.layers.Dense(4)
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)


x, found = np.ones((8, 3), "float32"), {}
for name in (None, "block"):
    model = keras.Sequential([keras.Input((3,)), _Block(name=name)])
    model.compile("sgd", "mse")
    model.fit(x, np.ones((8, 4)), verbose=0)
    model.save("model.keras")
    again = keras.saving.load_model("model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    for kind, path in (("tf_saved_model", f"saved_{name}"), ("litert", f"{name}.tflite")):
        try:
            model.export(path, format=kind, verbose=False)
            found[name, kind] = "written"
        except ValueError as error:
            found[name, kind] = "scope name" if "scope name" in str(error) else str(error)
        print(f"layer {model.layers[0].name!r}, {kind}: {found[name, kind]}")
assert set(found[None, kind] for kind in ("tf_saved_model", "litert")) == {"scope name"}, found
assert set(found["block", kind] for kind in ("tf_saved_model", "litert")) == {"written"}, found
PYTHON
