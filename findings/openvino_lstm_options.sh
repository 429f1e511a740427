#!/bin/sh
# OpenVINO 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0
#
# ONNX' `LSTM` has peephole weights (input `P`: the gates see the cell) and `input_forget` (the forget gate is
# one minus the input gate). OpenVINO reads such a file, compiles it, and computes an LSTM without either:
# exactly the numbers of the file with `P` or `input_forget` taken away. Nothing is said. `clip` is used.
# onnxruntime uses all of them.
#
# Seen, of outputs between -1 and 1, over six steps: 0.25 off with peepholes, 0.69 off with `input_forget`, and
# 1e-7 off the plain LSTM in both; onnxruntime is 2e-7 off the definition.
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
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
steps, batch, width, size = 6, 2, 3, 4
x = rng.normal(size=(steps, batch, width)).astype("float32")
shapes = {"w": (1, 4 * size, width), "r": (1, 4 * size, size), "b": (1, 8 * size), "p": (1, 3 * size)}
held = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
core = openvino.Core()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm(peepholes=False, input_forget=0, clip=np.inf):
    """The definition, with the gates in ONNX' order: input, output, forget, cell."""
    pi, po, pf = np.split(held["p"][0] * peepholes, 3)
    bias = held["b"][0, : 4 * size] + held["b"][0, 4 * size :]
    h = c = np.zeros((batch, size))
    all_of_them = []
    for t in range(steps):
        i, o, f, g = np.split(x[t] @ held["w"][0].T + h @ held["r"][0].T + bias, 4, 1)
        i = sigmoid(np.clip(i + pi * c, -clip, clip))
        f = 1 - i if input_forget else sigmoid(np.clip(f + pf * c, -clip, clip))
        c = f * c + i * np.tanh(np.clip(g, -clip, clip))
        o = sigmoid(np.clip(o + po * c, -clip, clip))
        h = o * np.tanh(c)
        all_of_them.append(h)
    return np.stack(all_of_them)[:, None]


def compare(peepholes=False, **attributes):
    names = ["x", "w", "r", "b"] + ["", "", "", "p"] * peepholes
    graph = helper.make_graph(
        [helper.make_node("LSTM", names, ["y"], hidden_size=size, **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [steps, 1, batch, size])],
        [numpy_helper.from_array(value, name) for name, value in held.items() if name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "it.onnx")
    right = lstm(peepholes, **attributes)
    plain = lstm(clip=attributes.get("clip", np.inf))
    got = core.compile_model("it.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
    other = onnxruntime.InferenceSession("it.onnx").run(None, {"x": x})[0]
    off, to_plain, theirs = (float(np.abs(a - b).max()) for a, b in ((got, right), (got, plain), (other, right)))
    print(f"peepholes {peepholes}, {attributes}: OpenVINO {off:.7f} off, {to_plain:.7f} off an LSTM without; onnxruntime {theirs:.7f} off")
    assert theirs < 1e-5
    return off, to_plain


assert compare()[0] < 1e-5
assert compare(clip=0.3)[0] < 1e-5
for off, to_plain in compare(True), compare(input_forget=1):
    if off < 0.1 or to_plain > 1e-5:
        raise SystemExit("it is used: the behaviour has changed")
PYTHON
