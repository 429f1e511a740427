#!/bin/sh
# apache-tvm 0.27.0.post1, onnx 1.23.2, onnxruntime 1.32.0
#
# TVM's ONNX frontend reads less of some nodes than it accepts, silently. Of `Resize` it takes the `scales` to work out the
# sizes, and samples by the sizes' ratio from then on, where the standard samples by the scales: if scale * side is no
# whole number (0.6 * 9 is 5.4, so 5), every pixel comes from another place, with "nearest", "linear" and "cubic", in
# "half_pixel" as in "asymmetric". `antialias` is not looked at: a reduced picture is that of single pixels.
# `IsInf` does not look at `detect_negative` and `detect_positive`. Whole products, and `sizes` in place of `scales`,
# are right: turn scales into sizes only where nothing is left over.
#
# Seen: 8 x 9 by 0.5 and 0.6, three modes, two grids: off by 1.2 to 3.2, and to 1e-5 what onnxruntime gives for the sizes
# 4 and 5; by 0.5 and 3, and by 2: right. With `antialias`: off by 1.2, and to 1e-5 what is right without it. `IsInf` of
# inf and -inf with `detect_negative=0`: both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-tvm==0.27.0.post1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

node = helper.make_node


def file(nodes, x, constants):
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [values("x", TensorProto.FLOAT, x.shape)],
        [values("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def by_onnxruntime(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def by_tvm(model, x):
    module = relax.transform.LegalizeOps()(relax.transform.DecomposeOpsForInference()(from_onnx(model)))
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(x)).numpy()


def resize(by, value, **options):
    inputs = ["x", "", "v"] if by == "scales" else ["x", "", "", "v"]
    kind = np.float32 if by == "scales" else np.int64
    return file([node("Resize", inputs, ["y"], **options)], x, {"v": np.array([1, 4, *value] if by == "sizes" else [1, 1, *value], kind)})


x = np.random.default_rng(0).normal(size=(1, 4, 8, 9)).astype("float32")
changed = False
for mode in "nearest", "linear", "cubic":
    for grid in "half_pixel", "asymmetric":
        options = {"mode": mode, "coordinate_transformation_mode": grid}
        if mode == "nearest":
            options["nearest_mode"] = "floor"
        for scales, left in ((0.5, 0.6), True), ((0.5, 3), False), ((2, 2), False):
            model = resize("scales", scales, **options)
            right, seen = by_onnxruntime(model, x), by_tvm(model, x)
            assert right.shape == seen.shape
            off = float(np.abs(right - seen).max())
            if left:
                sized = by_onnxruntime(resize("sizes", right.shape[2:], **options), x)
                also = float(np.abs(seen - sized).max())
                print(f"{mode}, {grid}, scales {scales}: off by {off:.2f}, from sizes {right.shape[2:]} by {also:.1g}")
                changed |= off < 0.1 or also > 1e-4
            else:
                assert off < 1e-3, (mode, grid, scales, off)
for antialias in 0, 1:
    model = resize("sizes", (4, 3), mode="linear", antialias=antialias)
    right, seen = by_onnxruntime(model, x), by_tvm(model, x)
    plain = right if not antialias else plain
    print(f"antialias={antialias}: off by {np.abs(right - seen).max():.2g}, from antialias=0 by {np.abs(plain - seen).max():.1g}")
    changed |= (np.abs(right - seen).max() > 0.1) != bool(antialias) or np.abs(plain - seen).max() > 1e-4
ends = np.float32([np.inf, -np.inf, 1])
model = file([node("IsInf", ["x"], ["b"], detect_negative=0), node("Cast", ["b"], ["y"], to=TensorProto.FLOAT)], ends, {})
right, seen = by_onnxruntime(model, ends), by_tvm(model, ends)
print("IsInf of", ends, "with detect_negative=0 is", right, "in TVM", seen)
changed |= seen.tolist() != [1, 1, 0]
if changed:
    raise SystemExit("the scales are taken: the behaviour has changed")
PYTHON
