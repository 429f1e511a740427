#!/bin/sh
# onnxruntime 1.32.0, onnx 1.23.2
#
# Static quantisation leaves out a `Clip` behind a `MatMul`, `Gemm` or `Conv`, as numbers that are quantised to its
# range can't leave it anyway. But a range for integers is widened until it has 0 in it, and then the limit is gone: of
# `Clip(1, 6)` there remains one at 0 and 6, of `Clip(-6, -1)` one at -6 and 0, in either format, with either type. Lower
# limits above 0 are there for what comes next, a division, a logarithm or a root: it gets zeros. Nothing says so. A
# `Clip` whose range has 0 in it is right, and so is one by `Max` and `Min`.
#
# Seen: `Clip(1, 6)`: from the quantised file 0 to 6, 0.48 off (root of the mean square, over that of the right outputs;
# 0.01 with `Max` and `Min`), by `MatMul`, `Gemm` and `Conv` alike; `Clip(-6, -1)`: -6 to 0, 0.47 to 0.50 off.
# `Clip(0, 6)`: 0.02 off at most. A spread that is kept at 0.1 or more and divided by: half of the outputs are infinite.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
onnxruntime.set_default_logger_severity(3)
rng = np.random.default_rng(0)


class Reader:
    def __init__(self, batches):
        self.batches = iter([{"x": batch} for batch in batches])

    def get_next(self):
        return next(self.batches, None)


def quantised(operator, clip, low, high, form, kind, inverse=False):
    """The right outputs, and those of the quantised file."""
    shape, kernel = ((64, 32), (32, 16)) if operator != "Conv" else ((64, 32, 1, 1), (16, 32, 1, 1))
    weights = {"w": rng.normal(size=kernel) / 3, "low": np.float32(low), "high": np.float32(high), "one": np.float32(1)}
    nodes = [helper.make_node(operator, ["x", "w"], ["h"])]
    if clip == "Clip":
        nodes.append(helper.make_node("Clip", ["h", "low", "high"], ["y"]))
    else:
        nodes += [helper.make_node("Max", ["h", "low"], ["m"]), helper.make_node("Min", ["m", "high"], ["y"])]
    if inverse:
        nodes.append(helper.make_node("Div", ["one", "y"], ["z"]))
    end = "z" if inverse else "y"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(end)],
        [numpy_helper.from_array(np.asarray(value, "float32"), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "x.onnx")
    batches = [rng.normal(size=shape).astype("float32") for _ in range(8)]
    only = [operator, clip, "Min"]
    quantize_static("x.onnx", "q.onnx", Reader(batches), form, op_types_to_quantize=only, activation_type=kind, weight_type=QuantType.QInt8)
    runs = (onnxruntime.InferenceSession(name) for name in ("x.onnx", "q.onnx"))
    return [np.concatenate([run.run([end], {"x": x})[0] for x in batches]) for run in runs]


changed = False
for operator in "MatMul", "Gemm", "Conv":
    for form in QuantFormat.QDQ, QuantFormat.QOperator:
        for kind in QuantType.QUInt8, QuantType.QInt8:
            for clip, low, high in ("Clip", 1, 6), ("Clip", -6, -1), ("Clip", 0, 6), ("Max and Min", 1, 6):
                right, seen = quantised(operator, clip, low, high, form, kind)
                off = float(np.sqrt(((right - seen) ** 2).mean() / (right**2).mean()))
                print(f"{operator}, {form.name}, {kind.name}, {clip} {low} to {high}: {seen.min():.2f} to {seen.max():.2f}, off by {off:.3f}")
                if clip == "Clip" and low * high > 0:
                    changed |= off < 0.3 or np.abs(seen).min() > 0.01
                else:
                    assert off < 0.05
right, seen = quantised("Gemm", "Clip", 0.1, 6, QuantFormat.QDQ, QuantType.QInt8, inverse=True)
print(f"divided by what was clipped to 0.1 to 6: up to {right.max():.1f}, quantised: {np.isinf(seen).mean():.0%} infinite")
assert right.max() < 10.001
if changed or not np.isinf(seen).any():
    raise SystemExit("the limits hold: the behaviour has changed")
PYTHON
