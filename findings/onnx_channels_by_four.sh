#!/bin/sh
# onnxruntime 1.32.0, on x86-64
#
# A network with fewer channels can be several times *slower* than the wider one. Pointwise and
# depthwise convolutions over 128, 124 or 100 channels run in a blocked layout from begin to end; over
# 127, one channel fewer than 128, every depthwise convolution falls back to the plain layout, and what
# is around it is reordered twice. Multiples of four stay fast, though the blocks have 8 or 16 numbers.
# So whoever prunes channels for onnxruntime should leave a multiple of four of them.
#
# Seen: of six blocks (pointwise, depthwise, pointwise) at 28 x 28 pixels, one thread: 128 channels
# 1.1 ms, 100 channels 1.1 ms, 127 channels 7.0 ms; 18 convolutions in the blocked layout and two
# reorderings, against 6 and 12.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import collections
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BLOCKS, SIDE, TRUNK = 6, 28, 32


def network(channels):
    rng, nodes, weights, name = np.random.default_rng(0), [], [], "x"
    for _ in range(BLOCKS):
        for ins, outs, size, groups in (
            (TRUNK, channels, 1, 1),
            (channels, channels, 3, channels),
            (channels, TRUNK, 1, 1),
        ):
            kernel = rng.normal(size=(outs, ins // groups, size, size)).astype("float32")
            weights.append(numpy_helper.from_array(kernel, f"w{len(weights)}"))
            inputs, name = [name, weights[-1].name], f"y{len(weights)}"
            nodes.append(
                helper.make_node("Conv", inputs, [name], group=groups, pads=[size // 2] * 4)
            )
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, TRUNK, SIDE, SIDE])
        for end in ("x", name)
    ]
    graph = helper.make_graph(nodes, "blocks", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


found, image = {}, {"x": np.ones((1, TRUNK, SIDE, SIDE), "float32")}
for channels in (128, 127, 124, 100):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.optimized_model_filepath = f"{channels}.onnx"
    session = onnxruntime.InferenceSession(network(channels).SerializeToString(), options)
    kinds = collections.Counter(
        f"{node.op_type}, {node.domain or 'plain'}"
        for node in onnx.load(f"{channels}.onnx").graph.node
    )
    seconds = []
    for _ in range(30):
        begin = time.perf_counter()
        session.run(None, image)
        seconds.append(time.perf_counter() - begin)
    found[channels] = kinds
    print(f"{channels} channels: {1000 * np.median(seconds):.1f} ms, {dict(kinds)}")
blocked = {n: kinds["Conv, com.microsoft.nchwc"] for n, kinds in found.items()}
assert blocked == {128: 18, 127: 6, 124: 18, 100: 18}, blocked
PYTHON
