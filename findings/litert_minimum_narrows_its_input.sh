#!/bin/sh
# TensorFlow 2.21.0, Keras 3.15.1, ai-edge-litert 2.3.0
#
# In a LiteRT file with 8-bit activations `minimum`, `maximum` and `where` have one scale for what goes in and what comes
# out. The converter takes that of the output and puts it on the input: of `minimum(x, 0)` it is the range below 0. If x
# is used elsewhere too, it is cut off to that range there as well, be it an input or a layer's output. So what
# is written as a sum of two halves loses one of them: soft thresholding `x - clip(x, -0.5, 0.5)` gives zeros only. The
# calibration has seen the right range, and nothing is said. 16-bit activations have no such rule, and `relu` and
# `LeakyReLU` have ranges of their own.
#
# Seen, off by (root of the mean square, over that of the right outputs), of x itself, 8 bits and 16: `x - clip(x, -0.5, 0.5)`
# 1.00 and 0.0001; `x + minimum(x, 0)` 0.45; `x - maximum(x, 1)` 0.50; `relu(x) + 0.1 * minimum(x, 0)` 1.00; Keras' `celu`
# 0.88 (its outputs are at most 0); `where(x > 0, x, 0.1 * x)` and `selu` 0.07 to 0.14 in 8 bits. Behind a `Dense` the
# first three likewise. `LeakyReLU`: 0.01.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 ai-edge-litert==2.3.0 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" -W ignore 2>errors - <<'PYTHON' || { tail -20 errors; exit 1; }
import contextlib
import io

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

rng = np.random.default_rng(0)
batches = [rng.normal(size=(4, 32)).astype("float32") for _ in range(50)]


def off(function, dense, bits):
    keras.utils.set_random_seed(0)
    layer = function if isinstance(function, layers.Layer) else layers.Lambda(function)
    model = keras.Sequential([keras.Input((32,), batch_size=4), *([layers.Dense(24)] if dense else []), layer])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([batch] for batch in batches)
    if bits == 16:
        sets = tf.lite.OpsSet
        converter.target_spec.supported_ops = [sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    with contextlib.redirect_stdout(io.StringIO()):
        content = converter.convert()
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    seen = []
    for batch in batches:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
        interpreter.invoke()
        seen.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    right = np.concatenate([np.array(model(batch)) for batch in batches])
    return float(np.sqrt(((np.concatenate(seen) - right) ** 2).mean() / (right**2).mean()))


narrowed = {
    "x - clip(x, -0.5, 0.5)": lambda x: x - ops.clip(x, -0.5, 0.5),
    "x + minimum(x, 0)": lambda x: x + ops.minimum(x, 0),
    "x - maximum(x, 1)": lambda x: x - ops.maximum(x, 1),
    "relu(x) + 0.1 minimum(x, 0)": lambda x: ops.relu(x) + 0.1 * ops.minimum(x, 0),
    "celu": layers.Activation("celu"),
}
changed = False
for name, function in narrowed.items():
    eight, sixteen = off(function, False, 8), off(function, False, 16)
    print(f"{name}: off by {eight:.3f} in 8 bits, {sixteen:.4f} in 16", end="")
    assert sixteen < 0.001
    changed |= eight < 0.3
    if "relu" not in name and name != "celu":
        behind, right = off(function, True, 8), off(function, True, 16)
        print(f"; behind a Dense {behind:.3f} and {right:.4f}", end="")
        assert right < 0.01
        changed |= behind < 0.3
    print()
for name, function in {"where(x > 0, x, 0.1 x)": lambda x: ops.where(x > 0, x, 0.1 * x), "selu": layers.Activation("selu")}.items():
    eight = off(function, False, 8)
    print(f"{name}: off by {eight:.3f} in 8 bits")
    changed |= eight < 0.04
leaky = off(layers.LeakyReLU(0.1), False, 8)
print(f"LeakyReLU: off by {leaky:.3f} in 8 bits")
assert leaky < 0.02
if changed:
    raise SystemExit("x keeps its range: the behaviour has changed")
PYTHON
