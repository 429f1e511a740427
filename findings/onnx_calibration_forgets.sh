#!/bin/sh
# onnxruntime 1.32.0, onnx 1.23.2
#
# `quantize_static(..., extra_options={"CalibMaxIntermediateOutputs": N})` is there to hold few of the
# intermediate outputs in memory at a time. With it, only the examples after the last full group of N
# count: the ranges of all before are computed, and forgotten. The file is written without a word.
#
# Seen: of 5 examples, the first of which is 100 times as large as the others, the scale of the
# input is the same without the option whichever comes first; with N = 4 it is 100 times smaller when
# the large one does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 sympy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])],
    "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    [weight],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, "float.onnx")


class Reader(CalibrationDataReader):
    def __init__(self, sizes):
        self.left = iter([{"x": np.full((1, 4), s, np.float32) for _ in "1"} for s in sizes])

    def get_next(self):
        return next(self.left, None)


def scale(sizes, **options):
    quantize_static("float.onnx", "int.onnx", Reader(sizes), extra_options=options)
    made = onnx.load("int.onnx").graph
    held = {t.name: numpy_helper.to_array(t) for t in made.initializer}
    return float(held["x_scale"])


first, last = [100, 1, 1, 1, 1], [1, 1, 1, 1, 100]
whole = scale(first), scale(last)
parts = scale(first, CalibMaxIntermediateOutputs=4), scale(last, CalibMaxIntermediateOutputs=4)
print("the large example first, and last:", whole)
print("the same, four outputs at a time: ", parts)
assert np.isclose(whole[0], whole[1])
if not np.isclose(parts[1] / parts[0], 100, rtol=0.05):
    raise SystemExit("all examples count: the behaviour has changed")
PYTHON
