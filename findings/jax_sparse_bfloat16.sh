#!/bin/sh
# JAX 0.10.2
#
# A product of a dense bfloat16 matrix is added up in float32 and rounded once. The same matrix as
# `jax.experimental.sparse.BCOO` or `BCSR` is added up in bfloat16, number by number, and a sum stands still where the
# next number is below half its last place: ones end at 256 (in float16 at 2,048). A pruned layer behind a `relu`,
# whose inputs don't cancel, gives outputs that are all too small, the more so the wider it is. `BCOO.sum` is
# right, so a comparison of sums passes; nothing warns of it (BCSR warns of its speed). Ask for
# `preferred_element_type=float32` by `bcoo_dot_general`, or store float32.
#
# Seen: 4,096 ones times ones: dense 4,096, BCOO and BCSR 256. Inputs and weights in 0 to 1, a tenth of the weights
# not zero, 1,024 or 4,096 inputs: the mean output is 0.994 and 0.94 of the right one; half of them not zero, 4,096 or
# 16,384 inputs: 0.50 and 0.13. Dense, or asked for float32: 1.000 in all.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

for sort, end in ("float32", 4096), ("bfloat16", 256), ("float16", 2048):
    ones, vector = jnp.ones((1, 4096), sort), jnp.ones(4096, sort)
    told = [float((ones @ vector)[0])]
    for kind in sparse.BCOO, sparse.BCSR:
        matrix = kind.fromdense(ones)
        told += [float((matrix @ vector)[0]), float(jax.jit(lambda m, v: m @ v)(matrix, vector)[0])]
    summed = float(sparse.BCOO.fromdense(ones).sum())
    print(f"4,096 ones in {sort}: dense {told[0]:.0f}, BCOO, BCSR, each plain and compiled {told[1:]}; BCOO.sum {summed:.0f}")
    assert told[0] == summed == 4096
    if set(told[1:]) != {end}:
        raise SystemExit("another sum: the behaviour has changed")

rng = np.random.default_rng(0)
shares = []
for width, filled in (1024, 0.1), (4096, 0.1), (4096, 0.5), (16384, 0.5):
    x = jnp.asarray(rng.random((64, width)), "bfloat16")
    kernel = jnp.asarray((rng.random((width, 64)) < filled) * rng.random((width, 64)), "bfloat16")
    right = np.asarray(x).astype("float64") @ np.asarray(kernel).astype("float64")
    pruned = sparse.BCOO.fromdense(kernel.T)
    numbers = (((1,), (0,)), ((), ()))
    wide = sparse.bcoo_dot_general(pruned, x.T, dimension_numbers=numbers, preferred_element_type=jnp.float32)
    dense, thin, wide = (float((np.asarray(y).astype("float64") / right).mean()) for y in (x @ kernel, (pruned @ x.T).T, wide.T))
    print(f"{width} inputs, {filled:.0%} not zero: of the right outputs dense {dense:.4f}, BCOO {thin:.4f}, BCOO in float32 {wide:.4f}")
    assert abs(dense - 1) < 2e-3 and abs(wide - 1) < 1e-4
    shares.append(thin)
if shares[2] > 0.9 or shares[3] > 0.5:
    raise SystemExit("the sparse product is right: the behaviour has changed")
PYTHON
