#!/bin/sh
# MNN 3.6.1, onnx 1.23.2, onnxruntime 1.32.0
#
# In ONNX' version 18 the axes of `ReduceL2` and its like became an input. MNN's converter reads them for `ReduceSum`,
# `ReduceMean`, `ReduceMax`, `ReduceMin` and `ReduceProd`; for `ReduceL1`, `ReduceL2`, `ReduceLogSum`, `ReduceLogSumExp` and
# `ReduceSumSquare` it looks for the attribute of old, does not find it, and reduces everything, the batch as well. With
# `keepdims` the one number is then broadcast: vectors are normalised by the length of the whole batch, silently, and a
# test with one example at a time finds nothing wrong. Files of version 17 and before are right.
#
# Seen: x / ReduceL2(x, axis 1) of 1 x 16: length 1; of 4 x 16: lengths 0.42 to 0.54, where all should be 1. The other four
# likewise: right for one example, wrong for four; with version 13 right for both.
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


def run(operator, version, x):
    """What onnxruntime and MNN give for x over (or minus) its reduction along axis 1."""
    values = helper.make_tensor_value_info
    if version < 18 and operator != "ReduceSum":
        reduce, constants = helper.make_node(operator, ["x"], ["r"], axes=[1], keepdims=1), []
    else:
        reduce = helper.make_node(operator, ["x", "axes"], ["r"], keepdims=1)
        constants = [numpy_helper.from_array(np.array([1]), "axes")]
    graph = helper.make_graph(
        [reduce, helper.make_node("Sub" if "Log" in operator else "Div", ["x", "r"], ["y"])],
        "g",
        [values("x", TensorProto.FLOAT, x.shape)],
        [values("y", TensorProto.FLOAT, x.shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "x.onnx")
    screen, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", "x.onnx", "--MNNModel", "x.mnn", "--bizCode", "x"])
    os.dup2(screen, 1)
    net = nn.load_module_from_file("x.mnn", ["x"], ["y"])
    y = net.forward([expr.const(x, list(x.shape), expr.NCHW, expr.float)])[0]
    return onnxruntime.InferenceSession("x.onnx").run(None, {"x": x})[0], np.array(expr.convert(y, expr.NCHW).read())


x = np.random.default_rng(0).uniform(0.1, 2, (4, 16)).astype("float32")
wrong = "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"
changed = False
for operator in (*wrong, "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
    told = []
    for version in 13, 18:
        for batch in 1, 4:
            right, seen = run(operator, version, x[:batch])
            assert right.shape == seen.shape
            off = np.abs(right - seen).max() / np.abs(right).max()
            told.append(f"version {version}, {batch} examples {off:.1g}")
            if operator in wrong and version == 18 and batch == 4:
                changed |= off < 0.1
            else:
                assert off < 1e-5, told
    print(f"{operator}: off by", "; ".join(told))
right, seen = run("ReduceL2", 18, x)
print("lengths after x / ReduceL2(x):", np.linalg.norm(right, axis=1), "in MNN", np.linalg.norm(seen, axis=1))
if changed:
    raise SystemExit("the axes are read: the behaviour has changed")
PYTHON
