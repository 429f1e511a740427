#!/usr/bin/env bash
# numcodecs 0.16.6, NumPy 2.4.6
#
# numcodecs' `Quantize(digits=D)` keeps D decimals of floats, so that what packs them afterwards has less to store; it
# takes float16 as it takes float32 and float64. It multiplies by the power of two that D decimals need and divides by it,
# in the weights' own type, and float16 ends at 65,504. With 5 decimals or more the power itself (131,072) is infinite
# there: every number is NaN, a pruned layer's zeros too. With 4 decimals all above 4 is infinite, with 3 all above 64.
# What is stored is lost; NumPy prints a warning while it is written, and reading back says nothing. float32 of the same
# numbers, and the rounding by hand in float32, keep what was asked.
#
# Seen, 10,000 float16 weights of deviation 0.05, 90 % of them zero: 3 and 4 decimals right, 5 and 6 decimals 100 % NaN; of
# deviation 30, with 3 decimals 3.5 % infinite, with 4 decimals 90 %; float32: all right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numcodecs==0.16.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numcodecs
import numpy as np

rng = np.random.default_rng(0)
pruned = rng.normal(size=10_000) * 0.05
pruned[rng.random(10_000) < 0.9] = 0
large = rng.normal(size=10_000) * 30


def kept(w, digits):
    codec = numcodecs.Quantize(digits=digits, dtype=w.dtype)
    return np.asarray(codec.decode(codec.encode(w))).view(w.dtype).reshape(w.shape)


def by_hand(w, digits):
    """The same power of two, worked out in float32."""
    scale = np.float32(2.0 ** np.ceil(np.log2(10.0**digits)))
    return (np.rint(w.astype("float32") * scale) / scale).astype(w.dtype)


seen = {}
for name, w in ("pruned", pruned), ("large", large):
    for dtype in "float16", "float32":
        x = w.astype(dtype)
        for digits in 1, 3, 4, 5, 6:
            y, right = kept(x, digits), by_hand(x, digits)
            assert np.isfinite(right).all() and np.abs(right.astype("float64") - x).max() <= 0.5 * 10.0**-digits
            nan, infinite = float(np.isnan(y).mean()), float(np.isinf(y).mean())
            fine = bool((y == right).all())
            seen[name, dtype, digits] = nan, infinite, fine
            print(f"{name}, {dtype}, {digits} decimals: {nan:.1%} NaN, {infinite:.1%} infinite, {'as' if fine else 'not as'} by hand")
assert all(fine for (_, dtype, digits), (_, _, fine) in seen.items() if dtype == "float32" or digits == 1)
assert seen["pruned", "float16", 3][2] and seen["pruned", "float16", 4][2]
if min(seen["pruned", "float16", digits][0] for digits in (5, 6)) < 1 or seen["large", "float16", 4][1] < 0.5:
    raise SystemExit("float16 keeps its decimals: the behaviour has changed")
PYTHON
