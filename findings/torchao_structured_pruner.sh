#!/usr/bin/env bash
# torchao 0.18.0, torch 2.14.1
#
# torchao's structured pruners (`SaliencyPruner`, `FPGMPruner`) mask rows while a network is trained, and `prune()` then
# takes the rows out for good. Sigmoid, Hardsigmoid, Softplus and LogSigmoid are among the activations that they support,
# and these make something else than 0 of a masked row: the network that was trained adds that constant times the next
# layer's weights, and the one that `prune()` gives does not. By default (`prune_bias` true) this is so with and without
# biases; with `prune_bias` false the constant is worked out and goes into the next bias, unless the layer has no bias of
# its own, in which case it is dropped as well. ReLU, GELU, SiLU, tanh and others leave 0 as it is and are right.
#
# The hook that adds the bias while rows are masked puts it on axis 1, where a linear layer has the last axis. For x of
# shape [batch, steps, features] that fails, and where there are as many steps as features it is added along the steps: a
# network that was only prepared, with nothing pruned, gives other numbers.
#
# Seen, half of 32 rows pruned, difference between the network with masks and the one after `prune()`: Sigmoid 83 %,
# Softplus 68 %, Hardsigmoid 72 %, LogSigmoid 38 %, ReLU and others 0; prepared and not pruned, 32 steps of 32 features:
# 29 %.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torchao==0.18.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import numpy as np
import torch
from torch import nn
from torchao.prototype.sparsity.pruner import SaliencyPruner

torch.manual_seed(0)
x = torch.randn(64, 16)


def off(y, right):
    return float(np.linalg.norm(y - right) / np.linalg.norm(right))


def by_hand(model, mask):
    """The network with masked rows and biases, in NumPy but for the activation."""
    first, activation, second = model
    with torch.no_grad():
        weights = (getattr(first, "parametrizations").weight.original * mask[:, None]).numpy()
        bias = first._bias.numpy() if getattr(first, "_bias", None) is not None else 0
        hidden = activation(torch.tensor(x.numpy() @ weights.T + bias)).numpy()
        return hidden @ second.weight.numpy().T + second.bias.numpy()


seen = {}
for bias in True, False:
    for prune_bias in True, False:
        for kind in nn.Sigmoid, nn.Softplus, nn.Hardsigmoid, nn.LogSigmoid, nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh:
            model = nn.Sequential(nn.Linear(16, 32, bias=bias), kind(), nn.Linear(32, 8)).eval()
            pruner = SaliencyPruner({"sparsity_level": 0.5})
            pruner.prepare(model, [{"tensor_fqn": "0.weight", "prune_bias": prune_bias}])
            pruner.enable_mask_update = True
            pruner.step()
            mask = model[0].parametrizations.weight[0].mask
            assert int(mask.sum()) == 16
            with torch.no_grad():
                masked = model(x).numpy()
                assert off(masked, by_hand(model, mask)) < 1e-5
                pruned = pruner.prune()
                seen[kind.__name__, bias, prune_bias] = off(pruned(x).numpy(), masked)
            assert pruned.get_submodule("0").weight.shape == (16, 16)
        numbers = ", ".join(f"{n} {e:.2g}" for (n, b, p), e in seen.items() if (b, p) == (bias, prune_bias))
        print(f"{'with' if bias else 'without'} biases, prune_bias={prune_bias}, the pruned network is off by: {numbers}")
with torch.no_grad():
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    steps = torch.randn(2, 32, 16)
    right = model(steps).numpy()
    SaliencyPruner({"sparsity_level": 0.0}).prepare(model, [{"tensor_fqn": "0.weight"}])
    whole = off(model(steps).numpy(), right)
print(f"32 steps of 32 features, prepared and not pruned: off by {whole:.2g}")

moved = {"Sigmoid", "Softplus", "Hardsigmoid", "LogSigmoid"}
assert all(e < 1e-5 for (n, b, p), e in seen.items() if n not in moved or (b and not p))
if whole < 0.05 or any(e < 0.1 for (n, b, p), e in seen.items() if n in moved and (p or not b)):
    raise SystemExit("the pruned network computes what the masked one does: the behaviour has changed")
PYTHON
