#!/bin/sh
# qonnx 1.0.0, onnx 1.23.2, onnxruntime 1.32.0
#
# qonnx' `QCDQToQuant` reads how many bits a quantised activation has from the `Clip` between `QuantizeLinear` and
# `DequantizeLinear`, but looks at the range's width alone, and takes the sign from the type. int8 clipped to 0 to 127 (a
# `relu` in symmetric integers) is seven bits wide and signed, so it becomes -64 to 63: all above the middle is cut off,
# and what was to be 0 comes out negative. A range that is not a whole number of bits (0 to 10, -6 to 6) is widened. No
# warning, though the text says that the `Clip` is taken into account. The ranges -8 to 7, -7 to 7, -127 to 127 in int8
# and 0 to 15 in uint8 are right. Use uint8 for what is not negative.
#
# Seen: int8, 0 to 127, scale 0.05: outputs of 0 to 6.35 become -3.2 to 3.15, 72 % of them are others; 0 to 7: 0 to 0.35
# become -0.2 to 0.15; uint8, 0 to 10: 0 to 0.5 become 0 to 0.75; -6 to 6: -0.3 to 0.3 become -0.35 to 0.35.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant

node, scale = helper.make_node, 0.05
x = (np.random.default_rng(0).normal(size=(40, 80)) * 4).astype("float32")


def before_and_after(kind, low, high):
    values = helper.make_tensor_value_info
    constants = {"s": np.float32(scale), "z": np.dtype(kind).type(0), "low": np.dtype(kind).type(low), "high": np.dtype(kind).type(high)}
    graph = helper.make_graph(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("Clip", ["q", "low", "high"], ["c"]),
            node("DequantizeLinear", ["c", "s", "z"], ["y"]),
        ],
        "g",
        [values("x", TensorProto.FLOAT, x.shape)],
        [values("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    right = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    after = ModelWrapper(model).transform(InferShapes()).transform(QCDQToQuant())
    assert [n.op_type for n in after.graph.node] == ["Quant"]
    return right, execute_onnx(after, {"x": x})["y"]


changed = False
for kind, low, high, seen_range in (
    ("int8", 0, 127, (-64, 63)),
    ("int8", 0, 7, (-4, 3)),
    ("uint8", 0, 10, (0, 15)),
    ("int8", -6, 6, (-7, 7)),
    ("int8", -8, 7, None),
    ("int8", -7, 7, None),
    ("int8", -127, 127, None),
    ("uint8", 0, 15, None),
):
    right, seen = before_and_after(kind, low, high)
    other = float((np.abs(right - seen) > 1e-6).mean())
    print(
        f"{kind} clipped to {low} to {high}: outputs {right.min():.2f} to {right.max():.2f}, "
        f"after QCDQToQuant {seen.min():.2f} to {seen.max():.2f}, {other:.0%} differ"
    )
    told = (low, high) if seen_range is None else seen_range
    changed |= not np.allclose([seen.min(), seen.max()], np.array(told) * scale, atol=1e-6) or (other > 0) != (seen_range is not None)
if changed:
    raise SystemExit("the clip is read otherwise: the behaviour has changed")
PYTHON
