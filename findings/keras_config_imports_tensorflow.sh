#!/bin/sh
# Keras 3.15.1 on JAX 0.10.2, TensorFlow 2.21.0 installed beside it
#
# On the JAX backend a model is built, trained, used and its weights are saved without TensorFlow. The
# first call that describes it (`get_config`, `to_json`, `clone_model`, `save`) imports all of TensorFlow,
# of a model of one layer too: the serialiser asks, before it looks for a `tf.TensorShape`, whether
# TensorFlow is available, and finds that out by importing it. Where TensorFlow is not installed, the same
# call takes nothing.
#
# Seen: 3.2 seconds of processor time and 500 MB of memory for `to_json`; 0.0005 seconds the second time.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 tensorflow==2.21.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import resource
import sys
import time

import keras
import numpy as np


def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 4), "float32"), np.ones((8, 2), "float32"), verbose=0)
model.predict(np.ones((8, 4), "float32"), verbose=0)
model.save_weights("model.weights.h5")
assert "tensorflow" not in sys.modules
memory, seconds = megabytes(), []
for _ in range(2):
    begin = time.process_time()
    model.to_json()
    seconds.append(time.process_time() - begin)
    assert "tensorflow" in sys.modules
print(f"{seconds[0]:.1f} s and {megabytes() - memory:.0f} MB, then {seconds[1]:.4f} s")
assert seconds[0] > 50 * seconds[1]
PYTHON
