#!/bin/sh
# MNN 3.6.1, onnx 1.23.2, onnxruntime 1.32.0
#
# Enlarging a picture with `Resize` mode "cubic" and ONNX' own default grid (and PyTorch's): the places left of the first
# pixel's middle, and above it, are negative, and MNN cuts their fraction off towards zero, where the pixel to start from
# lies below: what belongs at -0.25 is sampled at 0.75. So the first row and column of the result (by 4 the first two)
# come from a whole pixel further in, out of order; all others, and the far edges, are right. "align_corners" and
# "asymmetric", which have no negative places, are right everywhere, as is reducing.
# `antialias` is not looked at: a reduced picture is that of single pixels.
#
# Seen: a ramp 0 ... 7 by 2: begins -0.11, 0.19, 0.67 by the standard, 0.67, 0.19, 0.67 in MNN; by 4: -0.11, -0.07, 0.09 and
# 0.53, 0.82, 0.09. Of 12 x 12 noise by 2 and by 3 row 0 and column 0 are off by 2.2 and 2.3, all else right to 1e-4. With
# `antialias` 16 x 16 noise to 4 x 4: off by 1.3 and 1.7, and what comes without it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet MNN==3.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os

import _tools
import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def resize(x, scales, **options):
    """What onnxruntime and MNN make of x."""
    values = helper.make_tensor_value_info
    sides = [int(side * scale) for side, scale in zip(x.shape[2:], scales)]
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "s"], ["y"], **options)],
        "g",
        [values("x", TensorProto.FLOAT, x.shape)],
        [values("y", TensorProto.FLOAT, [1, 1, *sides])],
        [numpy_helper.from_array(np.array([1, 1, *scales], np.float32), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "x.onnx")
    screen, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", "x.onnx", "--MNNModel", "x.mnn", "--bizCode", "x"])
    os.dup2(screen, 1)
    net = nn.load_module_from_file("x.mnn", ["x"], ["y"])
    y = net.forward([expr.const(x, list(x.shape), expr.NCHW, expr.float)])[0]
    seen = np.array(expr.convert(y, expr.NCHW).read())
    right = onnxruntime.InferenceSession("x.onnx").run(None, {"x": x})[0]
    assert right.shape == seen.shape
    return right[0, 0], seen[0, 0]


np.set_printoptions(precision=2, suppress=True, linewidth=120)
changed = False
ramp = np.tile(np.arange(8, dtype=np.float32), (1, 1, 8, 1))
for scale, wrong in (2, 1), (4, 2):
    right, seen = resize(ramp, (1, scale), mode="cubic")
    print(f"ramp by {scale}:", right[3, :5], "in MNN", seen[3, :5])
    assert np.allclose(right[:, wrong:], seen[:, wrong:], atol=1e-4)
    places = (np.arange(wrong) + 0.5) / scale - 0.5 + 1
    inward = [seen[3, np.argmin(np.abs((np.arange(8 * scale) + 0.5) / scale - 0.5 - place))] for place in places]
    changed |= not np.allclose(seen[3, :wrong], inward, atol=1e-4)
x = np.random.default_rng(0).normal(size=(1, 1, 12, 12)).astype("float32")
for grid in "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric":
    for scale in 2, 3, 0.5:
        right, seen = resize(x, (scale, scale), mode="cubic", coordinate_transformation_mode=grid)
        off = np.abs(right - seen)
        rows, columns = np.flatnonzero(off[:, 2:].max(1) > 1e-4), np.flatnonzero(off[2:].max(0) > 1e-4)
        print(f"{grid} by {scale}: off by {off.max():.2g}, rows {rows}, columns {columns}")
        if "half" in grid and scale > 1:
            changed |= off.max() < 1 or rows.tolist() != [0] or columns.tolist() != [0]
        else:
            assert off.max() < 1e-4
x = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype("float32")
for mode in "linear", "cubic":
    plain = resize(x, (0.25, 0.25), mode=mode)[1]
    right, seen = resize(x, (0.25, 0.25), mode=mode, antialias=1)
    print(f"{mode} with antialias: off by {np.abs(right - seen).max():.2g}, from without it by {np.abs(plain - seen).max():.2g}")
    changed |= np.abs(right - seen).max() < 0.2 or not np.array_equal(plain, seen)
if changed:
    raise SystemExit("negative places are sampled rightly, or antialias is read: the behaviour has changed")
PYTHON
