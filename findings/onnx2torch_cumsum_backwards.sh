#!/bin/sh
# onnx2torch 1.5.15, torch 2.14.1, onnx 1.23.2, onnxruntime 1.32.0
#
# ONNX' `CumSum` adds from the front unless `reverse` is 1, and writers leave the option out, as they do with all that have
# their default. onnx2torch takes 1 for its default, and adds from the back: silently, with the right shape and kind, and
# the right number in one place. Positions that a transformer counts from its mask come out in falling order, a running mean
# looks ahead. A file that says `reverse=0` is converted rightly, `exclusive` too.
#
# Seen: of 1, 2, 3, 4 without the option 10, 9, 7, 4 in place of 1, 3, 6, 10, with versions 11 and 14, along either axis, in
# floats and integers; with `exclusive=1` 9, 7, 4, 0 in place of 0, 1, 3, 6. With `reverse=0`, or 1, as by onnxruntime. Positions
# of a sentence of three words and two blanks: 3, 2, 1, 0, 0 in place of 1, 2, 3, 0, 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx2torch==1.5.15 torch==2.14.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnx2torch
import onnxruntime
import torch
from onnx import helper, numpy_helper

torch.set_num_threads(1)


def both(nodes, x, axis, version):
    """What onnxruntime and the converted module make of x."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, x.shape)],
        [numpy_helper.from_array(np.array(axis), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    right = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    with torch.no_grad():
        seen = onnx2torch.convert(model).eval()(torch.from_numpy(x)).numpy()
    assert seen.shape == right.shape and seen.dtype == right.dtype
    return right, seen


changed = False
for version in 11, 14:
    for x, axis in (np.arange(1, 5, dtype="float32")[None], 1), (np.arange(1, 5, dtype="int64")[:, None], 0):
        for options in {}, {"exclusive": 1}, {"reverse": 0}, {"reverse": 1}, {"exclusive": 1, "reverse": 0}:
            right, seen = both([helper.make_node("CumSum", ["x", "axis"], ["y"], **options)], x, axis, version)
            print(f"version {version}, {x.dtype}, axis {axis}, {options}: {right.ravel()}, by onnx2torch {seen.ravel()}")
            if "reverse" in options:
                assert np.array_equal(right, seen)
            else:
                backwards = np.flip(np.cumsum(np.flip(x, axis), axis), axis) - (x if options else 0)
                changed |= not np.array_equal(seen, backwards)
mask = np.array([[1, 1, 1, 0, 0]], "int64")
count = [helper.make_node("CumSum", ["x", "axis"], ["c"]), helper.make_node("Mul", ["c", "x"], ["y"])]
right, seen = both(count, mask, 1, 14)
print("positions", right.ravel(), "by onnx2torch", seen.ravel())
if changed or np.array_equal(right, seen):
    raise SystemExit("CumSum adds from the front: the behaviour has changed")
PYTHON
