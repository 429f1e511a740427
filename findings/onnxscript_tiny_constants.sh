#!/bin/sh
# onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0
#
# onnxscript's optimizer takes "+ 0" and "* 1" away, and its matcher of constants calls all that is within 1e-8 of 0 a
# zero, and within 1e-5 of 1 a one. So it drops the small number that guards a division: `x / sqrt(sum(x * x) + 1e-12)`
# (the 1e-12 of many normalisations) becomes `x / sqrt(sum(x * x))`, which is NaN for a row of zeros (padding, a pruned
# filter, a dead unit) in place of zeros. A guard of 1e-7, or one of shape [1], is left alone: only scalars are looked
# at. A number of 9e-9 is added to numbers of that size in vain, and a scale of 1.000009 is left out. Both `optimize` and
# `rewrite` do so. Write the guard as `Max(x, 1e-12)`, or give it the shape [1].
#
# Seen: rows of numbers normalised, one of them zeros. Guards of 1e-12, 1e-9, 9e-9: the `Add` is gone, and the row of
# zeros is 8 times NaN; of 1e-7, or of shape [1]: all as before. 1e-9 + 9e-9 becomes 1e-9.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import onnxscript.optimizer
import onnxscript.rewriter
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node


def file(nodes, x, constants):
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [values("x", TensorProto.FLOAT, x.shape)],
        [values("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def outputs(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def rewritten(how, model):
    return how(onnx.ModelProto.FromString(model.SerializeToString()))


rng = np.random.default_rng(0)
x = rng.normal(size=(4, 8)).astype("float32")
x[1] = 0
normalise = [
    node("Mul", ["x", "x"], ["squares"]),
    node("ReduceSum", ["squares", "axes"], ["sum"], keepdims=1),
    node("Add", ["sum", "guard"], ["safe"]),
    node("Sqrt", ["safe"], ["length"]),
    node("Div", ["x", "length"], ["y"]),
]
changed = False
for how in onnxscript.optimizer.optimize, onnxscript.rewriter.rewrite:
    for guard in np.float32(1e-12), np.float32(1e-9), np.float32(9e-9), np.float32(1e-7), np.float32([1e-12]):
        model = file(normalise, x, {"guard": np.asarray(guard), "axes": np.int64([1])})
        after = rewritten(how, model)
        right, seen = outputs(model, x), outputs(after, x)
        kinds = [n.op_type for n in after.graph.node]
        lost = guard.ndim == 0 and guard < 1e-8
        print(f"{how.__name__}, guard {guard:.0e}" if guard.ndim == 0 else f"{how.__name__}, guard {guard}", kinds, f"NaN: {np.isnan(seen).sum()}")
        assert np.isfinite(right).all() and (right[1] == 0).all()
        changed |= ("Add" not in kinds) != lost or np.isnan(seen[1]).all() != lost
    small = np.full((4, 8), 1e-9, "float32")
    model = file([node("Add", ["x", "c"], ["y"])], small, {"c": np.asarray(np.float32(9e-9))})
    right, seen = outputs(model, small).mean(), outputs(rewritten(how, model), small).mean()
    print(f"1e-9 + 9e-9: {right:.3g}, after {how.__name__} {seen:.3g}")
    changed |= abs(seen / right - 1) < 0.5
    model = file([node("Mul", ["x", "c"], ["y"])], x, {"c": np.asarray(np.float32(1.000009))})
    changed |= (outputs(rewritten(how, model), x) != x).any()
if changed:
    raise SystemExit("small constants are kept: the behaviour has changed")
PYTHON
