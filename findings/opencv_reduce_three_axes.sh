#!/bin/sh
# opencv-python-headless 5.0.0.93, onnx 1.23.2, onnxruntime 1.32.0
#
# OpenCV's `dnn` reduces over three axes that are not the last three (batch, height and width: the means of a batch
# normalisation written out, of a `MeanVarianceNormalization`) by a list of offsets, and goes back to the second entry of
# the first axis each time instead of on to the next: of a batch, the first example counts once, the second in place of
# all the others. One or two examples, as most tests have, are right, and so are two axes. `ReduceMean`, `ReduceMax`,
# `ReduceMin` and `ReduceL2` alike, silently. Reduce in two steps.
#
# Seen: `ReduceMean` over the axes 0, 2, 3 of a batch of 1 or 2: right; of 3, 4, 16: the mean of the first example and
# 2, 3, 15 times the second one, to 1e-6. The maximum of 16 examples is the maximum of two. A batch of 16 normalised by
# its own mean and deviation, the second example ten times as bright: the outputs' deviation is 0.32 in place of 1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node


def outputs(nodes, x, out):
    values = helper.make_tensor_value_info
    used = {name for n in nodes for name in n.input}
    constants = [numpy_helper.from_array(np.float32(v), k) for k, v in (("two", 2), ("epsilon", 1e-5)) if k in used]
    graph = helper.make_graph(
        nodes, "g", [values("x", TensorProto.FLOAT, x.shape)], [values("y", TensorProto.FLOAT, out)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    right = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(x, "x")
    return right, net.forward()


def reduced(kind, x, axes):
    out = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return outputs([node(f"Reduce{kind}", ["x"], ["y"], axes=axes, keepdims=1)], x, out)


rng = np.random.default_rng(0)
wrong = []
for count in 1, 2, 3, 4, 16:
    x = rng.normal(size=(count, 8, 7, 6)).astype("float32") + np.arange(count, dtype="float32").reshape(-1, 1, 1, 1)
    first, second = x[:1], np.repeat(x[1:2], count - 1, 0)
    counted = np.concatenate([first, second])
    for kind, rule in ("Mean", np.mean), ("Max", np.max), ("Min", np.min), ("L2", lambda v, axis: np.sqrt((v**2).sum(axis))):
        sign = -1 if kind == "Min" else 1
        right, seen = reduced(kind, sign * x, [0, 2, 3])
        told = rule(sign * counted, (0, 2, 3)).ravel()
        as_told = np.abs(seen.ravel() / told - 1).max() < 1e-5
        distance = float(np.abs(right - seen).max())
        print(f"Reduce{kind}, {count} examples: {distance:.3g} off; as if all but the first were the second: {as_told}")
        if count <= 2:
            assert distance < 1e-5
        else:
            wrong.append(distance > 0.1 and as_told)
    for axes in [0, 2], [0, 3], [2, 3], [1, 2, 3], [0, 1], [0]:
        right, seen = reduced("Mean", x, axes)
        assert np.allclose(right, seen, atol=1e-5), axes
x = rng.normal(size=(16, 8, 7, 6)).astype("float32")
x[1] *= 10
normalised = [
    node("ReduceMean", ["x"], ["mean"], axes=[0, 2, 3], keepdims=1),
    node("Sub", ["x", "mean"], ["centred"]),
    node("Pow", ["centred", "two"], ["squared"]),
    node("ReduceMean", ["squared"], ["variance"], axes=[0, 2, 3], keepdims=1),
    node("Add", ["variance", "epsilon"], ["safe"]),
    node("Sqrt", ["safe"], ["deviation"]),
    node("Div", ["centred", "deviation"], ["y"]),
]
right, seen = outputs(normalised, x, x.shape)
print(f"a normalised batch: deviation {right.std():.3f}, OpenCV {seen.std():.3f}")
steps = [node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=1), node("ReduceMean", ["m"], ["y"], axes=[0], keepdims=1)]
right, stepwise = outputs(steps, x, (1, 8, 1, 1))
assert np.allclose(right, stepwise, atol=1e-5)
if not all(wrong) or abs(seen.std() - 1) < 0.1:
    raise SystemExit("all examples count: the behaviour has changed")
PYTHON
