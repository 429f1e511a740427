#!/bin/sh
# pnnx 20261020, ncnn 1.0.20261020, onnx 1.23.2, onnxruntime 1.32.0
#
# ONNX' `Gather` by a list of indices becomes ncnn's `Crop` of one slice, the same whatever the list says (of the
# channels the second one, the number of the axis), and the axis is gone. A `Gather` by one number is right. Channels
# that are chosen or put into another order (around pruned layers, in shuffled groups) are lost but for that one. The
# result has the wrong shape, and where it is reduced next, as by a mean over all numbers, nothing is said. Choose by
# a 1 x 1 convolution with a kernel of zeros and ones, which is right.
#
# Seen: after a 1 x 1 convolution to 4 channels, `Gather` of channels [3, 0], [0, 1, 2], [-1, 0, 3] or [3, 2, 1, 0]:
# shape (1, 9, 11), channel 1 each time. By 0, 2 or 3, a number: right. By a convolution that chooses: right.
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
kernel = np.random.default_rng(0).normal(size=(4, 4, 1, 1)).astype("float32")
make = helper.make_node


def outputs(nodes, size, **constants):
    """What onnxruntime and ncnn give for the same file and picture, `nodes` after a convolution."""
    values = helper.make_tensor_value_info
    shape = (1, 4, *size)
    graph = helper.make_graph(
        [make("Conv", ["x", "kernel"], ["a"]), *nodes],
        "g",
        [values("x", TensorProto.FLOAT, shape)],
        [values("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(v), k) for k, v in {"kernel": kernel, **constants}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    onnx.save(model, "m.onnx")
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
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
    return np.einsum("bchw,dc->bdhw", x, kernel[:, :, 0, 0]), right, seen.numpy(batch_index=0)


def off(right, seen):
    assert right.shape == seen.shape
    return float(np.sqrt(((right - seen) ** 2).mean() / (right**2).mean()))


changed = False
for indices in [3, 0], [0, 1, 2], [-1, 0, 3], [3, 2, 1, 0]:
    a, right, seen = outputs([make("Gather", ["a", "indices"], ["y"], axis=1)], (9, 11), indices=indices)
    assert off(a[:, indices], right) < 1e-5
    alone = [i for i in range(4) if seen.size == a[:, i].size and off(a[:, i], seen.reshape(a[:, i].shape)) < 1e-5]
    print(f"Gather of channels {indices}: shape {seen.shape} in place of {right.shape}, channels {alone}")
    changed |= len(alone) != 1
    chooser = np.eye(4, dtype="float32")[indices][:, :, None, None]
    _, chosen, written = outputs([make("Conv", ["a", "chooser"], ["y"])], (9, 11), chooser=chooser)
    print(f"  by a convolution: {off(right, written):.3f} off")
    assert off(right, chosen) < 1e-5 and off(right, written) < 1e-5
for index in 0, 2, 3:
    a, right, seen = outputs([make("Gather", ["a", "index"], ["y"], axis=1)], (9, 11), index=index)
    print(f"Gather of channel {index}, a number: {off(right.ravel(), seen.ravel()):.3f} off")
    assert off(right.ravel(), seen.ravel()) < 1e-5
if changed:
    raise SystemExit("chosen by the list: the behaviour has changed")
PYTHON
