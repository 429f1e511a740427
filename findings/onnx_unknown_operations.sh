#!/bin/sh
# tensorflow 2.21.0, keras 3.15.1, tf2onnx 1.17.0, onnxruntime 1.32.0
#
# What tf2onnx cannot convert it leaves in the file under TensorFlow's name, and `model.export` of
# Keras raises nothing. Two that one would not expect among them: the *default* gelu of Keras 3
# (exact, by `Erfc`; `approximate=True` works), and a convolution with groups, which Keras calls by a
# compiled function of its own (`StatefulPartitionedCall`).
#
# Seen: the files are written; onnxruntime refuses both: "This is an invalid model. In Node,
# (...Gelu/Erfc...", and the same of the other.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers


def unknown(name, shape, layer):
    model = keras.Sequential([keras.Input(shape), layer])
    model(np.ones((1, *shape), "float32"))
    model.export("model.onnx", format="onnx", verbose=False)
    operations = {node.op_type for node in onnx.load("model.onnx").graph.node}
    try:
        onnxruntime.InferenceSession("model.onnx")
    except Exception as error:
        print(f"{name}: written, with {sorted(operations)}; onnxruntime: {error}")
        return operations
    print(f"{name}: written, and loads")
    return set()


assert not unknown("gelu by tanh", (4,), layers.Activation(lambda x: keras.activations.gelu(x, True)))
assert "Erfc" in unknown("gelu", (4,), layers.Dense(4, activation="gelu"))
assert not unknown("convolution", (8, 8, 4), layers.Conv2D(4, 3))
grouped = unknown("convolution in groups", (8, 8, 4), layers.Conv2D(4, 3, groups=2))
assert "StatefulPartitionedCall" in grouped
PYTHON
