#!/bin/sh
# h5py 3.16.0, NumPy 2.4.6
#
# `create_dataset(..., scaleoffset=D)` keeps floats to D decimals: HDF5's filter rounds each to a whole number of units of
# 10**-D. But all that lie less than a whole unit from the data set's fill value are taken for it, and that is 0 unless one
# says otherwise. So weights from half a unit to one, which should become one unit, become 0: there are twice as many
# zeros around 0 as rounding makes, the sizes most common in a layer, and every such weight is off by more than the half
# unit that D decimals promise. Say a `fillvalue` far from all weights, and each is rounded.
#
# Seen, normal weights of deviation 0.01 with D=2: 68 % become 0, 38 % by rounding; outputs are 0.48 off (root of the mean
# square, over that of the right outputs; 0.29 by rounding). Of deviation 0.05 with D=1: 95 % in place of 68. With
# `fillvalue=1e6` all is as by rounding, in as many bytes. With `fillvalue=0.02` the weights from 0.01 to 0.03 become 0.02.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet h5py==3.16.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import h5py
import numpy as np

rng = np.random.default_rng(0)


def stored(weights, decimals, **options):
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("w", data=weights, chunks=weights.shape, scaleoffset=decimals, **options)
    with h5py.File("x.h5") as file:
        return file["w"][()], file["w"].id.get_storage_size()


def off(got, right):
    return float(np.sqrt(((got - right) ** 2).mean() / (right**2).mean()))


changed = False
x = rng.normal(size=(64, 512))
for deviation, decimals in (0.01, 2), (0.05, 2), (0.01, 3), (0.05, 1):
    for kind in "float32", "float64":
        weights = (rng.normal(size=(512, 256)) * deviation).astype(kind)
        unit = 10.0**-decimals
        rounded = np.round(weights / unit) * unit
        seen, size = stored(weights, decimals)
        far, size_far = stored(weights, decimals, fillvalue=1e6)
        right = x @ weights
        print(f"{kind}, deviation {deviation}, {decimals} decimals: zeros {(seen == 0).mean():.0%}, by rounding {(rounded == 0).mean():.0%};", end=" ")
        print(f"off by at most {np.abs(seen - weights).max() / unit:.2f} units, with another fill value {np.abs(far - weights).max() / unit:.2f};", end=" ")
        print(f"outputs {off(x @ seen, right):.3f} off, {off(x @ far, right):.3f}, by rounding {off(x @ rounded, right):.3f}; {size} and {size_far} bytes")
        assert np.abs(far - weights).max() < 0.51 * unit and abs(off(x @ far, right) - off(x @ rounded, right)) < 0.02
        lost = np.abs(weights) < 0.99 * unit
        changed |= bool(seen[lost].any()) or np.abs(seen - weights).max() < 0.9 * unit
near, _ = stored(weights := (rng.normal(size=(512, 256)) * 0.05).astype("float32"), 2, fillvalue=0.02)
taken = near == np.float32(0.02)
print(f"fill value 0.02: it stands for all from {weights[taken].min():.4f} to {weights[taken].max():.4f}")
if changed or weights[taken].max() < 0.029:
    raise SystemExit("numbers near the fill value are rounded: the behaviour has changed")
PYTHON
