#!/bin/sh
# tract 0.23.9, onnx 1.23.2, onnxruntime 1.32.0
#
# ONNX' `Attention` with `is_causal` and cached keys (`past_key`) lets a query see the cache and what came before it in
# its block: j <= i + past. tract puts the triangle in the upper left corner, as if nothing were cached. Word by word,
# the way text is generated, the one query sees the oldest key alone: every output is the first word's value, whatever
# was said since. In one block without a cache it is right, and `present_key` and `present_value` are too. With one
# query `is_causal` may be left out (there is nothing to hide), else give the mask as an input.
#
# Seen: 8 words in one block: right, to 1e-6. One by one with the cache of the ones before, on opset 23 and 24:
# onnxruntime and the standard's reference evaluator give the same 8 outputs, tract the first word's value 8 times, to
# 1e-6. A block of 4 after 4: each query sees 4 keys too few. Without `is_causal`, and with the mask as an input: right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tract==0.23.9 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

heads, words, size = 2, 8, 16
rng = np.random.default_rng(0)
query, key, value = (rng.normal(size=(1, heads, words, size)).astype("float32") for _ in range(3))


def file(count, past, opset, causal, masked):
    """`Attention` of `count` words after `past` cached ones."""
    values = helper.make_tensor_value_info
    sizes = dict.fromkeys("qkv", (1, heads, count, size))
    if masked:
        sizes["mask"] = (count, past + count)
    if past:
        sizes |= dict.fromkeys(("past_key", "past_value"), (1, heads, past, size))
    taken = ["q", "k", "v", "mask" if masked else "", *(["past_key", "past_value"] if past else [])]
    while not taken[-1]:
        taken.pop()
    layer = helper.make_node("Attention", taken, ["y", *(["present_key", "present_value"] if past else [])], is_causal=int(causal))
    given = {"y": sizes["q"]} | (dict.fromkeys(("present_key", "present_value"), (1, heads, past + count, size)) if past else {})
    inputs, outputs = ([values(k, TensorProto.FLOAT, v) for k, v in side.items()] for side in (sizes, given))
    graph = helper.make_graph([layer], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, "attention.onnx")
    return list(sizes)


def outputs(first, count, past, opset, causal=True, masked=False):
    """Of onnxruntime, the reference and tract, for `count` words from `first` on."""
    names = file(count, past, opset, causal, masked)
    block, before = slice(first, first + count), slice(first - past, first)
    triangle = np.where(np.arange(past + count) <= np.arange(count)[:, None] + past, 0, -1e9).astype("float32")
    given = {"q": query[:, :, block], "k": key[:, :, block], "v": value[:, :, block], "mask": triangle}
    given |= {"past_key": key[:, :, before], "past_value": value[:, :, before]}
    given = {name: np.ascontiguousarray(given[name]) for name in names}
    network = tract.onnx().load("attention.onnx").into_model().into_runnable()
    return (
        onnxruntime.InferenceSession("attention.onnx").run(["y"], given)[0],
        ReferenceEvaluator("attention.onnx").run(["y"], given)[0],
        network.run([given[name] for name in names])[0].to_numpy(),
    )


def apart(a, b):
    return float(np.abs(a - b).max())


changed = False
for opset in 23, 24:
    whole, reference, seen = outputs(0, words, 0, opset)
    print(f"opset {opset}, {words} words in one block: tract {apart(whole, seen):.1g} off")
    assert max(apart(whole, reference), apart(whole, seen)) < 1e-5
    steps = [outputs(t, 1, t, opset) for t in range(words)]
    by_onnxruntime, by_reference, by_tract = (np.concatenate(y, 2) for y in zip(*steps))
    first = np.repeat(value[:, :, :1], words, 2)
    told = apart(whole, by_onnxruntime), apart(whole, by_reference), apart(whole, by_tract), apart(first, by_tract)
    print("  one by one, off: onnxruntime {:.1g}, reference {:.1g}, tract {:.2f}; tract from the first value {:.1g}".format(*told))
    assert max(told[:2]) < 1e-5
    changed |= told[2] < 0.1 or told[3] > 1e-5
    block = outputs(4, 4, 4, opset)
    print(f"  a block of 4 after 4: onnxruntime {apart(whole[:, :, 4:], block[0]):.1g}, tract {apart(whole[:, :, 4:], block[2]):.2f} off")
    changed |= apart(whole[:, :, 4:], block[2]) < 0.1
    plain, masked = outputs(7, 1, 7, opset, causal=False), outputs(4, 4, 4, opset, causal=False, masked=True)
    assert apart(whole[:, :, 7:], plain[2]) < 1e-5 and apart(whole[:, :, 4:], masked[2]) < 1e-5
if changed:
    raise SystemExit("the cache counts: the behaviour has changed")
PYTHON
