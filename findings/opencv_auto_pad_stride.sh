#!/bin/sh
# opencv-python-headless 5.0.0.93, onnx 1.23.2, onnxruntime 1.32.0
#
# For `auto_pad` ONNX tells how much is padded from the input's size, the stride and the kernel, and where an odd number
# goes. OpenCV's `dnn` takes half the kernel on both sides, whatever the stride and the size, and an even kernel's odd
# one always goes behind. So a convolution or pool of 3 with stride 2 and SAME_UPPER, TensorFlow's "same", is right at
# odd sizes and shifted by one pixel at even ones (nothing in front is asked for), and so is an even kernel with
# SAME_LOWER. The shape is right, nothing is said, and each such layer adds a shift. Write the pads as numbers.
#
# Seen: 3x3, stride 2, SAME_UPPER: 15x15 and 225x225 right; 16x16 and 224x224 equal to pads of 1 on all sides, 1.4 off
# for a convolution of noise (root of the mean square, over that of the right outputs), 0.4 to 1.0 for pools. 2x2 with
# SAME_LOWER: equal to SAME_UPPER, 1.4 off. Two strided convolutions and an average over all pixels: 0.17 off. With pads
# as numbers all are right.
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

rng = np.random.default_rng(0)


def outputs(nodes, size, **kernels):
    """What onnxruntime and OpenCV give for the same file and picture."""
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [values("x", TensorProto.FLOAT, (1, 2, size, size))],
        [values("y", TensorProto.FLOAT, (1, 2, None, None))],
        [numpy_helper.from_array(v, k) for k, v in kernels.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    x = np.random.default_rng(1).normal(size=(1, 2, size, size)).astype("float32")
    right = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(x, "x")
    return right, net.forward()


def off(right, seen):
    assert right.shape == seen.shape
    return float(np.sqrt(((right - seen) ** 2).mean() / (right**2).mean()))


def layer(kind, source, target, size, stride, **padding):
    kernel = [f"w{size}"] if kind == "Conv" else []
    return helper.make_node(kind, [source, *kernel], [target], kernel_shape=[size, size], strides=[stride, stride], **padding)


kernels = {f"w{k}": rng.normal(size=(2, 2, k, k)).astype("float32") for k in (2, 3)}


def asked(kind, kernel, stride, size, **padding):
    given = {f"w{kernel}": kernels[f"w{kernel}"]} if kind == "Conv" else {}
    return outputs([layer(kind, "x", "y", kernel, stride, **padding)], size, **given)


changed = False
for size in 15, 16, 224, 225:
    for kind in "Conv", "MaxPool", "AveragePool":
        right, seen = asked(kind, 3, 2, size, auto_pad="SAME_UPPER")
        ones = asked(kind, 3, 2, size, pads=[1, 1, 1, 1])
        before = (size - 1) % 2  # what the standard pads in front: 1 at odd sizes, 0 at even ones
        numbers = asked(kind, 3, 2, size, pads=[1 - before, 1 - before, 1, 1])
        print(f"{kind} 3x3, stride 2, SAME_UPPER, {size}: {off(right, seen):.2f} off; as numbers {off(*numbers):.2f}")
        assert off(*ones) < 1e-5 and off(*numbers) < 1e-5 and off(right, numbers[0]) < 1e-5
        assert (off(right, seen) < 1e-5) or off(ones[0], seen) < 1e-5
        changed |= (size % 2 == 0) != (off(right, seen) > 0.1)
for size in 15, 16:
    upper, lower = (asked("Conv", 2, 1, size, auto_pad=f"SAME_{end}") for end in ("UPPER", "LOWER"))
    print(f"Conv 2x2, SAME_LOWER, {size}: {off(*lower):.2f} off, {off(upper[0], lower[1]):.2f} from SAME_UPPER, itself {off(*upper):.2f} off")
    assert off(*upper) < 1e-5
    changed |= off(*lower) < 0.1 or off(upper[0], lower[1]) > 1e-5
relu, mean = helper.make_node("Relu", ["b"], ["c"]), helper.make_node("GlobalAveragePool", ["d"], ["y"])
for told in {"auto_pad": "SAME_UPPER"}, {"pads": [0, 0, 1, 1]}:
    network = [layer("Conv", "x", "b", 3, 2, **told), relu, layer("Conv", "c", "d", 3, 2, **told), mean]
    distance = off(*outputs(network, 32, w3=kernels["w3"]))
    print(f"two strided convolutions and an average, 32x32, {told}: {distance:.3f} off")
    changed |= (distance > 0.05) != ("auto_pad" in told)
if changed:
    raise SystemExit("padded as the standard says: the behaviour has changed")
PYTHON
