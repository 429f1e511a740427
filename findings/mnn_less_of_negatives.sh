#!/bin/sh
# MNN 3.6.1, onnx 1.23.2, onnxruntime 1.32.0, x86-64
#
# `Less` of two float tensors compares their bits as if they were integers, on x86-64: right where one of the two is
# not negative, the other way round wherever both are. So is all that is made of it: a `Where` (a mask, a threshold
# below zero), and ONNX' `Shrink`, which MNN writes as comparisons with lambd and -lambd: what should stay on the negative
# side becomes 0. `Greater`, `LessOrEqual` and `GreaterOrEqual` are right: say `Greater(b, a)`. `Equal` compares bits too: 0.0
# is not -0.0 (as which weights * mask has its zeros), and NaN is NaN.
#
# Seen: -3 ... 3 less than -1.5: true for -1 only, in place of -3 and -2. Of 4,096 normal numbers, two by two, 25.5 % are
# wrong: all pairs of negatives, no other, as the bits' order has it. Soft `Shrink` of -2, -1, -0.3 by 0.5: 0, 0, 0.2 in
# place of -1.5, -0.5, 0. 0.0, -0.0, 1 and NaN equal to themselves with the other sign of 0: 0 0 1 1 in place of 1 1 1 0.
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


def run(nodes, x, constants):
    """What onnxruntime and MNN give."""
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [values("x", TensorProto.FLOAT, x.shape)],
        [values("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
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


def compare(operator, x, other):
    return run([helper.make_node(operator, ["x", "c"], ["m"]), helper.make_node("Cast", ["m"], ["y"], to=1)], x, {"c": other})


changed = False
few = np.arange(-3, 4).astype("float32")
for limit in -1.5, 1.5:
    right, seen = compare("Less", few, limit)
    print(few, f"less than {limit}:", right, "in MNN", seen)
    changed |= np.array_equal(right, seen) != (limit > 0)
chosen = [helper.make_node("Less", ["x", "c"], ["m"]), helper.make_node("Where", ["m", "x", "zero"], ["y"])]
right, seen = run(chosen, few, {"c": -1.5, "zero": 0})
print("where that holds:", right, "in MNN", seen)
changed |= np.array_equal(right, seen)

a, b = np.random.default_rng(0).normal(size=(2, 4096)).astype("float32")
both = (a < 0) & (b < 0)
for operator in "Less", "Greater", "LessOrEqual", "GreaterOrEqual":
    right, seen = compare(operator, a, b)
    wrong = right != seen
    print(f"{operator} of {a.size} pairs: wrong {wrong.mean():.1%}, of negatives {wrong[both].mean():.0%}, of others {wrong[~both].mean():.0%}")
    if operator == "Less":
        changed |= not np.array_equal(seen == 1, a.view(np.int32) < b.view(np.int32)) or not wrong[both].all()
    else:
        assert not wrong.any()
assert not (lambda right, seen: (right != seen).any())(*compare("Greater", b, a))
right, seen = compare("Equal", np.float32([0.0, -0.0, 1, np.nan]), np.float32([-0.0, 0.0, 1, np.nan]))
print("0.0 == -0.0, -0.0 == 0.0, 1 == 1, nan == nan:", right, "in MNN", seen)
changed |= np.array_equal(right, seen)

x = np.float32([-2, -1, -0.3, 0.3, 1, 2])
for bias in 0, 0.5:
    right, seen = run([helper.make_node("Shrink", ["x"], ["y"], lambd=0.5, bias=float(bias))], x, {})
    print(f"Shrink of {x} with bias {bias}:", right, "in MNN", seen.round(3))
    changed |= np.allclose(right, seen)
if changed:
    raise SystemExit("negative numbers are ordered as they are: the behaviour has changed")
PYTHON
