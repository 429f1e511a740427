#!/bin/sh
# optax 0.2.8, JAX 0.10.2
#
# `optax.clip_by_global_norm` of float16 gradients adds the squares up in float16, where nothing is above 65,504. A
# norm of 256 or more is infinite there, and the gradients, divided by it, all become zero: not NaN, not clipped to
# the norm asked for, zero. The step that should have been shortened isn't made, nothing warns, and a check for finite
# numbers behind it (`apply_if_finite`) passes. One layer of large gradients takes the others' with it. bfloat16 and
# float32 are right, as they are if the gradients are cast to float32 first.
#
# Seen, clipped to a norm of 1: of ten gradients of 50 (a norm of 158) each becomes 0.316, of ten of 100 (316) 0, with
# and without `jit`, for float16; 0.316 in both for bfloat16, for float32, and for float16 cast first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet optax==0.2.8 jax==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
import optax

clip = optax.clip_by_global_norm(1.0)


def clipped(gradients):
    plain = clip.update(gradients, clip.init(gradients))[0]
    compiled = jax.jit(lambda g: clip.update(g, clip.init(g))[0])(gradients)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(compiled)):
        np.testing.assert_allclose(np.float32(one), np.float32(other), rtol=0.01)
    return plain


def first(size, sort, cast=None):
    gradients = {"kernel": jnp.full(10, size, sort)}
    if cast:
        gradients = jax.tree.map(lambda g: g.astype(cast), gradients)
    norm, told = float(optax.global_norm(gradients)), float(clipped(gradients)["kernel"][0])
    print(f"ten gradients of {size:.0f}, {sort}{f' cast to {cast}' if cast else ''}: norm {norm:.1f} (right: {size * 10**0.5:.1f}), each clipped to {told:.4f}")
    return told


right = 10**-0.5
for sort, cast in ("float32", None), ("bfloat16", None), ("float16", "float32"):
    for size in 50, 100:
        assert abs(first(size, sort, cast) - right) < 0.003
assert abs(first(50, "float16") - right) < 0.003
wrong = first(100, "float16")
two = clipped({"large": jnp.full(10, 100, "float16"), "small": jnp.full(10, 1, "float16")})
print("a small layer beside a large one:", float(two["small"][0]), "(right: 0.0032)")
state = optax.apply_if_finite(clip, 3).init(two)
_, state = optax.apply_if_finite(clip, 3).update({"large": jnp.full(10, 100, "float16"), "small": two["small"]}, state)
print("apply_if_finite found all finite:", bool(state.last_finite))
if wrong != 0 or float(two["small"][0]) != 0 or not state.last_finite:
    raise SystemExit("the gradients are clipped: the behaviour has changed")
PYTHON
