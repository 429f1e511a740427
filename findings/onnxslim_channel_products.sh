#!/bin/sh
# onnxslim 0.1.98, onnx 1.23.2, onnxruntime 1.32.0
#
# onnxslim merges a convolution with the product after it into the convolution's weights. It takes a vector
# with as many numbers as there are channels for one number a channel. ONNX lines shapes up from the right,
# so such a vector goes along the width: where the width is equal to the number of channels, the slim model
# gives other numbers, silently.
#
# Seen: of 7 channels at a width of 7, more than the largest output off (1.4 to 1.7 times); at a width of 8
# nothing is merged, with the numbers in the shape [7, 1, 1] they are merged rightly.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxslim==0.1.98 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)


def error(width, vector):
    x = rng.normal(size=(1, 3, 9, width + 2)).astype("float32")
    held = {"w": rng.normal(size=(7, 3, 3, 3)), "s": rng.normal(size=vector)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Mul", ["c", "s"], ["y"], name="mul"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7, 7, width])],
        [numpy_helper.from_array(v.astype("float32"), k) for k, v in held.items()],
    )
    opset = helper.make_opsetid("", 21)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    slim = onnxslim.slim(model)
    outputs = []
    for each in model, slim:
        session = onnxruntime.InferenceSession(each.SerializeToString())
        outputs.append(session.run(None, {"x": x})[0])
    wrong = float(np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max())
    kinds = [node.op_type for node in slim.graph.node]
    print(f"7 channels, width {width}, vector {vector}: {kinds}, error {wrong:.6f}")
    return wrong


assert error(8, (8,)) < 1e-4 and error(7, (7, 1, 1)) < 1e-4
if error(7, (7,)) < 0.1:
    raise SystemExit("the slim model is right: the behaviour has changed")
PYTHON
