#!/bin/sh
# onnxoptimizer 0.4.2, onnx 1.23.2, onnxruntime 1.32.0
#
# onnxoptimizer's passes that run by default merge a `Pad` of zeros into the `MaxPool` after it. The two are
# not the same: zeros put in by `Pad` take part in the maximum, a pool's own padding never does. Where all
# numbers at an edge are negative (no relu before, or a leaky one), the result is another one, silently. After
# a relu it is the same, and so it is with convolutions and average pools, which the same passes treat.
# onnxruntime's own optimisations and onnxsim 0.8.1 give the right numbers.
#
# Seen: normal numbers, 16 channels of 8 by 8, a pool of 3 by 3: up to 0.43 off at the edges; with LeakyReLU
# before 0.004; all negative 0.72; all positive, or after ReLU, 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxoptimizer==0.4.2 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
numbers = rng.normal(size=(1, 16, 8, 8)).astype("float32")


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


def error(last, before="Identity", x=numbers, **attributes):
    sort = "negative" if x.max() < 0 else "positive" if x.min() > 0 else "both signs"
    held = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    inputs = ["padded"]
    if last == "Conv":
        held["w"] = rng.normal(size=(16, 16, 3, 3)).astype("float32")
        inputs.append("w")
    graph = helper.make_graph(
        [
            helper.make_node(before, ["x"], ["h"]),
            helper.make_node("Pad", ["h", "p"], ["padded"]),
            helper.make_node(last, inputs, ["y"], kernel_shape=[3, 3], strides=[2, 2], **attributes),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    opset = helper.make_opsetid("", 21)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    better = onnxoptimizer.optimize(model)
    off = np.abs(run(model, x) - run(better, x))
    kinds = [node.op_type for node in better.graph.node]
    print(f"{before} ({sort}), Pad, {last} {attributes or ''}: {kinds}, {off.max():.6f} off at most")
    assert off[:, :, 1:, 1:].max() < 1e-5
    return float(off.max())


for last, attributes in ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1}), ("Conv", {}):
    assert error(last, **attributes) < 1e-4
assert error("MaxPool", "Relu") == 0
assert error("MaxPool", x=np.abs(numbers)) == 0
told = error("MaxPool"), error("MaxPool", x=-np.abs(numbers)), error("MaxPool", "LeakyRelu")
if told[0] < 0.1 or told[1] < 0.1 or told[2] < 0.001:
    raise SystemExit("the pool is right: the behaviour has changed")
PYTHON
