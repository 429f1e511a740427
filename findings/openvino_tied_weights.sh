#!/bin/sh
# OpenVINO 2026.4.1, CPU device
#
# Two layers that share one square matrix, the second with it transposed (an autoencoder with tied
# weights, x @ W @ W.T), are computed as x @ W.T @ W.T: one of them is given the copy of the matrix that
# was laid out for the other. Nothing is said. A matrix that has one column more is computed rightly, and
# so is a square one that is stored twice: sharing the weights to make the model small is what breaks it.
#
# Seen: errors of 0.7 to 1.8 times the largest output for all sizes of 32, 33, 64, 128 and 256 at batches
# of 1 and 4, with and without relu between, on an x86-64 processor with AVX-512. From ONNX files the same,
# with Gemm(transB=1) or with a Transpose of its own. At a batch of 16 it is W W, or right with relu between.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import openvino
from openvino import opset13 as op

core = openvino.Core()
rng = np.random.default_rng(0)


def error(rows, columns, batch, relu=False, copies=1):
    w = (rng.normal(size=(rows, columns)) / rows**0.5).astype("float32")
    x = rng.normal(size=(batch, rows)).astype("float32")
    given = op.parameter([batch, rows], np.float32)
    first = op.constant(w)
    second = first if copies == 1 else op.constant(w.copy())
    inner = op.matmul(given, first, False, False)
    right = x @ w
    if relu:
        inner, right = op.relu(inner), np.maximum(right, 0)
    model = openvino.Model([op.matmul(inner, second, False, True)], [given])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = compiled(x)[0]
    others = {"W W.T": right @ w.T}
    if rows == columns and not relu:
        others["W W"], others["W.T W.T"] = x @ w @ w, x @ w.T @ w.T
    shown = {k: float(np.abs(got - v).max() / np.abs(v).max()) for k, v in others.items()}
    alike = [k for k, v in shown.items() if v < 1e-4]
    return shown["W W.T"], f"error {shown['W W.T']:.6f}, equal to {alike}"


for size in 32, 33, 64, 128, 256:
    for batch in 1, 4:
        for relu in False, True:
            square, said = error(size, size, batch, relu)
            print(f"{size} x {size}, batch {batch}, relu {relu}, one matrix: {said}")
            if square < 0.1:
                raise SystemExit("the square matrix is computed rightly: the behaviour has changed")
        oblong, _ = error(size, size + 1, batch)
        copied, _ = error(size, size, batch, copies=2)
        print(f"    one column more: error {oblong:.6f}; stored twice: error {copied:.6f}")
        assert oblong < 1e-4 and copied < 1e-4
PYTHON
