#!/bin/sh
# TensorFlow.js 4.22.0 (core, layers, backends cpu and wasm), Node 20
#
# Two mistakes with volumes (x, y, z or time), silent both.
# The padding "same" of three-dimensional layers may be less than nothing in TensorFlow.js, where that of two dimensions,
# and TensorFlow's, ends at 0: if the stride is larger than the window, the grid moves by a voxel. A shortcut of 1 x 1 x 1
# with stride 2, as in a residual network, reads the odd voxels of an even side in place of the even ones. Convolutions
# and pools alike, on all backends: it is in the core. Odd sides are right for stride 2. Say "valid" there.
# On the WebAssembly backend `conv3dTranspose` (a U-Net's way up) bounds its loop over the depth by the window alone,
# wherever in the depth it is, and rounds the bounds wrongly: most frames are all 0. The cpu backend is right.
#
# Seen: windows 1, stride 2 on sides of 8: all numbers as if the volume had been moved by one, sides of 9: right; the same
# layer in two dimensions: right. `conv3dTranspose`, window 2 and stride 2 on a depth of 4: seven of the eight frames all
# 0, none right; window 3, stride 1 on a depth of 6: frames 4 and 5 all 0, one right.
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

let state;
function numbers(shape) {
  return tf.tensor(Array.from({length: shape.reduce((a, b) => a * b, 1)}, () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 1073741824 - 1;
  }), shape);
}
const off = async (a, b) => (await tf.max(tf.abs(tf.sub(a, b))).data())[0];

(async () => {
  let changed = false;
  for (const backend of ['cpu', 'wasm']) {
    await tf.setBackend(backend);
    await tf.ready();
    for (const side of [8, 9]) {
      state = 7;
      const volume = numbers([1, side, side, side, 2]);
      const kernel = numbers([1, 1, 1, 2, 3]);
      const even = tf.stridedSlice(volume, [0, 0, 0, 0, 0], volume.shape, [1, 2, 2, 2, 1]);
      const right = tf.conv3d(even, kernel, 1, 'valid');
      const seen = tf.conv3d(volume, kernel, 2, 'same');
      const pooled = tf.avgPool3d(volume, 1, 2, 'same');
      assert(await off(tf.conv3d(volume, kernel, 2, 'valid'), right) < 1e-5);
      const distance = [await off(seen, right), await off(pooled, even)];
      let moved = '';
      if (side === 8) {
        const odd = tf.stridedSlice(volume, [0, 1, 1, 1, 0], volume.shape, [1, 2, 2, 2, 1]);
        const shifts = [await off(seen, tf.conv3d(odd, kernel, 1, 'valid')), await off(pooled, odd)];
        moved = `; from the odd voxels by ${shifts.map(v => v.toPrecision(2)).join(' and ')}`;
        changed ||= Math.max(...shifts) > 1e-5 || Math.min(...distance) < 0.1;
      } else {
        assert(Math.max(...distance) < 1e-5);
      }
      console.log(`${backend}, side ${side}, window 1, stride 2: convolution and pool off by ${distance.map(v => v.toPrecision(2)).join(' and ')}${moved}`);
      const picture = numbers([1, side, side, 2]);
      const flat = numbers([1, 1, 2, 3]);
      assert(await off(tf.conv2d(picture, flat, 2, 'same'), tf.conv2d(picture, flat, 2, 'valid')) < 1e-5);
    }
  }
  for (const [window, stride, depth] of [[2, 2, 4], [3, 1, 6]]) {
    const told = {};
    for (const backend of ['cpu', 'wasm']) {
      await tf.setBackend(backend);
      state = 7;
      const x = numbers([1, depth, 4, 4, 2]);
      const kernel = numbers([window, window, window, 3, 2]);
      told[backend] = tf.conv3dTranspose(x, kernel, [1, depth * stride, 4 * stride, 4 * stride, 3], stride, 'same');
      told[backend] = await Promise.all(tf.unstack(told[backend], 1).map(frame => frame.data()));
    }
    const empty = told.wasm.map((frame, i) => frame.every(v => v === 0) ? i : -1).filter(i => i >= 0);
    const right = told.wasm.map((frame, i) => frame.every((v, j) => Math.abs(v - told.cpu[i][j]) < 1e-5) ? i : -1).filter(i => i >= 0);
    console.log(`conv3dTranspose on wasm, window ${window}, stride ${stride}: of ${told.wasm.length} frames right ${right.join(' ') || 'none'}, all zero ${empty.join(' ')}`);
    assert(told.cpu.every(frame => frame.some(v => v !== 0)));
    changed ||= empty.length < told.wasm.length / 4;
  }
  if (changed) {
    console.log('volumes are computed otherwise: the behaviour has changed');
    process.exit(1);
  }
})();
JAVASCRIPT
node seen.js
