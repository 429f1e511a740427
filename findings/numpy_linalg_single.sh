#!/bin/sh
# NumPy 2.4.6, SciPy 1.17.1
#
# `numpy.linalg` has no single precision: `solve`, `inv` and `cholesky` of float32 matrices are computed in
# float64, and only the answer is rounded to float32. So what is tried in NumPy on float32 second moments
# (Hessians of a layer's inputs, as GPTQ factors them) says nothing of a port to a library that computes in
# float32: moments of 100 examples of 400 inputs, damped by 1e-5 of their mean, have a Cholesky factor by NumPy, and
# are "not positive definite" for `scipy.linalg` in float32. Nor does float32 save NumPy time or memory there.
#
# Seen: of 400 inputs with a condition of 1e6, `numpy.linalg.solve` in float32 is off by 4e-08 of the largest number
# from the answer in float64 (as far as float32 rounds), `scipy.linalg.solve` by 7e-03; NumPy factors the damped
# moments, SciPy raises LinAlgError.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy.linalg

rng = np.random.default_rng(0)
turn, _ = np.linalg.qr(rng.normal(size=(400, 400)))
moments = ((turn * np.geomspace(1, 1e-6, 400)) @ turn.T).astype("float32")
moments = (moments + moments.T) / 2
right = rng.normal(size=(400, 3)).astype("float32")
exact = np.linalg.solve(moments.astype("float64"), right.astype("float64"))


def off(answer):
    assert answer.dtype == np.float32
    return np.abs(answer - exact).max() / np.abs(exact).max()


by_numpy, by_scipy = off(np.linalg.solve(moments, right)), off(scipy.linalg.solve(moments, right))
print(f"solve in float32, off by: NumPy {by_numpy:.1e}, SciPy {by_scipy:.1e}")

few = (rng.normal(size=(100, 400)) + 3).astype("float32")
damped = few.T @ few / 100
damped[np.diag_indices(400)] += 1e-5 * damped.trace() / 400
factor = np.linalg.cholesky(damped)
print("NumPy's factor:", factor.dtype, "smallest on its diagonal", factor.diagonal().min())
try:
    scipy.linalg.cholesky(damped, lower=True)
    refused = False
except scipy.linalg.LinAlgError as error:
    refused = True
    print("SciPy:", error)
if by_numpy > 1e-7 or by_scipy < 1e-4 or not refused:
    raise SystemExit("NumPy computes in float32 now, or SciPy no longer does: the behaviour has changed")
PYTHON
