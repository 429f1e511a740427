#!/bin/sh
# sparse 0.19.3 (pydata), NumPy 2.4.6, SciPy 1.17.1
#
# A pruned matrix is mostly made as `weights * mask`, and half of its zeros are then -0.0: those of the negative weights.
# To `sparse.COO` and `GCXS` -0.0 is another number than the fill value 0.0, compared by its bits: all of them are stored,
# in `COO` with 16 bytes of coordinates each. `nnz`, `density`, `nonzero` and the file count them as nonzero, though the
# text of `nnz` promises what `numpy.count_nonzero` says; SciPy's formats and NumPy leave them out. `prune=True` does not
# take them away. A sparse matrix times a dense mask gives the same; the mask has to be the sparse one of the two.
# The other way round a negated matrix has the fill value -0.0, and can no longer be put beside the original.
# `numpy.where(mask, weights, 0)` in place of the product, or adding 0.0 first, is right.
#
# Seen: 1,000 x 1,000 normal weights, 90 % pruned: 100,036 numbers are not zero, `COO` and `GCXS` store 549,767, density
# 0.55, and the file of `save_npz` takes 11.0 MB in place of 2.0 (dense 4.0). `concatenate([x, -x])` raises an error.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sparse==0.19.3 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os

import numpy as np
import scipy.sparse
import sparse

weights = np.random.default_rng(0).normal(size=(1000, 1000)).astype("float32")
mask = np.abs(weights) > 1.6449
pruned, chosen = weights * mask, np.where(mask, weights, 0)
assert np.array_equal(pruned, chosen)
right = np.count_nonzero(pruned)
print("not zero:", right, "of", pruned.size)
assert scipy.sparse.coo_array(pruned).nnz == scipy.sparse.csr_array(pruned).nnz == right


def size(x):
    sparse.save_npz("x.npz", x, compressed=False)
    return os.path.getsize("x.npz")


whole = sparse.COO(weights)
made = sparse.COO(pruned)
ways = {
    "COO(weights * mask)": made,
    "GCXS(weights * mask)": sparse.GCXS(pruned),
    "the same, prune=True": sparse.COO(made.coords, made.data, shape=made.shape, prune=True),
    "COO(weights) * mask": whole * mask,
    "COO(where(mask, weights, 0))": sparse.COO(chosen),
    "COO(weights * mask + 0.0)": sparse.COO(pruned + np.float32(0)),
    "weights * COO(mask)": weights * sparse.COO(mask),
}
for name, x in ways.items():
    print(f"{name}: nnz {x.nnz}, density {x.density:.2f}, file {size(x) / 1e6:.1f} MB")
    assert np.array_equal(x.todense(), pruned)
seen = [x.nnz for x in ways.values()]
changed = min(seen[:4]) < 5 * right or max(seen[4:]) != right
assert np.count_nonzero(made.data) == right and np.signbit(made.data[made.data == 0]).all()
changed |= len(made.nonzero()[0]) != made.nnz

x = sparse.COO(chosen)
print("the fill value of -x is", (-x).fill_value)
try:
    sparse.concatenate([x, -x])
    changed = True
except ValueError as error:
    print("concatenate([x, -x]):", error)
if changed:
    raise SystemExit("negative zeros are zeros: the behaviour has changed")
PYTHON
