#!/bin/sh
# TensorFlow.js 4.22.0 (core, layers, backends cpu and wasm), Node 20
#
# `tf.batchNorm` takes means and variances of the shape [1, c, 1, 1] (channels first), and on the backends cpu and
# wasm it deals them out along the last axis all the same: number i of the input gets statistic i modulo their count, and
# the shape is not looked at. So does the layer `BatchNormalization` with an `axis` other than the last one, which makes
# such shapes for that very case. No error is given, even where the width is not a multiple of the count. Statistics of
# the last axis are right. Write it out: (x - mean) / sqrt(variance + epsilon) * scale + offset broadcasts as it should.
#
# Seen: 2 x 4 x 5 x 3 numbers, statistics along the axes 1, 2 and 3: off by up to 4.3, 7.2 and 3e-7, to the digit what
# the rule "i modulo the count" gives, on both backends; the layer: the same.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-package-lock --ignore-scripts --prefix "$folder" \
    @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
cat >seen.js <<'JAVASCRIPT'
const assert = require('assert');
const path = require('path');
console.warn = () => {};
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
wasm.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);

let state = 7;
function numbers(count) {
  return Array.from({length: count}, () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 1073741824 - 1;
  });
}
const shape = [2, 4, 5, 3];
const x = numbers(120).map(v => 3 * v);
const off = (a, b) => Math.max(...[...a].map((v, i) => Math.abs(v - b[i])));

(async () => {
  let changed = false;
  for (const axis of [1, 2, 3]) {
    const count = shape[axis];
    const [scale, offset, mean] = [numbers(count), numbers(count), numbers(count)];
    const variance = numbers(count).map(v => v * v + 0.1);
    const normalised = (v, i) => (v - mean[i]) / Math.sqrt(variance[i] + 0.001) * scale[i] + offset[i];
    const after = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const right = x.map((v, i) => normalised(v, Math.floor(i / after) % count));
    const dealt = x.map((v, i) => normalised(v, i % count));
    for (const backend of ['cpu', 'wasm']) {
      await tf.setBackend(backend);
      await tf.ready();
      const as = values => tf.tensor(values, shape.map((_, i) => i === axis ? count : 1));
      const input = tf.tensor(x, shape);
      const seen = await tf.batchNorm(input, as(mean), as(variance), as(offset), as(scale), 0.001).data();
      const layer = tf.layers.batchNormalization({axis, epsilon: 0.001, inputShape: shape.slice(1)});
      const model = tf.sequential({layers: [layer]});
      model.setWeights([scale, offset, mean, variance].map(v => tf.tensor(v)));
      const told = await model.predict(input).data();
      const written = tf.add(tf.mul(tf.div(tf.sub(input, as(mean)), tf.sqrt(tf.add(as(variance), 0.001))), as(scale)), as(offset));
      assert(off(await written.data(), right) < 1e-4);
      console.log(`${backend}, axis ${axis}: batchNorm off by ${off(seen, right).toPrecision(2)}, the layer by ${off(told, right).toPrecision(2)}; ` +
        `from the rule "i modulo the count" by ${off(seen, dealt).toPrecision(2)}`);
      if (axis === 3) assert(off(seen, right) < 1e-4 && off(told, right) < 1e-4);
      else changed ||= off(seen, right) < 0.1 || off(told, right) < 0.1 || off(seen, dealt) > 1e-4;
    }
  }
  if (changed) {
    console.log('other axes are normalised: the behaviour has changed');
    process.exit(1);
  }
})();
JAVASCRIPT
node seen.js
