#!/bin/sh
# tensorflow 2.21.0, keras 3.15.1, tf2onnx 1.17.0
#
# A function that reads a small eager tensor, and whose output does not depend on it, cannot be
# converted: "Failed to import metagraph, check error log for more info." tf2onnx takes the captured
# tensor for an input that has to be kept, and it is pruned before. Whoever computes a penalty (the
# factor of a regularizer is such a tensor) beside the output meets this.
#
# Seen: ValueError: Failed to import metagraph; the log says "Fetch node ... doesn't exist in graph".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import tensorflow as tf
import tf2onnx

factor = tf.constant(0.5)
spec = [tf.TensorSpec((None, 4), tf.float32, name="x")]


def used(x):
    return factor * x


def unused(x):
    penalty = factor * tf.reduce_sum(x)
    del penalty
    return 2.0 * x


tf2onnx.convert.from_function(tf.function(used, input_signature=spec), spec)
print("with the constant in the output: converted")
try:
    tf2onnx.convert.from_function(tf.function(unused, input_signature=spec), spec)
except ValueError as error:
    print("with the constant beside it:", error)
    assert "Failed to import metagraph" in str(error)
else:
    raise SystemExit("it is converted: the behaviour has changed")
PYTHON
