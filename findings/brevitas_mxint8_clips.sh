#!/bin/sh
# brevitas 0.13.4, torch 2.14.1
#
# In the microscaling format MXINT8 a block's scale is the power of two at or below its largest number, and the eight bits
# have one bit before the point, so that they reach to 1.98 of it. Brevitas' `MXInt8Weight` and `MXInt8Act` have none: they
# reach to 0.99 of that power of two, and all above, up to a half of what there should be room for, is cut off. As the
# largest of a block is above its power of two, nearly every block loses its largest numbers, and it is they that count:
# eight bits are hardly better than four, and far worse than one scale for a row. The "MSE" variant, which looks for a
# better scale, finds the same. `MXFloat8e4m3Weight` does what the format says.
#
# Seen: 1.99, 1.5 and 1.0 all become 0.992. Normal weights: 17 % off (root of the mean square) in 8 bits, 18 in 6, 21 in 4,
# 27 in 3; by the format 0.8 % in 8 bits; `Int8WeightPerChannelFloat` 0.6 %, `MXFloat8e4m3Weight` 3 %. Activations by
# `MXInt8Act`: 15 %. The outputs of a layer shrink to 0.90 of the right ones.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet brevitas==0.13.4 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore 2>errors - <<'PYTHON' || { cat errors; exit 1; }
import torch
from brevitas import nn as quantised
from brevitas.quant import Int8WeightPerChannelFloat
from brevitas.quant.experimental.mx_quant_ocp import MXFloat8e4m3Weight, MXInt8Act, MXInt8Weight, MXInt8WeightMSE

torch.set_num_threads(1)


def layer(weights, kind, **options):
    made = quantised.QuantLinear(weights.shape[1], weights.shape[0], bias=False, weight_quant=kind, **options)
    made.weight.data = weights.clone()
    return made.eval()


def rounded(weights, kind, **options):
    return layer(weights, kind, **options).quant_weight().value.detach()


def off(got, right):
    return float((got - right).square().mean().sqrt() / right.square().mean().sqrt())


few = torch.tensor([[1.99, 1.5, 1.0, 0.99, 0.5, 0.25] + [0.0] * 26])
seen = rounded(few, MXInt8Weight)
print(few[0, :6], "become", seen[0, :6])

torch.manual_seed(0)
weights, x = torch.randn(32, 64), torch.randn(200, 64)
blocks = weights.reshape(32, 2, 32)
scale = 2.0 ** blocks.abs().amax(-1, keepdim=True).log2().floor()
standard = ((blocks / scale * 64).round().clamp(-128, 127) / 64 * scale).reshape(weights.shape)
by_format = off(standard, weights)
by_bits = {bits: off(rounded(weights, MXInt8Weight, weight_bit_width=bits), weights) for bits in (8, 6, 4, 3)}
better = off(rounded(weights, MXInt8WeightMSE), weights)
by_row, float8 = (off(rounded(weights, kind), weights) for kind in (Int8WeightPerChannelFloat, MXFloat8e4m3Weight))
print("off by, by bits:", by_bits, f"MSE {better:.4f}, by the format {by_format:.4f}, one scale for a row {by_row:.4f}, float8 {float8:.4f}")
activations = quantised.QuantIdentity(MXInt8Act, group_dim=-1).eval()(x)
activations = getattr(activations, "value", activations)
y = layer(weights, MXInt8Weight)(x)
y = getattr(y, "value", y).detach()
right = x @ weights.T
share = float((y * right).sum() / (right * right).sum())
print(f"activations off by {off(activations, x):.4f}; outputs are {share:.3f} of the right ones")
assert by_format < 0.01 and by_row < 0.01 and float8 < 0.05
if by_bits[8] < 0.1 or better < 0.1 or off(activations, x) < 0.1 or share > 0.97 or float(seen.max()) > 1:
    raise SystemExit("MXINT8 reaches beyond the power of two: the behaviour has changed")
PYTHON
