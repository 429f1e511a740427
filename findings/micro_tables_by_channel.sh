#!/bin/sh
# tflite-micro 0.dev20261023182759, tensorflow 2.21.0
#
# tflite-micro's compressor stores a constant as a look-up table and indices, by one table or by one for
# each channel (`PerChannel(axis=0)`, which its documentation allows). With one for each channel a
# convolution's kernel in floats is decoded wrongly: the file is written, runs, and answers otherwise.
# With one table for the same kernel the answers are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 tflite-micro==0.dev20261023182759
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf
from tflite_micro import compression, runtime
from tflite_micro.tensorflow.lite.micro.compression import model_editor, spec

random = np.random.default_rng(0)
layer = keras.layers.Conv2D(8, 3)
model = keras.Sequential([keras.Input((8, 8, 4), batch_size=1), layer])
# Each filter has four values of its own, all together there are 32.
values = np.arange(1, 5, dtype=np.float32)[random.integers(0, 4, layer.kernel.shape)]
layer.kernel.assign(values * 1.5 ** np.arange(8))
model.export("saved", verbose=False)
content = tf.lite.TFLiteConverter.from_saved_model("saved").convert()
x = random.normal(size=(1, 8, 8, 4)).astype(np.float32)
wanted = np.asarray(model(x))
tensors = model_editor.read(content).subgraphs[0].tensors
(kernel,) = [i for i, t in enumerate(tensors) if t.buffer and t.buffer.data and t.array.ndim == 4]


def error(content):
    interpreter = runtime.Interpreter.from_bytes(bytes(content), arena_size=10**7)
    interpreter.set_input(x, 0)
    interpreter.invoke()
    return float(np.abs(interpreter.get_output(0) - wanted).max() / np.abs(wanted).max())


def coded(mode, bits):
    table = spec.LookUpTableCompression(index_bitwidth=bits, mode=mode)
    chosen = [spec.Tensor(subgraph=0, tensor=kernel, compression=[table])]
    return compression.compress(content, chosen)


errors = {
    "as converted": error(content),
    "one table": error(coded(spec.PerTensor(), 5)),
    "one for each channel": error(coded(spec.PerChannel(axis=0), 2)),
}
for name, value in errors.items():
    print(f"{name}: {value:.1e} of the largest output")
assert errors["as converted"] < 1e-5 and errors["one table"] < 1e-5
if errors["one for each channel"] < 1e-3:
    raise SystemExit("both are right: the behaviour has changed")
PYTHON
