#!/bin/sh
# tensorflow 2.21.0, keras 3.15.1, tf2onnx 1.17.0, onnxruntime 1.32.0
#
# A Keras model with an adapted Normalization is exported to ONNX by `model.export` without an error,
# and nobody can run the file: the mean and the deviation are *inputs* of it. tf2onnx takes every
# tensor that a function captures for an input. Variables are none, so that other layers work.
#
# Seen: three inputs in place of one; "Required inputs (['...Sub/y:0', '...Sqrt/x:0']) are missing from
# input feed".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
import onnxruntime

data = np.random.default_rng(0).normal(3, 2, (50, 8)).astype("float32")
layer = keras.layers.Normalization()
layer.adapt(data)
model = keras.Sequential([keras.Input((8,)), layer, keras.layers.Dense(3)])
model(data)
model.export("model.onnx", format="onnx", verbose=False)
session = onnxruntime.InferenceSession("model.onnx")
names = [given.name for given in session.get_inputs()]
print("inputs of the file:", names)
assert len(names) == 3
try:
    session.run(None, {names[0]: data})
except ValueError as error:
    print("it says:", error)
    assert "are missing from input feed" in str(error)
else:
    raise SystemExit("the file runs: the behaviour has changed")
PYTHON
