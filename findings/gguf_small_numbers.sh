#!/bin/sh
# gguf 0.19.0, NumPy 2.4.6
#
# GGUF's simple types keep one scale for 32 numbers, in float16, and float16 ends early: in `Q8_0` the scale is a
# 127th of the block's largest number. Below 0.0077 for that number the scale loses bits, below 4e-6 it is zero, and
# so are all 32 numbers; `Q4_0`, whose scale is an eighth, keeps them: eight bits are worse than four. Small
# numbers are not rare (an adapter's product, an optimizer's moments, a layer's scale). `quantize` says nothing.
# Multiply such a tensor by a power of two before and divide after, or take `BF16` or `MXFP4`.
#
# Seen, as the error of normal numbers in their deviation, for deviations of 2e-2, 2e-5, 2e-6, 1e-6 and 5e-7: Q8_0
# 0.005, 0.05, 0.65, 1.00 and 1.00; Q4_0 0.09, 0.09, 0.09, 0.10 and 0.15; MXFP4 0.11 throughout; Q8_0 of the
# numbers times 2^20, divided after, 0.005 throughout.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gguf==0.19.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from gguf import GGMLQuantizationType, quants

normal = np.random.default_rng(0).normal(size=(256, 256))
deviations = 2e-2, 2e-5, 2e-6, 1e-6, 5e-7


def errors(sort, times=1.0):
    told = []
    for deviation in deviations:
        x = (normal * deviation).astype("float32")
        y = quants.dequantize(quants.quantize(x * np.float32(times), sort), sort) / np.float32(times)
        told.append(float(np.sqrt(((y - x) ** 2).mean()) / x.std()))
    print(f"{sort.name}{f', times {times:.0f}' if times != 1 else ''}:", ", ".join(f"{e:.4f}" for e in told))
    return told


print("errors for deviations of", deviations)
four, eight = errors(GGMLQuantizationType.Q4_0), errors(GGMLQuantizationType.Q8_0)
for sort in GGMLQuantizationType.BF16, GGMLQuantizationType.MXFP4:
    told = errors(sort)
    assert max(told) < 1.1 * told[0]
helped = errors(GGMLQuantizationType.Q8_0, 2.0**20)
assert max(helped) < 0.01 and eight[0] < 0.01 and four[0] < 0.1
if eight[2] < four[2] or eight[3] < 0.5 or eight[4] < 0.99 or four[4] > 0.3:
    raise SystemExit("eight bits are better: the behaviour has changed")
PYTHON
