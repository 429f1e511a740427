#!/bin/sh
# MNN 3.6.1, onnx 1.23.2, onnxruntime 1.32.0
#
# ONNX' `ScatterND` has a `reduction`: "add", "mul", "max" or "min" of what is there and what comes. MNN takes such files and
# overwrites, whatever it says: its converter does not look at the attribute. Sums by index (histograms, messages between
# the nodes of a graph, pooling by segment) are the last value written each, silently. Of `ScatterElements` it looks for
# "add" and "mul" alone: "max" and "min" overwrite. Without a reduction both are right. A matrix product with a one-hot
# matrix is a way round for sums.
#
# Seen: five ones added by the indices 0 0 0 1 1 to 10 10 10: 13 12 10 by the standard, 1 1 10 in MNN; "mul", "max" and
# "min", and the last two of `ScatterElements`, likewise leave what comes last.
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


def scatter(operator, reduction, x, index, updates):
    """What onnxruntime and MNN give."""
    values = helper.make_tensor_value_info
    index = np.array(index).reshape(-1, 1) if operator == "ScatterND" else np.array(index)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "i", "u"], ["y"], reduction=reduction)],
        "g",
        [values("x", TensorProto.FLOAT, x.shape)],
        [values("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(index, "i"), numpy_helper.from_array(updates, "u")],
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
    return onnxruntime.InferenceSession("x.onnx").run(None, {"x": x})[0], seen


changed = False
x = np.full(3, 10, np.float32)
for operator in "ScatterND", "ScatterElements":
    right, seen = scatter(operator, "none", x, [2, 0], np.float32([1, 2]))
    assert right.tolist() == seen.tolist() == [2, 10, 1]
    for reduction, value in ("add", 1), ("mul", 2), ("max", 2), ("min", 20):
        if operator == "ScatterElements" and reduction in ("add", "mul"):
            continue
        updates = np.full(5, value, np.float32)
        right, seen = scatter(operator, reduction, x, [0, 0, 0, 1, 1], updates)
        print(f"{operator}, {reduction} {value}:", right, "in MNN", seen)
        changed |= seen.tolist() != [value, value, 10]
        assert right.tolist() != seen.tolist()
if changed:
    raise SystemExit("the reduction is done: the behaviour has changed")
PYTHON
