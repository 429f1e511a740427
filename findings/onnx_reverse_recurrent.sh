#!/bin/sh
# opencv-python-headless 5.0.0.93, tract 0.23.9, onnx 1.23.2, onnxruntime 1.32.0
#
# A recurrent layer of one direction, `direction="reverse"` (Keras' `go_backwards`, the second half of a bidirectional
# network that was taken apart), is computed forward by tract (`LSTM`, `GRU`, `RNN`) and, for `GRU`, by OpenCV's `dnn`,
# silently; an `LSTM` in OpenCV is right at every step, but its last state `Y_h` is that of the first step taken. All
# that is "bidirectional" is right in both, so a test with one of those says nothing about it. Turn the sequence round
# by a `Slice` with step -1, before and after a forward layer.
#
# Seen: 12 steps, 3 inputs, 4 units. tract: reverse equals what onnxruntime gives for forward, to 1e-6, for all three.
# OpenCV: the same for `GRU`; for `LSTM` `Y` is right, and `Y_h` is `Y[-1]` where `Y[0]` is the last step taken.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 tract==0.23.9 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper

steps, count, inputs, units = 12, 2, 3, 4
rng = np.random.default_rng(0)
x = rng.normal(size=(steps, count, inputs)).astype("float32")


def file(kind, gates, direction):
    ways = 1 + (direction == "bidirectional")
    rng = np.random.default_rng(1)
    sizes = {"w": (ways, gates * units, inputs), "r": (ways, gates * units, units), "b": (ways, 2 * gates * units)}
    weights = [numpy_helper.from_array(rng.normal(size=size).astype("float32"), name) for name, size in sizes.items()]
    values = helper.make_tensor_value_info
    layer = helper.make_node(kind, ["x", "w", "r", "b"], ["y", "h"], direction=direction, hidden_size=units)
    outputs = {"y": (steps, ways, count, units), "h": (ways, count, units)}
    graph = helper.make_graph(
        [layer], "g", [values("x", TensorProto.FLOAT, x.shape)], [values(k, TensorProto.FLOAT, v) for k, v in outputs.items()], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, "network.onnx")
    return outputs


def by_onnxruntime():
    return onnxruntime.InferenceSession("network.onnx").run(None, {"x": x})


def by_tract():
    network = tract.onnx().load("network.onnx").into_model().into_runnable()
    return [y.to_numpy() for y in network.run([x])]


def by_opencv():
    network = cv2.dnn.readNetFromONNX("network.onnx")
    network.setInput(x, "x")
    return network.forward(["y", "h"])


def same(a, b):
    return all(float(np.abs(p - q).max()) < 1e-5 for p, q in zip(a, b))


changed = False
for kind, gates in ("LSTM", 4), ("GRU", 3), ("RNN", 1):
    forward = None
    for direction in "forward", "bidirectional", "reverse":
        outputs = file(kind, gates, direction)
        right = by_onnxruntime()
        forward = forward or right
        for name, run in ("tract", by_tract), ("OpenCV", by_opencv):
            if kind == "RNN" and name == "OpenCV":
                continue  # it has no such layer, and says so
            seen = [y.reshape(outputs[k]) for k, y in zip("yh", run())]
            if direction != "reverse":
                assert same(right, seen), (name, kind, direction)
                continue
            print(f"{name}, {kind}, reverse: right {same(right, seen)}, equal to forward {same(forward, seen)}")
            if (name, kind) == ("OpenCV", "LSTM"):
                taken, other = same(right[:1], seen[:1]), same([right[0][-1]], [seen[1]])
                print(f"  every step right {taken}, last state is that of the first step taken {other}")
                changed |= same(right, seen) or not taken or not other
            else:
                changed |= not same(forward, seen)
if changed:
    raise SystemExit("going backwards is computed otherwise: the behaviour has changed")
PYTHON
