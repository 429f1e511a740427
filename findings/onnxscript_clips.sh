#!/bin/sh
# onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0
#
# onnxscript's optimizer makes one `Clip` of two, with the larger lower and the smaller upper bound, whether or not the
# two ranges meet, and one of a `Clip` and the `Relu` after it in the same way. Where they do not meet, a `Clip`
# whose lower bound is above its upper one gives the upper one: `Relu` of numbers in -3 to -1 is -1 in place of 0, and
# a clip to 2 to 3 after one to 0 to 1 gives 1 in place of 2. The other order of either is right, by the same rule.
# Nothing is said of it, and the rewriter's own text has the two as equal without a condition.
#
# Seen: `Relu(Clip(x, -3, -1))` is -1 everywhere after `optimize`, `Clip(Clip(x, 0, 1), 2, 3)` is 1 everywhere;
# `Clip(Relu(x), -3, -1)`, `Clip(Clip(x, 2, 3), 0, 1)` and ranges that meet are as before.
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
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
x = np.random.default_rng(0).normal(size=(4, 8)).astype("float32") * 3


def before_and_after(layers):
    nodes, constants = [], []
    for i, layer in enumerate(layers):
        bounds = [f"b{i}", f"t{i}"] if layer else []
        constants += [numpy_helper.from_array(np.asarray(np.float32(v)), k) for k, v in zip(bounds, layer)]
        out = "y" if i == len(layers) - 1 else f"h{i}"
        nodes.append(node("Clip" if layer else "Relu", [nodes[-1].output[0] if nodes else "x", *bounds], [out]))
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [values("x", TensorProto.FLOAT, x.shape)], [values("y", TensorProto.FLOAT, x.shape)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    after = onnxscript.optimizer.optimize(onnx.ModelProto.FromString(model.SerializeToString()))
    kinds = [n.op_type for n in after.graph.node]
    runs = [onnxruntime.InferenceSession(m.SerializeToString(), options).run(None, {"x": x})[0] for m in (model, after)]
    return *runs, kinds


changed = False
relu = ()
for layers, wrong in (
    ([(-3, -1), relu], -1),
    ([(0, 1), (2, 3)], 1),
    ([relu, (-3, -1)], None),
    ([(2, 3), (0, 1)], None),
    ([(-1, 1), relu], None),
    ([(-1, 2), (1, 3)], None),
):
    right, seen, kinds = before_and_after(layers)
    text = ", then ".join(f"clip to {r[0]} to {r[1]}" if r else "relu" for r in layers)
    print(f"{text}: {right.min():.3g} to {right.max():.3g}; as {kinds}: {seen.min():.3g} to {seen.max():.3g}")
    changed |= kinds != ["Clip"] or ((seen == right).all() if wrong is not None else not (seen == right).all())
    changed |= wrong is not None and not (seen == wrong).all()
if changed:
    raise SystemExit("two clips are two again: the behaviour has changed")
PYTHON
