#!/bin/sh
# OpenVINO 2026.4.1 (CPU device), onnx 1.23.2, onnxruntime 1.32.0
#
# `AveragePool` with padding, `ceil_mode` and `count_include_pad`: where the last window reaches past the
# padding, OpenVINO divides by the whole kernel, as if there were more padding. ONNX' own reference,
# onnxruntime and PyTorch (whose pools count the padding unless told otherwise) divide by what lies in the
# padded input. So the last row and column come out too small, silently, though OpenVINO reads the file as a
# pool that rounds "ceil_torch". With any one of the three left out, or a size that the windows cover exactly,
# it is right.
#
# Seen, a kernel of 3, steps of 2, padding of 1: of a size of 8 the numbers of the last row and column are two
# thirds of the right ones, the corner four ninths, in versions 10, 11, 19 and 22 of the operations.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

core = openvino.Core()
rng = np.random.default_rng(0)
onnxruntime.set_default_logger_severity(3)


def ratio(version, size=8, padding=1, ceil=1, count=1):
    """OpenVINO's outputs divided by those of ONNX' reference."""
    x = rng.uniform(1, 2, size=(1, 1, size, size)).astype("float32")
    node = helper.make_node(
        "AveragePool",
        ["x"],
        ["y"],
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[padding] * 4,
        ceil_mode=ceil,
        count_include_pad=count,
    )
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "h", "w"])
    graph = helper.make_graph([node], "g", [given], [made])
    opset = helper.make_opsetid("", version)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "it.onnx")
    right = ReferenceEvaluator(model).run(None, {"x": x})[0]
    other = onnxruntime.InferenceSession("it.onnx").run(None, {"x": x})[0]
    got = core.compile_model("it.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
    assert right.shape == other.shape == got.shape and np.abs(right - other).max() < 1e-5
    told = (got / right)[0, 0]
    off = float(np.abs(got - right).max())
    print(f"version {version}, size {size}, padding {padding}, ceil_mode {ceil}, count_include_pad {count}: {off:.6f} off")
    return told


for version in 10, 11, 19, 22:
    for control in {"padding": 0}, {"ceil": 0}, {"count": 0}, {"size": 7}:
        assert np.allclose(ratio(version, **control), 1, atol=1e-5)
    told = ratio(version)
    print(np.round(told, 4))
    if np.allclose(told, 1, atol=1e-3):
        raise SystemExit("it is right: the behaviour has changed")
    assert np.allclose(told[:-1, :-1], 1, atol=1e-5)
    assert np.allclose(told[-1, :-1], 2 / 3, atol=1e-5) and np.allclose(told[-1, -1], 4 / 9, atol=1e-5)
PYTHON
