#!/bin/sh
# onnx-tool 1.0.1, onnx 1.23.2, NumPy 2.4.6
#
# A `ConvTranspose` multiplies each number of its input with the whole kernel of that channel: input pixels x input
# channels x output channels per group x kernel, the same as the convolution that goes the other way. onnx-tool takes
# the output's pixels, and the kernel's second size for the channels that are added up, which is the output's here:
# output pixels x output channels x output channels per group x kernel. A decoder's layers come out too large by their
# stride squared, too small by the channels' ratio, or by chance right, and the order of two networks by size can turn
# round. Convolutions, grouped or strided, are counted rightly, so measure a transposed one as the convolution that
# goes the other way.
#
# Seen, counts over right ones, inputs of 16 x 16: 64 to 64 channels, 2 x 2 with stride 2: 4.0; 64 to 3, 4 x 4 with
# stride 4: 0.75; 256 to 16, 3 x 3 with stride 1: 0.08; 16 to 256: 20; 8 to 16, 3 x 3 with stride 2, in one group or
# four: 8.5. The convolutions that go the other way, with the same kernels: 1.00 for all of them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx-tool==1.0.1 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnx_tool
from onnx import TensorProto, helper, numpy_helper


def counted(kind, source, target, kernel, **options):
    """What onnx-tool counts for one layer with that kernel, and the shape that it finds for the output."""
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "kernel"], ["y"], **options)],
        "g",
        [values("x", TensorProto.FLOAT, source)],
        [values("y", TensorProto.FLOAT, target)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "m.onnx")
    tool = onnx_tool.Model("m.onnx").graph
    tool.shape_infer({"x": np.zeros(source, "float32")})
    tool.profile()
    return tool.macs[0] if isinstance(tool.macs, (list, tuple, np.ndarray)) else tool.macs, tuple(tool.tensormap["y"].get_shape())


def spread(source, kernel, stride, groups):
    """A transposed convolution of ones in NumPy, pixel by pixel: each number of its output counts its products."""
    side = (source[2] - 1) * stride + kernel.shape[2]
    each = source[1] // groups
    y = np.zeros((groups, kernel.shape[1], side, side))
    for row in range(source[2]):
        for column in range(source[3]):
            at = np.s_[row * stride : row * stride + kernel.shape[2], column * stride : column * stride + kernel.shape[3]]
            y[:, :, at[0], at[1]] += np.ones_like(kernel).reshape(groups, each, *kernel.shape[1:]).sum(1)
    return round(float(y.sum()))


changed = False
for inputs, outputs, size, stride, groups in (
    (64, 64, 2, 2, 1),
    (64, 3, 4, 4, 1),
    (256, 16, 3, 1, 1),
    (16, 256, 3, 1, 1),
    (8, 16, 3, 2, 1),
    (8, 16, 3, 2, 4),
):
    kernel = np.zeros((inputs, outputs // groups, size, size), "float32")
    side = (16 - 1) * stride + size
    small, large = (1, inputs, 16, 16), (1, outputs, side, side)
    options = {"strides": [stride, stride], "group": groups}
    seen, shape = counted("ConvTranspose", small, large, kernel, **options)
    other, back = counted("Conv", large, small, kernel, **options)  # the same kernel, the other way
    right = spread(small, kernel, stride, groups)
    theirs = side * side * outputs * (outputs // groups) * size * size
    print(f"{inputs} to {outputs} channels, {size} x {size}, stride {stride}, {groups} groups: {seen:,.0f} counted, right {right:,}: {seen / right:.2f}; as a convolution {other / right:.2f}")
    assert shape == large and back == small and other == right
    changed |= seen != theirs or seen == right
if changed:
    raise SystemExit("counted otherwise: the behaviour has changed")
PYTHON
