#!/bin/sh
# onnx 1.23.2, onnxruntime 1.32.0
#
# `onnx.reference.ReferenceEvaluator` is what one checks a converter or a runtime against. Of `LSTM` and `GRU` it
# leaves out what is not the common case: `clip`, other `activations`, `input_forget` and the lengths of sequences
# are taken and have no effect; the numbers are those of the plain layer, and nothing is said. `LpNormalization` with
# p = 1 divides by the sum instead of the sum of absolute values. onnxruntime computes all of them (`clip` before the
# gates and the cell's input). Check such layers against onnxruntime or a few lines of NumPy.
#
# Seen: LSTM 0.83 (clip), 0.99 (activations), 0.85 (lengths), 0.55 (input_forget) off,
# and exactly the layer without them; GRU 0.83, 3.0, 0.99. LpNormalization of normal numbers, where nothing can be
# above 1, gives 27. onnxruntime is within 1e-5 of the definition in all.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(0)
steps, batch, width, size = 6, 3, 3, 4
x = rng.normal(size=(steps, batch, width)).astype("float32")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def both(node, version, fed, shape, held=()):
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, fed.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        list(held),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    (theirs,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": fed})
    return ReferenceEvaluator(model).run(None, {"x": fed})[0], theirs


weights = {
    kind: [rng.normal(size=(1, n * size, k)).astype("float32") for k in (width, size)]
    + [rng.normal(size=(1, 2 * n * size)).astype("float32")]
    for kind, n in (("LSTM", 4), ("GRU", 3))
}


def definition(kind, lengths=None, clip=np.inf, activations=None, input_forget=0):
    """The layer as the standard's text has it; the gates are i, o, f, c and z, r, h."""
    w, r, b = (v[0] for v in weights[kind])
    gate = (lambda z: np.clip(0.2 * z + 0.5, 0, 1)) if activations else sigmoid
    out = (lambda z: np.maximum(z, 0)) if activations else np.tanh
    n = len(w)
    h = c = np.zeros((batch, size))
    told = []
    for t in range(steps):
        a, e = x[t] @ w.T + b[:n], h @ r.T + b[n:]
        if kind == "LSTM":
            i, o, f, g = np.split(np.clip(a + e, -clip, clip), 4, 1)
            f = 1 - gate(i) if input_forget else gate(f)
            c = f * c + gate(i) * np.tanh(g)
            new = gate(o) * out(c)
        else:
            z, q = (gate(np.clip(a[:, k : k + size] + e[:, k : k + size], -clip, clip)) for k in (0, size))
            last = a[:, 2 * size :] + (q * h) @ r[2 * size :].T + b[n + 2 * size :]
            new = (1 - z) * out(np.clip(last, -clip, clip)) + z * h
        h = new
        told.append(h if lengths is None else np.where(np.array(lengths)[:, None] > t, h, 0))
    return np.stack(told)[:, None]


def recurrent(kind, lengths=None, **attributes):
    held = [numpy_helper.from_array(v, n) for v, n in zip(weights[kind], "wrb")]
    names = ["x", "w", "r", "b"]
    if lengths:
        held.append(numpy_helper.from_array(np.array(lengths, "int32"), "n"))
        names.append("n")
    node = helper.make_node(kind, names, ["y"], hidden_size=size, **attributes)
    reference, theirs = both(node, 14, x, [steps, 1, batch, size], held)
    right, plain = definition(kind, lengths, **attributes), definition(kind)
    off, to_plain, other = (float(np.abs(p - q).max()) for p, q in ((reference, right), (reference, plain), (theirs, right)))
    print(f"{kind}, lengths {lengths}, {attributes}: the reference {off:.6f} off, {to_plain:.6f} off the plain layer; onnxruntime {other:.6f} off")
    assert other < 1e-4
    return off, to_plain


told = []
for kind in "LSTM", "GRU":
    assert recurrent(kind)[0] < 1e-5
    told.append(recurrent(kind, clip=0.3))
    told.append(recurrent(kind, activations=["HardSigmoid"] + (["Tanh"] if kind == "LSTM" else []) + ["Relu"]))
    told.append(recurrent(kind, [6, 4, 2]))
told.append(recurrent("LSTM", input_forget=1))
numbers = rng.normal(size=(8, 16)).astype("float32")
reference, theirs = both(helper.make_node("LpNormalization", ["x"], ["y"], p=1), 14, numbers, [8, 16])
assert np.abs(theirs - numbers / np.abs(numbers).sum(-1, keepdims=True)).max() < 1e-5
print(f"LpNormalization, p = 1: the reference's largest {np.abs(reference).max():.3f}, onnxruntime's {np.abs(theirs).max():.3f}")
if min(off for off, _ in told) < 0.1 or max(plain for _, plain in told) > 1e-5 or np.abs(reference).max() < 1:
    raise SystemExit("the reference follows the standard: the behaviour has changed")
PYTHON
