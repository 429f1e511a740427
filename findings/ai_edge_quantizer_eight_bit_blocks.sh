#!/bin/sh
# ai-edge-quantizer 0.10.0, TensorFlow 2.21.0, Keras 3.15.1
#
# AI Edge Quantizer's recipes for weights in blocks of 32 or 64 with a scale each: of 4 bits (`dynamic_wi4b32_afp32`)
# the file shrinks to a seventh. The same recipes of 8 bits (`dynamic_wi8b32_afp32`, `dynamic_wi8b64_afp32`) quantise
# nothing: the file is as large as before and gives the same numbers to the last bit. No error and no warning, only
# its report's "Quantization Ratio: 1.00" tells. Scales for each channel of 8 bits (`dynamic_wi8c_afp32`) work.
#
# Seen: of 525,536 bytes (two dense layers of 256 by 256) 75,224 in blocks of 4 bits, 138,480 in 8 bits by channel,
# and 525,552 in blocks of 8 bits, with float32 weights inside and differences of exactly 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.4.6
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3
"$folder/venv/bin/python" - 2>errors.txt <<'PYTHON' || { tail -20 errors.txt; exit 1; }
import contextlib
import io

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(256), keras.layers.Dense(256)])
with contextlib.redirect_stdout(io.StringIO()):
    float_file = tf.lite.TFLiteConverter.from_keras_model(model).convert()
with open("float.tflite", "wb") as file:
    file.write(float_file)
x = np.random.default_rng(0).normal(size=(1, 256)).astype("float32")


def run(content):
    told = Interpreter(model_content=bytes(content), num_threads=1)
    told.allocate_tensors()
    types = {d["dtype"].__name__ for d in told.get_tensor_details() if list(d["shape"]) == [256, 256]}
    told.set_tensor(told.get_input_details()[0]["index"], x)
    told.invoke()
    return told.get_tensor(told.get_output_details()[0]["index"]), types


right, _ = run(float_file)
print(f"float: {len(float_file):,} bytes")
seen = {}
for name in "dynamic_wi4b32_afp32", "dynamic_wi8c_afp32", "dynamic_wi8b32_afp32", "dynamic_wi8b64_afp32":
    with contextlib.redirect_stdout(io.StringIO()):
        done = quantizer.Quantizer("float.tflite", getattr(recipe, name)()).quantize().quantized_model
    got, types = run(done)
    error = float(np.sqrt(((got - right) ** 2).mean()) / right.std())
    print(f"{name}: {len(done):,} bytes, weights {sorted(types)}, outputs {error:.4f} off")
    seen[name] = len(done) / len(float_file), error
assert seen["dynamic_wi4b32_afp32"][0] < 0.2 and seen["dynamic_wi8c_afp32"][0] < 0.3
assert min(seen["dynamic_wi4b32_afp32"][1], seen["dynamic_wi8c_afp32"][1]) > 0.001
for name in "dynamic_wi8b32_afp32", "dynamic_wi8b64_afp32":
    if seen[name][0] < 0.9 or seen[name][1] != 0:
        raise SystemExit("the weights are quantised: the behaviour has changed")
PYTHON
