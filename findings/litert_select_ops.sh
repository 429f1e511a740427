#!/bin/sh
# tensorflow 2.21.0, ai-edge-litert 2.3.0
#
# A LiteRT file with TensorFlow's own operations (`SELECT_TF_OPS`, which the converter's messages
# recommend) is run by no interpreter that pip installs: neither by ai-edge-litert, nor, any more, by
# `tf.lite.Interpreter` in the TensorFlow that has just written it.
#
# Seen: both say "Select TensorFlow op(s), included in the given model, is(are) not supported by this
# interpreter. Make sure you apply/link the Flex delegate before inference."
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 ai-edge-litert==2.3.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter


@tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 4, 1), tf.float32, name="x")])
def pooled(x):
    return tf.nn.max_pool3d(x, 2, 2, "VALID")


converter = tf.lite.TFLiteConverter.from_concrete_functions([pooled.get_concrete_function()])
converter.target_spec.supported_ops = [
    tf.lite.OpsSet.TFLITE_BUILTINS,
    tf.lite.OpsSet.SELECT_TF_OPS,
]
content = converter.convert()
for kind in (Interpreter, tf.lite.Interpreter):
    interpreter = kind(model_content=content)
    try:
        interpreter.allocate_tensors()
        place = interpreter.get_input_details()[0]["index"]
        interpreter.set_tensor(place, np.ones((1, 4, 4, 4, 1), "float32"))
        interpreter.invoke()
    except RuntimeError as error:
        print(f"{kind.__module__}: {error}")
        assert "Select TensorFlow op" in str(error)
    else:
        raise SystemExit(f"{kind.__module__} runs it: the behaviour has changed")
PYTHON
