#!/bin/sh
# tensorly 0.10.0, NumPy 2.4.6
#
# A float as the rank says how many numbers a decomposition may have: "computes a rank so as to keep rank percent of the
# original number of parameters", and "same" as many as there were. `tensor_train` and `tensor_train_matrix` stay far below.
# With two factors (a matrix, or a tensorised dense layer of two by two sides) the quadratic equation for the rank has the
# term of an inner factor, which is not there: the rank comes out near its square root. A warning calls the case trivial.
# Else the ranks are taken in proportion to the neighbouring sides, and those that the first sides (3 x 3 of a Keras
# kernel, 1 x 1 of a pointwise one) cannot have are cut afterwards, without giving the rest to the others. `tucker` and
# `parafac` keep what they are asked. Look at the sizes that come out, or give the ranks as numbers.
#
# Seen: half of 512 x 512 gives rank 15 where 128 keep a half: 5.9 %; half of 1,024 x 256: 5.4 %; a 256 x 256 layer as
# (16, 16, 16, 16): 7.8 %, "same" 11.7 %; half of 3 x 3 x 64 x 128: 16.5 %, "same" 38 %; 1 x 1 x 256 x 256: 11.7 %.
# Right: half of 5 x 5 x 32 x 64 and of 64 x 64 x 64, 49 %; `tucker` and `parafac` of all of them, 42 to 56 %.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorly==0.10.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tensorly.cp_tensor import validate_cp_rank
from tensorly.decomposition import tensor_train, tensor_train_matrix
from tensorly.tucker_tensor import validate_tucker_rank

random = np.random.default_rng(0)


def kept(decompose, shape, rank):
    factors = decompose(random.normal(size=shape), rank=rank)
    return sum(factor.size for factor in factors) / np.prod(shape), factors.rank


changed = False
few = (512, 512), (1024, 256), (1, 1, 256, 256), (3, 3, 64, 128)
for shape in (*few, (5, 5, 32, 64), (64, 64, 64)):
    for rank in 0.5, "same":
        share, ranks = kept(tensor_train, shape, rank)
        asked = 1 if rank == "same" else rank
        print(f"tensor_train of {shape}, {rank}: ranks {tuple(ranks)}, {share:.1%} of the numbers")
        if shape in few:
            changed |= share > 0.45 * asked
        else:
            assert abs(share - asked) < 0.05
    ranks = validate_tucker_rank(shape, 0.5)
    tucker = (np.prod(ranks) + np.dot(ranks, shape)) / np.prod(shape)
    parafac = validate_cp_rank(shape, 0.5) * sum(shape) / np.prod(shape)
    assert 0.4 < tucker < 0.6 and 0.45 < parafac < 0.55, (tucker, parafac)
for rank in 0.5, "same":
    share, ranks = kept(tensor_train_matrix, (16, 16, 16, 16), rank)
    print(f"tensor_train_matrix of (16, 16, 16, 16), {rank}: ranks {tuple(ranks)}, {share:.1%} of the numbers")
    changed |= share > 0.2
by_number, _ = kept(tensor_train, (512, 512), (1, 128, 1))
assert by_number == 0.5
if changed:
    raise SystemExit("the fraction is kept: the behaviour has changed")
PYTHON
