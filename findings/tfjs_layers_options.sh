#!/bin/sh
# TensorFlow.js 4.22.0 (layers, backends cpu and wasm), Node 20, Keras 3.15.1, JAX 0.10.2
#
# Layers of TensorFlow.js that take Keras' options and compute without them, in a model that was loaded as in one that was
# written there. `DepthwiseConv2D` reads `dilationRate` and hands nothing on: with "same" the shape is right and the numbers
# are those of dilation 1 (with "valid" the shape is that of dilation 1 too). `ReLU` knows `maxValue` only: a
# `negative_slope` or `threshold` is dropped, so a leaky network is one without leak. `UpSampling2D` with
# "bilinear" puts the pixels on TensorFlow 1's grid: the picture is shifted towards the upper left by
# (size - 1) / 2 of the new pixels, against Keras since TensorFlow 2. Other layers raise an error at what they cannot do
# ("causal", a `GRU` with `reset_after`, `ELU` with another alpha). `tf.depthwiseConv2d`, `tf.leakyRelu`, and
# `tf.image.resizeBilinear(x, size, false, true)` are right; `Conv2D` and `SeparableConv2D` do dilate.
#
# Seen, the same weights and inputs: depthwise, dilation 2 and 3: off by 9.5 and 12, and what dilation 1 gives to the bit; slope
# 0.2 and threshold 0.5: what a plain `relu` gives; bilinear doubling: off by up to 1.5; all of
# it on both backends. Dilation 1, `LeakyReLU`, `max_value`, "nearest": equal.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
npm install --silent --no-save --no-package-lock --ignore-scripts --prefix "$folder" \
    @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json

import keras
import numpy as np

rng = np.random.default_rng(0)
layers, cases = keras.layers, []


def case(name, wrong, layer, shape, config):
    x = rng.normal(size=(2, *shape)).astype("float32")
    layer.build((None, *shape))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    y = np.asarray(layer(x))
    weights = [[list(w.shape), np.asarray(w).ravel().tolist()] for w in layer.weights]
    cases.append(
        {
            "name": name,
            "wrong": wrong,
            "kind": type(layer).__name__,
            "config": config,
            "x": [[*x.shape], x.ravel().tolist()],
            "y": [[*y.shape], y.ravel().tolist()],
            "weights": weights,
        }
    )


for rate in 1, 2, 3:
    for kind, more, config in (
        (layers.DepthwiseConv2D, (), {}),
        (layers.SeparableConv2D, (3,), {"filters": 3}),
        (layers.Conv2D, (3,), {"filters": 3}),
    ):
        layer = kind(*more, 3, padding="same", dilation_rate=rate)
        config = {**config, "kernel_size": [3, 3], "padding": "same", "strides": [1, 1], "dilation_rate": [rate, rate]}
        case(f"dilation {rate}", kind is layers.DepthwiseConv2D and rate > 1, layer, (9, 8, 2), config)
case("slope 0.2", True, layers.ReLU(negative_slope=0.2), (40,), {"negative_slope": 0.2, "max_value": None, "threshold": 0})
case("threshold 0.5", True, layers.ReLU(threshold=0.5), (40,), {"negative_slope": 0, "max_value": None, "threshold": 0.5})
case("max 0.5", False, layers.ReLU(max_value=0.5), (40,), {"negative_slope": 0, "max_value": 0.5, "threshold": 0})
case("slope 0.2", False, layers.LeakyReLU(negative_slope=0.2), (40,), {"alpha": 0.2})
for way in "bilinear", "nearest":
    layer = layers.UpSampling2D(2, interpolation=way)
    case(way, way == "bilinear", layer, (5, 4, 2), {"size": [2, 2], "interpolation": way})
json.dump(cases, open("cases.json", "w"))
PYTHON
cat >seen.js <<'JAVASCRIPT'
const fs = require('fs');
const path = require('path');
console.warn = () => {};
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
wasm.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);

const tensor = ([shape, values]) => tf.tensor(values, shape);
const off = async (a, b) => (await tf.max(tf.abs(tf.sub(a, b))).data())[0];
async function outputs(kind, config, weights, x) {
  const layer = {class_name: kind, config: {name: 'l', batch_input_shape: [null, ...x.shape.slice(1)], ...config}};
  const topology = {class_name: 'Sequential', keras_version: '2.15.0', backend: 'tensorflow', config: {name: 's', layers: [layer]}};
  const model = await tf.loadLayersModel({load: async () => ({modelTopology: topology})});
  if (weights.length) model.setWeights(weights.map(tensor));
  return model.predict(x);
}

(async () => {
  let changed = false;
  for (const backend of ['cpu', 'wasm']) {
    await tf.setBackend(backend);
    await tf.ready();
    for (const {name, wrong, kind, config, x, y, weights} of JSON.parse(fs.readFileSync('cases.json'))) {
      const input = tensor(x);
      const right = tensor(y);
      const seen = await outputs(kind, config, weights, input);
      const distance = await off(seen, right);
      let more = '';
      if (kind === 'DepthwiseConv2D' && wrong) {
        const plain = await outputs(kind, {...config, dilation_rate: [1, 1]}, weights, input);
        more = `, from dilation 1 by ${await off(seen, plain)}`;
        changed ||= await off(seen, plain) > 1e-5;
      }
      if (kind === 'ReLU' && wrong) {
        more = `, from a plain relu by ${await off(seen, tf.relu(input))}`;
        changed ||= await off(seen, tf.relu(input)) > 0;
      }
      if (kind === 'UpSampling2D' && wrong) {
        const size = right.shape.slice(1, 3);
        const [half, old] = [tf.image.resizeBilinear(input, size, false, true), tf.image.resizeBilinear(input, size)];
        more = `, resizeBilinear on the new grid by ${(await off(half, right)).toPrecision(1)}, seen from the old grid by ${await off(seen, old)}`;
        changed ||= await off(half, right) > 1e-4 || await off(seen, old) > 1e-5;
      }
      console.log(`${backend}, ${kind}, ${name}: off by ${distance.toPrecision(2)}${more}`);
      changed ||= (distance > 0.1) !== wrong || (!wrong && distance > 1e-4);
    }
  }
  if (changed) {
    console.log('the options are taken: the behaviour has changed');
    process.exit(1);
  }
})();
JAVASCRIPT
node seen.js
