#!/bin/sh
# onnxruntime 1.32.0, onnx 1.23.2
#
# A file whose weights are int8 behind `DequantizeLinear`, and whose activations are floats: the plain
# way to store a weight in a byte. onnxruntime fuses it with the product that follows and rounds the
# *activations* to 8 bits as well, which nothing in the file asks for. The same integers by `Cast`
# and `Mul` give the float result.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(0)
integers = random.integers(-127, 128, (256, 128)).astype(np.int8)
scale = np.float32(0.01)
x = random.normal(size=(1, 256)).astype(np.float32)
exact = x @ (integers.astype(np.float32) * scale)


def run(nodes, optimise):
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "f"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 128])],
        [numpy_helper.from_array(integers, "w"), numpy_helper.from_array(scale, "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (found,) = session.run(None, {"x": x})
    return float(np.abs(found - exact).max() / np.abs(exact).max())


dequantized = [helper.make_node("DequantizeLinear", ["w", "s"], ["f"])]
cast = [
    helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT),
    helper.make_node("Mul", ["c", "s"], ["f"]),
]
errors = {
    "Cast and Mul": run(cast, True),
    "DequantizeLinear, nothing optimised": run(dequantized, False),
    "DequantizeLinear": run(dequantized, True),
}
for name, error in errors.items():
    print(f"{name}: {error:.1e} of the largest output")
assert errors["Cast and Mul"] < 1e-5 and errors["DequantizeLinear, nothing optimised"] < 1e-5
if errors["DequantizeLinear"] < 1e-4:
    raise SystemExit("activations stay floats: the behaviour has changed")
PYTHON
