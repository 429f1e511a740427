#!/bin/sh
# TensorFlow 2.21.0, Keras 3.15.1, ai-edge-litert 2.3.0
#
# Activations of 16 bits and weights of 8 are LiteRT's choice where 8 bits are too coarse. There a `SUM` stops at the largest
# code of its input: no sum comes out larger than the largest number that calibration saw go in, and one of n numbers of one
# sign is about an nth of what it should be. Norms and `logsumexp`, which have a sum inside, are wrong with it. And `where`
# picks from two tensors with a scale each, and reads the codes of both by one. The converter writes this without a word,
# after a calibration in which the sums were right, and 8 bits get the sums right. `mean` is right: take it times n.
#
# Seen: sums of n ones are 1 for n = 4, 32 and 256. Sums of 32 numbers in 0 to 1 are 0.06 of the right ones, of 32 normal ones
# 0.4 to 0.6 off (root of the mean square, over that of the right outputs), `norm` 0.4, `logsumexp` 0.5; in 8 bits 0.04 or
# less. `mean` of 32 times 32: 0.0001. Behind a `Dense`, `where(x > 0, x, 0.1 * x)` is 0.9 off: what is negative comes out 10
# times too large, as x.
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


def run(function, draw, width, bits, dense=False):
    """The right outputs, and those of the quantised file."""
    keras.utils.set_random_seed(0)
    batches = [draw((4, 3, width)).astype("float32") for _ in range(30)]
    before = [layers.Dense(24)] if dense else []
    model = keras.Sequential([keras.Input((3, width), batch_size=4), *before, layers.Lambda(function)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([batch] for batch in batches)
    if bits == 16:
        sets = tf.lite.OpsSet
        sets = [sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, sets.TFLITE_BUILTINS]
        converter.target_spec.supported_ops = sets
    with contextlib.redirect_stdout(io.StringIO()):
        content = converter.convert()
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    seen = []
    for batch in batches:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
        interpreter.invoke()
        seen.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    return np.concatenate([np.array(model(batch)) for batch in batches]), np.concatenate(seen)


def off(*told, **options):
    right, seen = run(*told, **options)
    return float(np.sqrt(((seen - right) ** 2).mean() / (right**2).mean()))


changed = False
for width in 4, 32, 256:
    sums = [run(lambda x: ops.sum(x, -1), np.ones, width, bits)[1] for bits in (8, 16)]
    print(f"sums of {width} ones: {np.unique(sums[0])} in 8 bits, {np.unique(sums[1])} in 16")
    assert np.abs(sums[0] - width).max() < 0.01 * width
    changed |= sums[1].max() > 1.01
right, seen = run(lambda x: ops.sum(x, -1), rng.random, 32, 16)
print(f"sums of 32 numbers in 0 to 1 are {(seen / right).mean():.3f} of the right ones, the largest {seen.max():.3f}")
changed |= (seen / right).mean() > 0.2
normal = lambda shape: rng.normal(size=shape)
for name, function in {
    "sum": lambda x: ops.sum(x, -1),
    "norm": lambda x: ops.norm(x, axis=-1),
    "logsumexp": lambda x: ops.logsumexp(x, -1),
}.items():
    eight, sixteen = (off(function, normal, 32, bits) for bits in (8, 16))
    print(f"{name} of 32 normal numbers: off by {eight:.4f} in 8 bits, {sixteen:.4f} in 16")
    assert eight < 0.06
    changed |= sixteen < 0.2
average, times = (off(f, normal, 32, 16) for f in (lambda x: ops.mean(x, -1), lambda x: 32 * ops.mean(x, -1)))
print(f"mean: off by {average:.4f} in 16, times 32: {times:.4f}")
assert max(average, times) < 0.01
right, seen = run(lambda x: ops.where(x > 0, x, 0.1 * x), normal, 32, 16, dense=True)
positive, negative = (float(np.median((seen / right)[chosen])) for chosen in (right > 0.01, right < -0.01))
print(f"where(x > 0, x, 0.1 x) behind a Dense: positive ones are {positive:.2f} of the right ones, negative ones {negative:.2f}")
assert abs(positive - 1) < 0.01
if changed or negative < 2:
    raise SystemExit("16 bits are right: the behaviour has changed")
PYTHON
