#!/bin/sh
# pnnx 20261020, ncnn 1.0.20261020, onnx 1.23.2, onnxruntime 1.32.0
#
# ncnn's `PReLU` has one slope, or one for each channel. ONNX' slopes broadcast, and pnnx writes whatever there is
# into that layer, with its number of numbers: the first as many as there are channels are taken for the channels'
# slopes, the others are not read. So slopes along the width or for each pixel (a Keras `PReLU` without `shared_axes`
# has one for each position) are dealt out along the channels, silently. Share them over height and width, or write
# the layer as `max(x, 0) + slopes * min(x, 0)`, which is right.
#
# Seen: a 1 x 1 convolution and a `PRelu` on (1, 4, 9, 11). One slope, or (4, 1, 1): right. (4, 9, 11), one for each
# position: 0.54 off (root of the mean square, over that of the right outputs); (11,) 0.72, (9, 1) 0.64, (4, 1, 11)
# 0.66: what slopes of shape (4, 1, 1) with the first four numbers give. Written as maximum and minimum all are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-deps pnnx==20261020
"$folder/venv/bin/pip" install --quiet ncnn==1.0.20261020 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import pathlib
import subprocess
import sys

import ncnn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

converter = next(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages/pnnx/pnnx"))
rng = np.random.default_rng(0)
x = rng.normal(size=(1, 4, 9, 11)).astype("float32")
kernel = rng.normal(size=(4, 4, 1, 1)).astype("float32")
make = helper.make_node


def outputs(slopes, in_words):
    """What onnxruntime and ncnn give for a convolution and a `PRelu`, or a maximum and a minimum."""
    nodes = [make("PRelu", ["a", "slopes"], ["y"])]
    if in_words:
        nodes = [
            make("Relu", ["a"], ["above"]),
            make("Sub", ["a", "above"], ["below"]),
            make("Mul", ["below", "slopes"], ["scaled"]),
            make("Add", ["above", "scaled"], ["y"]),
        ]
    graph = helper.make_graph(
        [make("Conv", ["x", "kernel"], ["a"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(slopes, "slopes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    onnx.save(model, "m.onnx")
    right = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    subprocess.run([str(converter), "m.onnx", "fp16=0"], check=True, capture_output=True)
    assert "in0.numpy(), batch_index=0" in pathlib.Path("m_ncnn.py").read_text()  # pnnx' own example of feeding it
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param("m.ncnn.param") == net.load_model("m.ncnn.bin") == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x, batch_index=0).clone())
    failed, seen = extractor.extract("out0")
    assert not failed
    return right, seen.numpy(batch_index=0)


def off(right, seen):
    assert right.shape == seen.shape
    return float(np.sqrt(((right - seen) ** 2).mean() / (right**2).mean()))


convolved = np.einsum("bchw,dc->bdhw", x, kernel[:, :, 0, 0])
changed = False
for shape in (1,), (4, 1, 1), (4, 9, 11), (11,), (9, 1), (4, 1, 11):
    slopes = rng.uniform(-1, 1, shape).astype("float32")
    right, seen = outputs(slopes, in_words=False)
    assert off(right, np.where(convolved > 0, convolved, slopes * convolved)) < 1e-5
    written = off(*outputs(slopes, in_words=True))
    print(f"slopes {shape}: {off(right, seen):.3f} off; as maximum and minimum {written:.3f}", end="")
    assert written < 1e-5
    by_channel = shape in ((1,), (4, 1, 1))
    changed |= (off(right, seen) < 1e-5) != by_channel
    if not by_channel:
        first = slopes.ravel()[:4].reshape(4, 1, 1)
        distance = off(np.where(convolved > 0, convolved, first * convolved), seen)
        print(f"; from the first four for the channels {distance:.6f}", end="")
        changed |= distance > 1e-5
    print()
if changed:
    raise SystemExit("slopes broadcast: the behaviour has changed")
PYTHON
