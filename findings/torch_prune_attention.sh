#!/bin/sh
# torch 2.14.1
#
# `torch.nn.utils.prune` keeps a layer's numbers as `weight_orig` and a mask, and multiplies them before each call of the
# layer. `MultiheadAttention` never calls its `out_proj`: it reads its weight. So in a pruned `TransformerEncoderLayer` that
# weight is the product of the moment when it was pruned, for good. `load_state_dict` of a checkpoint loads all keys and
# says so, and the layer computes with the loaded weights except this one, in training and in evaluation, with the fast
# path or without; the same for averaged weights that are copied in, and for anything that changes `weight_orig`. A saved
# `state_dict` is equal to the one that was loaded. `prune.remove` multiplies once more, so that what should only
# make the pruning permanent changes the outputs, and to the right ones; so does calling `out_proj` once.
#
# Seen, all four linear layers of a transformer layer pruned by half, its state loaded into another pruned in the same way:
# outputs 0.75 apart, with equal state dictionaries; after `prune.remove` of `out_proj`, 0. With `out_proj` left alone, or in a
# network of the feed-forward layers only, 0 from the start.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.nn.utils import prune

torch.set_num_threads(1)


def pruned(seed, build, spared=()):
    torch.manual_seed(seed)
    model = build()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and name not in spared:
            prune.l1_unstructured(layer, "weight", 0.5)
    return model.eval()


def attention():
    return nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)


def feed_forward():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))


x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


def apart(a, b):
    told = []
    for training in False, True:
        a.train(training), b.train(training)
        for gradients in False, True:
            with torch.set_grad_enabled(gradients):
                told.append(float((a(x) - b(x)).abs().max()))
    return max(told), min(told)


for name, build, spared in ("feed-forward", feed_forward, ()), ("out_proj left alone", attention, ("self_attn.out_proj",)):
    trained, other = pruned(0, build, spared), pruned(1, build, spared)
    print(name, "after loading:", other.load_state_dict(trained.state_dict()), apart(trained, other)[0])
    assert apart(trained, other)[0] < 1e-6
trained, other = pruned(0, attention), pruned(1, attention)
print("all pruned, after loading:", other.load_state_dict(trained.state_dict()), apart(trained, other))
largest, smallest = apart(trained, other)
first, second = trained.state_dict(), other.state_dict()
assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
prune.remove(other.self_attn.out_proj, "weight")
print("after remove:", apart(trained, other)[0])
assert apart(trained, other)[0] < 1e-6
if smallest < 0.1:
    raise SystemExit("the loaded weights are used: the behaviour has changed")
PYTHON
