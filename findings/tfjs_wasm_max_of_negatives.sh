#!/bin/sh
# TensorFlow.js 4.22.0 (core, backends cpu and wasm), Node 20
#
# On the WebAssembly backend `maxPool3d` and `dilation2d` start their maximum at the smallest positive float in place of
# the lowest one. Wherever all numbers of a window are negative the answer is 1.1754943508222875e-38, with or without
# padding: the pooled layer looks as if a `relu` had been there. Behind a `relu` nothing is seen of it, so networks
# that normalise before the pool and activate after it are hit, and others not. `maxPool`, `max` and the cpu backend
# are right. Pool x + c and take c away, or take the maximum of three two-dimensional pools.
#
# Seen: 1 x 6 x 6 x 6 x 2 numbers in -3 to 3, windows of 2 and stride 2: all 54 right; less 1, 3 are wrong, less 2, 7,
# less 5, all: those that should be negative, each 1.1754943508222875e-38. `dilation2d` with windows of 3, less 5: all
# 72. `maxPool` and `max`: none.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-package-lock --ignore-scripts --prefix "$folder" \
    @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
cat >seen.js <<'JAVASCRIPT'
const assert = require('assert');
const path = require('path');
const tf = require('@tensorflow/tfjs-core');
require('@tensorflow/tfjs-backend-cpu');
const wasm = require('@tensorflow/tfjs-backend-wasm');
wasm.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);

const smallest = Math.pow(2, -126);
let state;
function numbers(shape, reach, less) {
  const values = Array.from({length: shape.reduce((a, b) => a * b, 1)}, () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return (state / 1073741824 - 1) * reach - less;
  });
  return tf.tensor(values, shape);
}
const layers = {
  maxPool3d: less => tf.maxPool3d(numbers([1, 6, 6, 6, 2], 3, less), 2, 2, 'same'),
  dilation2d: less => tf.dilation2d(numbers([1, 6, 6, 2], 3, less), numbers([3, 3, 2], 1, 0), 1, 'same', 1),
  maxPool: less => tf.maxPool(numbers([1, 6, 6, 2], 3, less), 2, 2, 'same'),
  max: less => tf.max(numbers([6, 6, 2], 3, less), 1),
};

(async () => {
  let changed = false;
  for (const [name, layer] of Object.entries(layers)) {
    for (const less of [0, 1, 2, 5]) {
      const told = {};
      for (const backend of ['cpu', 'wasm']) {
        await tf.setBackend(backend);
        await tf.ready();
        state = 7;
        told[backend] = await layer(less).data();
      }
      const wrong = [...told.wasm].filter((v, i) => Math.abs(v - told.cpu[i]) > 1e-5);
      const negative = [...told.cpu].filter(v => v < 0).length;
      console.log(`${name}, numbers less ${less}: ${wrong.length} of ${told.cpu.length} wrong, ${negative} right ones are negative`,
        [...new Set(wrong)].join(' '));
      if (name.startsWith('max') && name !== 'maxPool3d') assert.strictEqual(wrong.length, 0);
      else changed ||= wrong.length !== negative || wrong.some(v => v !== smallest);
    }
  }
  if (changed) {
    console.log('the maximum of negative numbers is another: the behaviour has changed');
    process.exit(1);
  }
})();
JAVASCRIPT
node seen.js
