#!/bin/sh
# coremltools 9.0, NumPy 2.4.6
#
# `OpMagnitudePrunerConfig(target_sparsity=0.5)` takes the magnitude at 50 % for a threshold and sets everything up to
# and including it to zero, so that all weights of that size go together. Float weights have no ties, and the share is
# right. Weights on a grid (rounded to few bits, ternary, signs times a scale) consist of ties: more of them go than
# asked for, and where all have one size, the whole matrix is zero at any share above 0, in an intact file, without a
# warning. Prune before rounding, or set zeros by rank yourself; `n_m_ratio` goes by rank, and is right for any
# weights.
#
# Seen: a matrix of 128 x 256. Float weights: 0.50, 0.75 and 0.90 of them are zero, as asked. The same rounded to 4
# bits: 0.67, 0.89, 0.98. Ternary ones, a third zeros: at 0.30 nothing changes (0.33 are zero), at 0.50 all are zero.
# Signs of 0.05: all are zero when 0.10 is asked for. `n_m_ratio=(2, 4)`: 0.50 to 0.53 of each, the outputs of signs
# 0.7 off in place of 1.0; by rank in NumPy 0.10 of the signs are zero, and the outputs 0.3 off.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet coremltools==9.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2>warnings <<'PYTHON' || { cat warnings; exit 1; }
import coremltools
import coremltools.optimize.coreml as optimize
import numpy as np
from coremltools.converters.mil import Builder

rng = np.random.default_rng(0)
target = coremltools.target.iOS18
normal = (rng.normal(size=(128, 256)) * 0.05).astype("float32")
step = np.abs(normal).max() / 7
kinds = {
    "float": normal,
    "4 bits": np.round(normal / step).astype("float32") * step,
    "ternary": (rng.integers(-1, 2, normal.shape) * 0.05).astype("float32"),
    "signs": (rng.choice([-1, 1], normal.shape) * 0.05).astype("float32"),
}


def pruned(weights, **asked):
    """The weights of a dense layer, after coremltools has pruned the model."""

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, weights.shape[1]))], opset_version=target)
    def program(x):
        return Builder.linear(x=x, weight=weights)

    model = coremltools.convert(program, minimum_deployment_target=target, skip_model_load=True, compute_precision=coremltools.precision.FLOAT32)
    config = optimize.OptimizationConfig(global_config=optimize.OpMagnitudePrunerConfig(weight_threshold=1, **asked))
    model = optimize.decompress_weights(optimize.prune_weights(model, config))
    (seen,) = (m.val for m in optimize.get_weights_metadata(model, weight_threshold=1).values() if m.val.shape == weights.shape)
    return seen


def by_rank(weights, share):
    kept = weights.copy()
    kept.ravel()[np.argsort(np.abs(weights), axis=None, kind="stable")[: round(share * weights.size)]] = 0
    return kept


x = rng.normal(size=(500, 256))


def off(seen, weights):
    right = x @ weights.T
    return float(np.sqrt(((x @ seen.T - right) ** 2).mean() / (right**2).mean()))


zeros = {}
for kind, weights in kinds.items():
    for share in 0.1, 0.3, 0.5, 0.75, 0.9:
        seen, right = pruned(weights, target_sparsity=share), by_rank(weights, share)
        zeros[kind, share] = float((seen == 0).mean())
        print(
            f"{kind}, {share} asked for: {zeros[kind, share]:.3f} are zero, outputs {off(seen, weights):.2f} off; "
            f"by rank {(right == 0).mean():.3f}, {off(right, weights):.2f}"
        )
        assert (right == 0).mean() >= share - 1e-4
        if kind == "float":
            assert abs(zeros[kind, share] - share) < 1e-3
    seen = pruned(weights, n_m_ratio=(2, 4))
    zero = (seen == 0).reshape(128, 64, 4)
    print(f"{kind}, 2 of 4: {zero.mean():.3f} are zero, outputs {off(seen, weights):.2f} off")
    assert (zero.sum(2) >= 2).all() and (kind != "signs" or zero.mean() == 0.5)
print("warnings about sparsity:", [line for line in open("warnings") if "spars" in line.lower()])
if zeros["signs", 0.1] < 1 or zeros["ternary", 0.5] < 1 or zeros["4 bits", 0.75] < 0.8:
    raise SystemExit("ties are told apart: the behaviour has changed")
PYTHON
