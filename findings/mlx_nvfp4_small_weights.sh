#!/bin/sh
# mlx 0.32.4 (mlx-cpu), NumPy 2.4.6
#
# The format NVFP4 has two scales: one in 8 bits for 16 weights, and one float for the whole matrix that brings those into
# reach. MLX' `quantize` leaves the second out unless it is given (`global_scale`), and `nn.quantize(model, mode="nvfp4")`
# has no way to give it. A scale of 8 bits (E4M3) ends at 2^-9, so that 16 weights of which the largest is below 0.0059
# are all zeros, and below 0.09 they are coarser: a layer whose weights have a deviation of 0.002 loses nearly all of
# them, silently, where `mxfp4` and `affine` with as many bits lose nothing. Multiply the layer's weights by a power of
# two and its outputs back, or use `mxfp4`.
#
# Seen: normal weights, error of x @ W.T over its deviation: deviation 1: nvfp4 0.10, mxfp4 0.11; 0.005: 0.14, 0.12;
# 0.003: 0.58, 0.12; 0.002: 0.96, 0.12, 95 % of the weights are zero; 0.001: 1.00. With `global_scale` the largest
# weight: 0.10 at all of them. `nn.quantize`: as without.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlx==0.32.4 mlx-cpu==0.32.4 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import inspect

import mlx.core as mx
import mlx.nn as nn
import numpy as np

mx.set_default_device(mx.cpu)
rng = np.random.default_rng(0)
normal = rng.normal(size=(256, 512)).astype("float32")
x = rng.normal(size=(100, 512)).astype("float32")


def there_and_back(weights, mode, **options):
    kept = mx.quantize(mx.array(weights), mode=mode, **options)
    return np.array(mx.dequantize(*kept, mode=mode, **options).astype(mx.float32))


def error(seen, weights):
    right = x @ weights.T
    return float((x @ seen.T - right).std() / right.std())


assert "global_scale" not in inspect.signature(nn.quantize).parameters
changed = False
for deviation in 1, 0.02, 0.005, 0.003, 0.002, 0.001:
    weights = normal * np.float32(deviation)
    seen = {mode: there_and_back(weights, mode) for mode in ("nvfp4", "mxfp4", "affine")}
    scaled = there_and_back(weights, "nvfp4", global_scale=mx.array(np.abs(weights).max()))
    model = nn.Sequential(nn.Linear(512, 256, bias=False))
    model.layers[0].weight = mx.array(weights)
    nn.quantize(model, mode="nvfp4")
    right = x @ weights.T
    layer = float((np.array(model(mx.array(x))) - right).std() / right.std())
    errors = {mode: error(s, weights) for mode, s in seen.items()}
    zeros = float((seen["nvfp4"] == 0).mean())
    print(
        f"deviation {deviation}: " + ", ".join(f"{k} {v:.2f}" for k, v in errors.items()) + f", nvfp4 with global_scale "
        f"{error(scaled, weights):.2f}; nn.quantize, nvfp4 {layer:.2f}; zeros in nvfp4 {zeros:.0%}"
    )
    assert max(errors["mxfp4"], errors["affine"], error(scaled, weights)) < 0.15
    if deviation >= 0.02:
        assert errors["nvfp4"] < 0.15
    if deviation <= 0.002:
        changed |= zeros < 0.8 or errors["nvfp4"] < 0.5 or layer < 0.5
if changed:
    raise SystemExit("small weights are kept: the behaviour has changed")
PYTHON
