#!/bin/sh
# onnxruntime 1.32.0, onnx 1.23.2
#
# Static quantisation of a `Gemm` whose `beta` is not 1 (it multiplies the bias) loses it, though the
# quantiser reads `beta` and puts it in the scale of the bias. A file in the QDQ format adds the bias once,
# whatever `beta` was, as it stands; with the runtime's optimisations on, as by default, and in the
# QOperator format the bias is divided by `beta` instead of multiplied. In the QOperator format `alpha`,
# which is for the product only, multiplies the bias as well. A `beta` of 0 or 1 is right.
#
# Seen, as the factor that the bias has in the output (QDQ as it stands, QDQ, QOperator): for beta 2 1.00,
# 0.50, 0.50; for beta 0.5 0.99, 1.81, 1.81 (of 2, clipped by the range calibrated); for alpha 0.5 and beta 1
# 1.00, 1.00, 0.50.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 sympy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 32)).astype("float32")
weight = rng.normal(size=(32, 16)).astype("float32")
bias = (5 * rng.normal(size=16)).astype("float32")


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"x": x}])

    def get_next(self):
        return next(self.left, None)


def run(path, level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def factors(alpha, beta):
    held = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="gemm", alpha=alpha, beta=beta)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 16])],
        held,
    )
    opset = helper.make_opsetid("", 21)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), "float.onnx")
    right = run("float.onnx")
    assert np.allclose(right, alpha * (x @ weight) + beta * bias, atol=1e-3)
    told = []
    on = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for form, level in (QuantFormat.QDQ, off), (QuantFormat.QDQ, on), (QuantFormat.QOperator, on):
        quantize_static("float.onnx", "q.onnx", Reader(), form, activation_type=QuantType.QUInt8)
        over = (run("q.onnx", level) - alpha * (x @ weight)).mean(0)
        told.append(float(over @ bias / (bias @ bias)))
    print(f"alpha {alpha}, beta {beta}: the bias times", [round(f, 2) for f in told])
    return told


print("QDQ as it stands, QDQ, QOperator")
for beta in 1.0, 0.0:
    assert np.allclose(factors(1.0, beta), beta, atol=0.03)
two, half, product = factors(1.0, 2.0), factors(1.0, 0.5), factors(0.5, 1.0)
assert np.allclose(product[:2], 1, atol=0.03)
if not (np.allclose(two, [1, 0.5, 0.5], atol=0.1) and half[0] > 0.9 and min(half[1:]) > 1.5):
    raise SystemExit("beta is used: the behaviour has changed")
if not np.isclose(product[2], 0.5, atol=0.1):
    raise SystemExit("alpha is left out of the bias: the behaviour has changed")
PYTHON
