#!/bin/sh
# tensorflow 2.21.0, keras 3.15.1, tf2onnx 1.17.0, ai-edge-litert 2.3.0
#
# `keras.ops.argmax` goes neither to LiteRT nor to ONNX, although both have such an operation and
# `tf.argmax` is converted to it: Keras first turns -0.0 into 0.0 by operations on bits.
#
# Seen: LiteRT: "'tf.BitwiseAnd' op is neither a custom op nor a flex op". ONNX: written without an
# error, with the operations Bitcast and BitwiseAnd, which ONNX does not have at that opset.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import keras
import onnx
import tensorflow as tf


class Argmax(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:-1], dtype="int32")


def converted(function):
    """What LiteRT says, and the operations of the ONNX file."""
    model = keras.Sequential([keras.Input((8,)), Argmax(function)])
    model(tf.ones((1, 8)))
    model.export("folder", verbose=False)
    try:
        tf.lite.TFLiteConverter.from_saved_model("folder").convert()
        said = "converted"
    except Exception as error:
        said = str(error)
    model.export("model.onnx", format="onnx", verbose=False)
    return said, {node.op_type for node in onnx.load("model.onnx").graph.node}


said, operations = converted(lambda x: tf.argmax(x, axis=-1, output_type=tf.int32))
print("tf.argmax:", said, sorted(operations))
assert said == "converted" and "ArgMax" in operations and "BitwiseAnd" not in operations
said, operations = converted(lambda x: keras.ops.argmax(x, axis=-1))
print("keras.ops.argmax:", said[:400], sorted(operations))
assert "BitwiseAnd" in said and "BitwiseAnd" in operations
PYTHON
