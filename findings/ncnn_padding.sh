#!/bin/sh
# pnnx 20261020, ncnn 1.0.20261020, onnx 1.23.2, onnxruntime 1.32.0
#
# ncnn's `Padding` knows a constant, the edge and a reflection, and no padding round the other side: of an ONNX `Pad`
# with mode "wrap" (PyTorch's "circular", for panoramas, grids on a sphere and other periodic data) pnnx makes one
# with zeros. An `AveragePool` with `auto_pad` counts what it pads, as it should with `count_include_pad=1` only,
# which nobody has set. The shapes are right and nothing is said. Write circular padding as `Concat` of slices, and a
# pool's pads as numbers.
#
# Seen: after a 1 x 1 convolution, `Pad` by 1 on all sides with "edge" and "reflect": right. "wrap": equal to zeros,
# 0.6 off (root of the mean square, over that of the right outputs); as slices and `Concat` right. `AveragePool` 3 x
# 3, SAME_UPPER, strides 1 and 2, on 9 x 11 and 15 x 15: 0.2 to 0.4 off, equal to `count_include_pad=1`; as numbers
# right.
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
        [values("y", TensorProto.FLOAT, (1, 4, None, None))],
        [numpy_helper.from_array(np.array(v), k) for k, v in {"kernel": kernel, **constants}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
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
ones = np.array([0, 0, 1, 1, 0, 0, 1, 1])
pads = ((0, 0), (0, 0), (1, 1), (1, 1))
for mode in "edge", "reflect", "wrap":
    a, right, seen = outputs([make("Pad", ["a", "pads"], ["y"], mode=mode)], (9, 11), pads=ones)
    zeros = off(np.pad(a, pads), seen)
    print(f"Pad, {mode}: {off(right, seen):.3f} off, {zeros:.3f} from zeros")
    assert off(right, np.pad(a, pads, mode=mode)) < 1e-5
    changed |= (zeros if mode == "wrap" else off(right, seen)) > 1e-5
slices, constants, last = [], {}, "a"
for axis in 2, 3:
    constants |= {f"axis{axis}": np.array([axis]), "minus": np.array([-1]), "none": np.array([0]), "one": np.array([1]), "all": np.array([1000])}
    slices += [
        make("Slice", [last, "minus", "all", f"axis{axis}"], [f"end{axis}"]),
        make("Slice", [last, "none", "one", f"axis{axis}"], [f"start{axis}"]),
        make("Concat", [f"end{axis}", last, f"start{axis}"], [f"wide{axis}" if axis == 2 else "y"], axis=axis),
    ]
    last = f"wide{axis}"
a, right, seen = outputs(slices, (9, 11), **constants)
print(f"as slices: {off(right, seen):.3f} off")
assert off(right, seen) < 1e-5 and off(np.pad(a, pads, mode="wrap"), right) < 1e-5
for size in (9, 11), (15, 15):
    for stride in 1, 2:
        options = {"kernel_shape": [3, 3], "strides": [stride, stride]}
        numbers = [1, 1, 1, 1]  # what "same" asks for with a kernel of 3 where a side is odd
        _, right, seen = outputs([make("AveragePool", ["a"], ["y"], auto_pad="SAME_UPPER", **options)], size)
        _, same, written = outputs([make("AveragePool", ["a"], ["y"], pads=numbers, **options)], size)
        _, counted, _ = outputs([make("AveragePool", ["a"], ["y"], pads=numbers, count_include_pad=1, **options)], size)
        print(f"AveragePool SAME_UPPER, {size}, stride {stride}: {off(right, seen):.3f} off, {off(counted, seen):.3f} from counted pads; as numbers {off(same, written):.3f}")
        assert off(right, same) < 1e-5 and off(same, written) < 1e-5
        changed |= off(right, seen) < 0.05 or off(counted, seen) > 1e-5
if changed:
    raise SystemExit("padded as the standard says: the behaviour has changed")
PYTHON
