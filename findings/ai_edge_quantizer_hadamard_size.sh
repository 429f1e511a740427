#!/bin/sh
# ai-edge-quantizer 0.10.0, TensorFlow 2.21.0, Keras 3.15.1
#
# AI Edge Quantizer's recipes with Hadamard rotations, meant for weights of 4 and 2 bits, write for each width of a
# dense layer's input a square matrix of that width in float32, though its numbers are all of one size and differ by
# sign only. A layer of 2,048 inputs and 512 outputs gets 16.8 MB of it, four times its own float weights, so the file
# quantised to 2 bits is larger than the float one. Layers of the same width share a matrix: eight of 512 by 512 have
# twice the bytes of 4 bits without rotation, two have five times. Nothing warns; on random weights and inputs, without
# outliers, 4 bits are less exact with it. Look at the size; the recipes without `hr` have none of it.
#
# Seen: two layers, 512 to 2,048 to 512: float 8,389,856 bytes, 4 bits 1,080,608, 4 bits rotated 18,907,888, 2 bits
# rotated 18,383,600. Two of 512 by 512: float 2,098,412, 4 bits 275,760, 4 bits rotated 1,325,712.
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


def run(content, x):
    told = Interpreter(model_content=bytes(content), num_threads=1)
    told.allocate_tensors()
    told.set_tensor(told.get_input_details()[0]["index"], x)
    told.invoke()
    square = [list(map(int, d["shape"])) for d in told.get_tensor_details() if d["dtype"] == np.float32]
    square = [shape for shape in square if len(shape) == 2 and shape[0] == shape[1] > 1]
    return told.get_tensor(told.get_output_details()[0]["index"]), square


def sizes(width, between):
    layers = [keras.Input((width,)), keras.layers.Dense(between), keras.layers.Dense(width)]
    with contextlib.redirect_stdout(io.StringIO()):
        float_file = tf.lite.TFLiteConverter.from_keras_model(keras.Sequential(layers)).convert()
    with open("float.tflite", "wb") as file:
        file.write(float_file)
    x = np.random.default_rng(0).normal(size=(1, width)).astype("float32")
    right, _ = run(float_file, x)
    print(f"{width} to {between} to {width}: float {len(float_file):,} bytes")
    told = []
    for name in "dynamic_wi4c_afp32", "dynamic_wi4c_hr_afp32", "dynamic_wi2c_hr_afp32":
        with contextlib.redirect_stdout(io.StringIO()):
            done = quantizer.Quantizer("float.tflite", getattr(recipe, name)()).quantize().quantized_model
        got, square = run(done, x)
        error = float(np.sqrt(((got - right) ** 2).mean()) / right.std())
        print(f"  {name}: {len(done):,} bytes, outputs {error:.2f} off, square float matrices {square}")
        told.append(len(done) / len(float_file))
    return told


plain, four, two = sizes(512, 2048)
assert plain < 0.2
if min(four, two) < 1.5:
    raise SystemExit("the rotated file is smaller: the behaviour has changed")
plain, four, two = sizes(512, 512)
assert plain < 0.2
if min(four, two) < 0.5:
    raise SystemExit("the rotated file is smaller: the behaviour has changed")
PYTHON
