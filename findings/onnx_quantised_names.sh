#!/bin/sh
# onnxruntime 1.32.0, tf2onnx 1.17.0, keras 3.15.1, tensorflow 2.21.0, onnx 1.23.2
#
# Static quantisation to int8 makes a small network's file larger than its floats: for each tensor it adds two
# nodes, a scale and a zero, each named by the tensor's whole name and a suffix, and tf2onnx' names are
# TensorFlow's scopes, of a hundred letters. Names take most of the file.
#
# Seen: two layers of attention, 10,516 numbers: floats 71,071 bytes, int8 150,021, of which 117,935 are
# names; with short names in their place 42,068, and the same outputs.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import os

import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers
from onnxruntime import quantization

keras.utils.set_random_seed(0)
x = inputs = keras.Input((8, 24), batch_size=1)
for _ in range(2):
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 12)(x, x))
    x = layers.LayerNormalization()(x + layers.Dense(24)(layers.Dense(48, "relu")(x)))
model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))
model(np.zeros((1, 8, 24), "float32"))
model.export("floats.onnx", format="onnx", verbose=False)
examples = np.random.default_rng(0).normal(size=(50, 1, 8, 24)).astype("float32")


class Reader(quantization.CalibrationDataReader):
    def __init__(self):
        name = onnxruntime.InferenceSession("floats.onnx").get_inputs()[0].name
        self.rows = iter({name: one} for one in examples)

    def get_next(self):
        return next(self.rows, None)


quantization.quantize_static(
    "floats.onnx", "int8.onnx", Reader(), weight_type=quantization.QuantType.QInt8
)


def names(graph):
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
    yield from (one.name for one in (*graph.initializer, *graph.value_info))


def answers(path):
    session = onnxruntime.InferenceSession(path)
    return [session.run(None, {session.get_inputs()[0].name: one})[0] for one in examples]


proto = onnx.load("int8.onnx")
graph = proto.graph
taken = sum(len(name) for name in names(graph))
outside = [one.name for one in (*graph.input, *graph.output)]
short = {name: name if name in outside else f"t{i}" for i, name in enumerate(dict.fromkeys(names(graph))) if name}
for node in graph.node:
    node.name = short[node.name] if node.name else ""
    for side in (node.input, node.output):
        side[:] = [short[name] if name else "" for name in side]
for one in (*graph.initializer, *graph.value_info):
    one.name = short[one.name]
onnx.save(proto, "short.onnx")
sizes = {name: os.path.getsize(f"{name}.onnx") for name in ("floats", "int8", "short")}
np.testing.assert_array_equal(answers("int8.onnx"), answers("short.onnx"))
print(f"{model.count_params():,} numbers; bytes: {sizes}; names alone: {taken:,}")
assert sizes["int8"] > 1.2 * sizes["floats"], sizes
assert sizes["short"] < 0.5 * sizes["int8"], sizes
PYTHON
