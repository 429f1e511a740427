#!/bin/sh
# onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0
#
# onnxscript's optimizer writes a convolution's padding out, and makes two mistakes there, silently.
# `auto_pad="SAME_UPPER"` or "SAME_LOWER" becomes numbers that are right for a kernel without dilation: a dilated
# one (DeepLab, WaveNet) is padded too little, and "same" comes out smaller than its input. onnxruntime refuses such a
# file as it was ("Dilation not supported for AutoPadType"), and runs it after the optimizer; the reference evaluator
# runs both.
# And a `Pad` of zeros goes into the `ConvInteger` after it, whose own padding is not 0 but `x_zero_point` (a number that
# counts as 0). A picture in bytes with the zero point 128 that is padded with black is from then on padded with grey.
# A `Pad` of 128, which could be moved, is not. Write pads instead of `auto_pad`, and optimize before quantising.
#
# Seen: kernels of 3 on 12 x 12: dilation 1 as before; 2: outputs of 10 x 10, 3: 8 x 8, 4: 6 x 6, and other means over
# the picture. `ConvInteger`: nearly all numbers at the edge differ, the inner ones are the same; with zero point 0 none.
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
from onnx.reference import ReferenceEvaluator

node = helper.make_node
rng = np.random.default_rng(0)


def file(nodes, x, kind, out, constants):
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [values("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [values("y", kind, out)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model, onnxscript.optimizer.optimize(onnx.ModelProto.FromString(model.SerializeToString()))


def by_reference(model, x):
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def by_onnxruntime(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


onnxruntime.set_default_logger_severity(4)
changed = False
x = rng.normal(size=(1, 3, 12, 12)).astype("float32")
for way in "SAME_UPPER", "SAME_LOWER":
    for dilation in 1, 2, 3, 4:
        layer = node("Conv", ["x", "w"], ["h"], auto_pad=way, kernel_shape=[3, 3], dilations=[dilation] * 2)
        constants = {"w": rng.normal(size=(4, 3, 3, 3)).astype("float32")}
        before, after = file([layer, node("GlobalAveragePool", ["h"], ["y"])], x, TensorProto.FLOAT, (1, 4, 1, 1), constants)
        right = by_reference(before, x)
        if dilation == 1:
            assert np.allclose(right, by_onnxruntime(before, x), atol=1e-5)
        seen = [by_reference(after, x), by_onnxruntime(after, x)]
        distance = [float(np.abs(s - right).max()) for s in seen]
        pads = next(list(a.ints) for n in after.graph.node for a in n.attribute if a.name == "pads")
        side = 12 + pads[0] + pads[2] - 2 * dilation
        print(f"{way}, dilation {dilation}: padded by {pads}, outputs of {side} x {side}, means off by {distance[0]:.2g} and {distance[1]:.2g}")
        changed |= pads != [1] * 4 or (min(distance) < 1e-3) != (dilation == 1)
x = rng.integers(0, 256, (1, 3, 8, 8)).astype("uint8")
for zero in 0, 128:
    layers = [node("Pad", ["x", "p"], ["h"]), node("ConvInteger", ["h", "w", "z"], ["y"])]
    constants = {
        "p": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
        "w": rng.integers(-9, 9, (4, 3, 3, 3)).astype("int8"),
        "z": np.uint8(zero),
    }
    before, after = file(layers, x, TensorProto.INT32, (1, 4, 8, 8), constants)
    right = by_reference(before, x)
    assert (right == by_onnxruntime(before, x)).all()
    seen = by_onnxruntime(after, x)
    assert (seen == by_reference(after, x)).all()
    other = seen != right
    print(f"ConvInteger, zero point {zero}: {[n.op_type for n in after.graph.node]}, {other.mean():.0%} of the numbers differ, by up to {np.abs(seen - right).max()}")
    assert not other[:, :, 1:-1, 1:-1].any()
    changed |= other.any() != (zero == 128)
if changed:
    raise SystemExit("padding is written out otherwise: the behaviour has changed")
PYTHON
