#!/bin/sh
# onnx 1.23.2, onnxruntime 1.32.0
#
# ONNX' own version converter, on a file that enlarges or shrinks pictures: `Upsample` of version 9 and `Resize` of
# version 10 have one grid (a number's place is its index divided by the scale), `Resize` from 11 on has several,
# and its default is another (half a pixel shifted). The converter renames and adds inputs, but does not write the
# old grid into the node, so the file converted to 11 or later computes other numbers, and passes the checker.
# `Hardmax`, whose meaning changed in 13 (from all axes on to one), is left as it was too. `Softmax` is rewritten.
# Nearest with a whole scale stays right. Set `coordinate_transformation_mode` to `asymmetric` (and, for nearest,
# `nearest_mode` to `floor`) in the converted nodes.
#
# Seen, normal numbers, 9 or 10 to 11 or 18: linear, enlarged twofold, up to 1.3 off, shrunk to half 1.4; nearest with
# a scale of 1.3 3.1 off; all 0 with the attributes set. `Hardmax` over axis 1 of [2, 3, 4], 11 to 13: 8 ones, not 2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter


def run(model, x):
    off = onnxruntime.SessionOptions()
    off.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), off).run(None, {"x": x})[0]


def compare(kind, start, end, shape, scales=None, repair=False, **attributes):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    held = [] if scales is None else [numpy_helper.from_array(np.array(scales, "float32"), "s")]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"] + ["s"] * len(held), ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"][: len(shape)])],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", start)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    made = version_converter.convert_version(model, end)
    if repair:
        (node,) = (n for n in made.graph.node if n.op_type == "Resize")
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        node.attribute.append(helper.make_attribute("nearest_mode", "floor"))
    onnx.checker.check_model(made, full_check=True)
    before, after = run(model, x), run(made, x)
    error = float(np.abs(before - after).max())
    what = f"{kind} {attributes or ''} {scales or ''}{', repaired' if repair else ''}"
    print(f"{what}, {start} to {end}: {error:.4f} off at most; the sums {before.sum():.3f} and {after.sum():.3f}")
    return error


wrong = []
for kind, start in ("Upsample", 9), ("Resize", 10):
    for end in 11, 18:
        for mode, scale in ("linear", 2.0), ("linear", 1.5), ("nearest", 1.3):
            given = [1, 1, scale, scale]
            wrong.append(compare(kind, start, end, [1, 2, 8, 8], given, mode=mode))
            assert compare(kind, start, end, [1, 2, 8, 8], given, True, mode=mode) < 1e-5
        assert compare(kind, start, end, [1, 2, 8, 8], [1, 1, 2.0, 2.0], mode="nearest") == 0
wrong.append(compare("Resize", 10, 18, [1, 2, 8, 8], [1, 1, 0.5, 0.5], mode="linear"))
wrong.append(compare("Hardmax", 11, 13, [2, 3, 4], axis=1))
assert compare("Softmax", 11, 13, [2, 3, 4], axis=1) < 1e-5
if min(wrong) < 0.1:
    raise SystemExit("the numbers are kept: the behaviour has changed")
PYTHON
