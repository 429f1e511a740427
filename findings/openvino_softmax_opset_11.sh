#!/bin/sh
# OpenVINO 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0
#
# Before version 13 of ONNX' operations, `Softmax` takes all dimensions from `axis` (1 unless given) on as
# one: of a tensor [2, 3, 4, 5] the 60 numbers of an example add up to 1. OpenVINO does so for version 9, and
# for 13 it takes one axis, as it should. For 11 and 12, which define it as 9 does, it takes one axis too:
# other numbers, silently. `LogSoftmax`, whose definition went the same way, is right in all of them, and
# where `axis` is the last dimension both are.
#
# Seen: in versions 11 and 12, with `axis` left out, the numbers of an example add up to 20 (4 times 5), to 1
# in 7, 9 and 10 and in onnxruntime; single numbers between 0 and 1 are up to 0.98 off.
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

shape = [2, 3, 4, 5]
x = (3 * np.random.default_rng(0).normal(size=shape)).astype("float32")
core = openvino.Core()


def compare(kind, version, **attributes):
    """Largest differences of OpenVINO and onnxruntime to the definition, and what an example adds up to."""
    given, made = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **attributes)], "g", [given], [made])
    opset = helper.make_opsetid("", version)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "it.onnx")
    axis = attributes.get("axis", 1 if version < 13 else -1)
    axes = tuple(range(axis, 4)) if version < 13 else axis
    power = np.exp(x)
    right = power / power.sum(axes, keepdims=True)
    got = core.compile_model("it.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
    other = onnxruntime.InferenceSession("it.onnx").run(None, {"x": x})[0]
    if kind == "LogSoftmax":
        got, other = np.exp(got), np.exp(other)
    error = float(np.abs(got - right).max())
    assert np.abs(other - right).max() < 1e-5
    one = got[0].sum()
    print(f"{kind}, version {version}, {attributes or 'no axis'}: OpenVINO {error:.6f} off; an example {one:.3f}")
    return error


for version in 7, 9, 10, 11, 12:
    wrong = compare("Softmax", version)
    assert compare("LogSoftmax", version) < 1e-5
    assert compare("Softmax", version, axis=3) < 1e-5
    if version < 11:
        assert wrong < 1e-5
    elif min(wrong, compare("Softmax", version, axis=1), compare("Softmax", version, axis=2)) < 0.1:
        raise SystemExit("it is right: the behaviour has changed")
for axis in 1, 2, 3:
    assert compare("Softmax", 13, axis=axis) < 1e-5
PYTHON
