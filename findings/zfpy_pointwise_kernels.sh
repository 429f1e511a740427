#!/bin/sh
# zfpy 1.0.1.post0, numpy 2.4.6
#
# zfpy's lossless compression of the kernel of a pointwise convolution, [256, 256, 1, 1], gives almost nine
# times as many bytes as the kernel has, and of a kernel of 3 by 3, [64, 64, 3, 3], 1.8 times: an array is cut
# into blocks of four along each of its dimensions, incomplete ones are filled up, and what fills them is paid
# for. Dimensions of one are not dropped. The same numbers as a matrix, or in three or four dimensions that
# four divides, are within 2 % of what they had.
#
# Seen, of 262,144 bytes of normal numbers: as [256, 256] 260,024, as [256, 256, 1] 834,256, as [256, 256, 1,
# 1] 2,286,240, as [1, 1, 256, 256] 2,268,160; all are decoded exactly. zlib makes 242,799 of each.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet zfpy==1.0.1.post0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import zlib

import numpy as np
import zfpy

rng = np.random.default_rng(0)


def ratio(held):
    packed = zfpy.compress_numpy(held)
    assert np.array_equal(zfpy.decompress_numpy(packed), held)
    times = len(packed) / held.nbytes
    print(f"{held.shape}: {held.nbytes:,} bytes, zfpy {len(packed):,} ({times:.3f}), zlib {len(zlib.compress(held.tobytes())):,}")
    return times


pointwise = (0.05 * rng.normal(size=(256, 256))).astype("float32")
for shape in (256, 256), (4, 64, 256), (4, 4, 64, 64):
    assert ratio(pointwise.reshape(shape)) < 1.05
square = (0.05 * rng.normal(size=(64, 64, 3, 3))).astype("float32")
assert ratio(square.reshape(64, -1)) < 1.05
told = [ratio(pointwise.reshape(shape)) for shape in ((1, 256, 256), (256, 256, 1))]
told += [ratio(pointwise.reshape(shape)) for shape in ((1, 1, 256, 256), (256, 256, 1, 1))]
told.append(ratio(square))
if min(told[:2]) < 2 or min(told[2:4]) < 5 or told[4] < 1.5:
    raise SystemExit("no larger than the numbers: the behaviour has changed")
PYTHON
