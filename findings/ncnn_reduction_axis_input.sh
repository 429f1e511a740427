#!/bin/sh
# pnnx 20261020, ncnn 1.0.20261020, onnx 1.23.2, onnxruntime 1.32.0
#
# Since version 13 `ReduceSum`, since 18 all reductions of ONNX take their axes as an input. pnnx turns one axis of
# that kind into a number where ncnn looks for a list, and ncnn's layer then has no axes and hands its input on: a sum
# or mean along one axis does nothing. Two axes or more are right, and so is one axis as an attribute (version 13's
# `ReduceMean`). A result of its own has the wrong shape; inside a network it broadcasts and nothing is said: a
# written-out layer normalisation along the last axis, `x - mean(x)`, gives zeros, a division by a sum gives ones.
# Write such models in version 12.
#
# Seen: (1, 4, 9, 11) numbers. `ReduceSum`, `ReduceMean`, `ReduceL1` and `ReduceL2` of version 18 along one axis: the
# input's shape, for a sum or mean the input itself; along two, and along one as an attribute in version 11: right.
# Layer normalisation of a 16 x 32 matrix: all zeros in version 18, right in 13. Softmax by hand: all ones in version
# 18, right in 11.
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


def outputs(nodes, version, shape, **constants):
    """What onnxruntime and ncnn give for the same file and numbers."""
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [values("x", TensorProto.FLOAT, shape)],
        [values("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    onnx.save(model, "m.onnx")
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    right = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    subprocess.run([str(converter), "m.onnx", "fp16=0"], check=True, capture_output=True)
    assert "batch_index=233" in pathlib.Path("m_ncnn.py").read_text()  # pnnx' own example: no axis is taken for a batch
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param("m.ncnn.param") == net.load_model("m.ncnn.bin") == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x).clone())
    failed, seen = extractor.extract("out0")
    assert not failed
    return x, right, np.array(seen)


def off(right, seen):
    if right.shape != seen.shape:
        return float("inf")
    return float(np.sqrt(((right - seen) ** 2).mean() / (right**2).mean()))


def reduction(kind, axes, version, source="x", target="y", name="axes", **options):
    if version >= (13 if kind == "ReduceSum" else 18):
        return helper.make_node(kind, [source, name], [target], **options), {name: axes}
    return helper.make_node(kind, [source], [target], axes=axes, **options), {}


changed = False
for kind in "ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2":
    for axes in [1], [3], [2, 3], [1, 2]:
        for version in 11, 18:
            node, constants = reduction(kind, axes, version, keepdims=1)
            x, right, seen = outputs([node], version, (1, 4, 9, 11), **constants)
            wrong = off(right, seen) > 1e-4
            same = "the input itself" if seen.shape == x.shape and np.allclose(x, seen) else f"numbers of shape {seen.shape}"
            print(f"{kind} along {axes}, version {version}: {same + ' in place of shape ' + str(right.shape) if wrong else 'right'}")
            assert not wrong or seen.shape == x.shape
            changed |= wrong != (version == 18 and len(axes) == 1)
for version in 13, 18:
    mean, constants = reduction("ReduceMean", [1], version, "x", "mean")
    spread, _ = reduction("ReduceMean", [1], version, "square", "variance")
    make = helper.make_node
    nodes = [
        mean,
        make("Sub", ["x", "mean"], ["centred"]),
        make("Mul", ["centred", "centred"], ["square"]),
        spread,
        make("Add", ["variance", "little"], ["more"]),
        make("Sqrt", ["more"], ["deviation"]),
        make("Div", ["centred", "deviation"], ["y"]),
    ]
    x, right, seen = outputs(nodes, version, (16, 32), little=np.float32(1e-5), **constants)
    print(f"layer normalisation, version {version}: {off(right, seen):.3f} off, {(seen == 0).mean():.0%} zeros")
    changed |= (off(right, seen) > 1e-3) != (version == 18)
for version in 11, 18:
    total, constants = reduction("ReduceSum", [1], version, "e", "total")
    nodes = [helper.make_node("Exp", ["x"], ["e"]), total, helper.make_node("Div", ["e", "total"], ["y"])]
    x, right, seen = outputs(nodes, version, (16, 32), **constants)
    print(f"softmax by hand, version {version}: {off(right, seen):.3f} off, {np.isclose(seen, 1).mean():.0%} ones")
    changed |= (off(right, seen) > 1e-3) != (version == 18)
if changed:
    raise SystemExit("one axis is reduced: the behaviour has changed")
PYTHON
