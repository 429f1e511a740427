#!/usr/bin/env bash
# torch 2.14.1, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0
#
# `torch.onnx.export` drops options that ONNX' operator of the same name does not have, where one would have guessed an error
# or a few operators more. `avg_pool2d(divisor_override=...)` becomes a plain average, and `scatter_reduce("mean")` a
# scatter without any reduction: of the values for a place, the last one stays. Attention with a boolean mask that leaves
# a query no key, as padded batches have it, is 0 in PyTorch; in the file it is the mean of all values, masked ones too.
# The other options of these functions ("sum" and "amax", `count_include_pad`,
# `ceil_mode`, masks with a key for each query) come out rightly.
#
# Seen: with the divisor 5 in place of 9 all outputs are 5 / 9 of the right ones; means by index are the last values; the query
# without keys is the mean of the values.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


def both(function, *inputs):
    class Network(nn.Module):
        def forward(self, *inputs):
            return function(*inputs)

    model = Network().eval()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exported = torch.onnx.export(model, inputs, dynamo=True).model_proto
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    seen = session.run(None, {name: value.numpy() for name, value in zip(names, inputs)})[0]
    return model(*inputs).numpy(), seen, [node.op_type for node in exported.graph.node]


def apart(name, function, *inputs):
    right, seen, kinds = both(function, *inputs)
    off = float(np.nan_to_num(np.abs(seen - right), nan=np.inf).max())
    print(f"{name}: {off:.3f} apart, {kinds}", flush=True)
    return off, right, seen


changed = False
image = torch.rand(2, 4, 9, 11) + 1
assert apart("average", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), image)[0] < 1e-5
assert apart("average, rounded up", lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), image)[0] < 1e-5
off, right, seen = apart("average with a divisor", lambda x: F.avg_pool2d(x, 3, 2, divisor_override=5), image)
print("  file over PyTorch:", (seen / right).min(), (seen / right).max())
changed |= not np.allclose(seen, right * 5 / 9, rtol=1e-4)

x, i, values = torch.zeros(3, 5), torch.tensor([[0, 2, 2, 2], [1, 1, 0, 0], [4, 4, 4, 4]]), torch.rand(3, 4) + 1
for how in "sum", "amax", "amin":
    assert apart(f"scatter_reduce {how}", lambda x, i, v: x.scatter_reduce(1, i, v, reduce=how), x, i, values)[0] < 1e-5
off, right, seen = apart("scatter_reduce mean", lambda x, i, v: x.scatter_reduce(1, i, v, reduce="mean"), x, i, values)
print("  PyTorch", right[2], "file", seen[2])
changed |= not np.allclose(seen[2, 4], values[2, 3]) or not np.allclose(right[2, 4], values[2].sum() / 5)

queries, keys, content = (torch.randn(2, 4, 6, 8) for _ in range(3))
mask = torch.rand(6, 6) > 0.3
mask[:, 0] = True
attention = F.scaled_dot_product_attention
assert apart("attention", lambda q, k, v, m: attention(q, k, v, attn_mask=m), queries, keys, content, mask)[0] < 1e-4
mask[0] = False
off, right, seen = apart("a query without keys", lambda q, k, v, m: attention(q, k, v, attn_mask=m), queries, keys, content, mask)
print("  PyTorch", right[0, 0, 0, :3], "file", seen[0, 0, 0, :3], "mean of the values", content[0, 0, :, :3].mean(0).numpy())
assert not right[0, 0, 0].any()
changed |= not np.allclose(seen[:, :, 0], content.mean(2), atol=1e-5)
if changed:
    raise SystemExit("the options are exported: the behaviour has changed")
PYTHON
