#!/usr/bin/env bash
# torch 2.14.1, timm 1.0.31
#
# `torch.utils.flop_counter.FlopCounterMode` counts the forward pass of a grouped or depthwise convolution rightly, and its
# backward pass as if the gradient of the weights were that of a dense kernel: it takes the channels from the shapes of the
# inputs and of the gradient, and the groups are in neither. The gradient of the weights takes as many multiplications as
# the forward pass, so the backward pass is twice the forward pass, as it is counted for dense convolutions, strided and
# transposed ones, linear layers and attention. As the forward numbers agree with every paper, nobody doubts the
# others; but what training costs is told wrongly just for the networks that are made for being cheap, and the
# comparison with a dense network is turned round.
#
# Seen, backward over forward: dense 2, 4 groups of 64 channels 5, depthwise with 64 channels 65. MobileNetV2: 19.4,
# EfficientNet-B0: 40.7, ConvNeXt-Tiny: 7.7, ResNet-18: 1.9. By the counter a step of EfficientNet-B0 costs 3 times as
# much as one of ResNet-18, by forward numbers a fifth.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 timm==1.0.31 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

torch.manual_seed(0)


def counted(model, x):
    with FlopCounterMode(display=False) as counter:
        y = model(x)
    forward = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    return forward, counter.get_total_flops()


def by_hand(layer, x):
    """Multiplications and additions of the three convolutions, counted from the sums that each number is made of."""
    y = layer(x)
    each = y.numel() * layer.weight[0].numel() * 2  # one kernel's numbers for each number of the output
    return each, 2 * each


changed = False
x = torch.randn(1, 64, 16, 16, requires_grad=True)
for groups in 1, 4, 64:
    layer = nn.Conv2d(64, 64, 3, padding=1, groups=groups, bias=False)
    (forward, backward), right = counted(layer, x), by_hand(layer, x)
    print(f"{groups} groups: forward {forward}, backward {backward} (by hand {right[0]}, {right[1]})")
    assert forward == right[0]
    if groups == 1:
        assert backward == right[1]
    else:
        changed |= backward != right[0] + groups * right[0]
# The same gradient, out of the convolutions of each group by itself: the counter counts this one rightly.
layers = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(4)])


class Apart(nn.Module):
    def forward(self, x):
        return torch.cat([layer(part) for layer, part in zip(layers, x.chunk(4, 1))], 1)


whole = nn.Conv2d(64, 64, 3, padding=1, groups=4, bias=False)
with torch.no_grad():
    whole.weight.copy_(torch.cat([layer.weight for layer in layers]))
assert torch.allclose(whole(x), Apart()(x), atol=1e-5)
print("4 groups in one layer:", counted(whole, x), "in four layers:", counted(Apart(), x))
assert counted(Apart(), x)[1] == by_hand(whole, x)[1]

steps = {}
for name in "resnet18", "mobilenetv2_100", "efficientnet_b0", "convnext_tiny":
    forward, backward = counted(timm.create_model(name, pretrained=False), torch.randn(1, 3, 224, 224))
    steps[name] = forward, forward + backward
    print(f"{name}: forward {forward / 1e9:.2f}, backward {backward / 1e9:.2f} GFLOP, ratio {backward / forward:.1f}")
assert 1.8 < steps["resnet18"][1] / steps["resnet18"][0] - 1 < 2.1
assert steps["efficientnet_b0"][0] < steps["resnet18"][0] / 4
changed |= steps["efficientnet_b0"][1] < 2 * steps["resnet18"][1]
if changed:
    raise SystemExit("groups are counted: the behaviour has changed")
PYTHON
