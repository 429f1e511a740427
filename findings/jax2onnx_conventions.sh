#!/bin/sh
# jax2onnx 0.17.1, JAX 0.10.2, flax 0.12.8, onnxruntime 1.32.0
#
# jax2onnx gives a few of JAX' functions to the ONNX operator of the same name, and does not look at where the two differ;
# no warning, and its own tests have no such numbers.
# - `jax.lax.round` takes halves away from zero unless told otherwise, ONNX' `Round` to the even neighbour, and the
#   argument is not read: a quantiser written with it stores another integer for every half. `jnp.round` is right.
# - `jax.nn.one_hot(-1, n)` is all zeros (so says its text: a label that is masked out), `OneHot` counts -1 from the end.
# - `jax.image.resize` "nearest": halving a picture takes the second of two pixels in JAX, the first in the file; at an
#   odd factor they agree.
# - "cubic": the outermost pixels differ, since JAX leaves out what is beyond the edge and ONNX repeats the edge.
#
# Seen: halves of -3.5 to 3.5: 4 of 8 differ, by 1; labels -1, 0, 4 of 5: the row of -1 has a 1 in the last place; 8 x 8
# to 4 x 4: each pixel is the one up left of the right one; to 16 x 16 cubic: the outer 3 rows and columns differ.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax2onnx==0.17.1 jax==0.10.2 flax==0.12.8 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from jax2onnx import to_onnx


def both(function, x):
    model = to_onnx(function, [jax.ShapeDtypeStruct(x.shape, x.dtype)])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(function(x)), session.run(None, {session.get_inputs()[0].name: x})[0]


halves = np.arange(-3.5, 4, dtype="float32")
right, seen = both(lambda x: jax.lax.round(x), halves)
print("jax.lax.round of", halves, "is", right, "in the file", seen)
changed = (right != seen).sum() != 4
assert np.array_equal(*both(lambda x: jax.lax.round(x, jax.lax.RoundingMethod.TO_NEAREST_EVEN), halves))
assert np.array_equal(*both(jnp.round, halves))

labels = np.int32([-1, 0, 4])
right, seen = both(lambda x: jax.nn.one_hot(x, 5), labels)
print("one_hot of", labels, "is", right.tolist(), "in the file", seen.tolist())
assert np.array_equal(right[1:], seen[1:]) and not right[0].any()
changed |= seen[0].tolist() != [0, 0, 0, 0, 1]

picture = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype("float32")
right, seen = both(lambda x: jax.image.resize(x, (1, 4, 4, 1), "nearest"), picture)
first, second = picture[:, ::2, ::2], picture[:, 1::2, 1::2]
print("nearest, halved: JAX takes the second pixel", np.array_equal(right, second), "the file the first", np.array_equal(seen, first))
assert np.array_equal(right, second)
changed |= not np.array_equal(seen, first)
odd = np.random.default_rng(0).normal(size=(1, 9, 9, 1)).astype("float32")
assert np.array_equal(*both(lambda x: jax.image.resize(x, (1, 3, 3, 1), "nearest"), odd))

right, seen = both(lambda x: jax.image.resize(x, (1, 16, 16, 1), "cubic", antialias=False), picture)
off = np.abs(right - seen)[0, :, :, 0]
rows = sorted({int(r) for r in np.argwhere(off > 1e-5)[:, 0]} & set(np.argwhere(off[:, 8] > 1e-5)[:, 0].tolist()))
print(f"cubic, doubled: off by up to {off.max():.2f}, in the middle column in the rows {rows}, inside by {off[3:-3, 3:-3].max():.1g}")
changed |= off.max() < 0.01
assert off[3:-3, 3:-3].max() < 1e-5
if changed:
    raise SystemExit("the file and JAX agree: the behaviour has changed")
PYTHON
