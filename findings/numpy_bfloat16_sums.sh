#!/bin/sh
# ml_dtypes 0.6.0, NumPy 2.4.6, safetensors 0.8.0
#
# Weights in bfloat16, as `safetensors.numpy.load_file` gives them: `mean`, `std` and `var` over all of
# them add up in bfloat16, one number after the other, and a sum stops growing once it is 256 times what is
# added. A scale taken from the deviation is far too small, and the more weights the smaller. NumPy's own
# float16 is not added so, a hundred weights of bfloat16 are right, `b @ b` is right (it adds in float32), and
# so is `std(dtype="float32")`. Nothing warns.
#
# Seen: of 1,000,000 normal weights with a deviation of 0.02, `std` is 0.0015 in bfloat16 and 0.0200 in
# float16; the mean of 10,000 ones is 0.0256 in bfloat16, 0.002 in float8_e4m3fn, 0.0009 in float8_e5m2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ml_dtypes==0.6.0 numpy==2.4.6 safetensors==0.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

rng = np.random.default_rng(0)
weights = rng.normal(0, 0.02, (1000, 1000)).astype("float32")
save_file({"b": weights.astype(ml_dtypes.bfloat16), "h": weights.astype("float16")}, "w.safetensors")
held = load_file("w.safetensors")
b, h = held["b"], held["h"]
print("type read from the file:", b.dtype)
print("std of 1,000,000 weights: float32", weights.std(), "float16", h.std(), "bfloat16", b.std())
few = b[:10, :10]
print("std of 100 of them: float32", weights[:10, :10].std(), "bfloat16", few.std())
told = np.std(b, dtype="float32")
print("bfloat16 with dtype='float32':", told)
assert 0.019 < h.std() < 0.021 and 0.019 < told < 0.021 and 0.018 < float(few.std()) < 0.021
for name in "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn":
    ones = np.ones(10000, getattr(ml_dtypes, name, name))
    print(name, "mean of 10,000 ones:", ones.mean(), "sum:", ones.sum(), "ones @ ones:", ones @ ones)
one = np.ones(10000, ml_dtypes.bfloat16)
assert float(one @ one) > 9900 and np.ones(10000, "float16").mean() == 1
if float(b.std()) > 0.005 or float(one.mean()) > 0.1:
    raise SystemExit("the sums are right: the behaviour has changed")
PYTHON
