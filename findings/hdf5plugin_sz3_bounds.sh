#!/bin/sh
# hdf5plugin 7.1.0, h5py 3.16.0, NumPy 2.4.6
#
# hdf5plugin numbers SZ3's ways to bound an error 2 for the norm of all errors and 3 for the ratio of peak to error; SZ3
# itself has them the other way round. So `SZ3(norm2=...)` asks for a ratio and leaves it at 0 dB, the coarsest there is:
# every weight of a layer comes back as one and the same number, whatever the bound, and the file is tiny.
# `SZ3(peak_signal_to_noise_ratio=...)` asks for a norm of 0 and loses nothing, and saves next to nothing. The warning
# that goes with the latter, "Only absolute and norm2 modes properly tested", sends one to the former. `absolute` and
# `relative` are right. With `absolute=norm / sqrt(n)` the norm's bound holds.
#
# Seen: 65,536 normal weights of deviation 0.05 (norm 12.8). `norm2` of 1, 0.1, 0.01: one number, norm of the errors
# 12.8, 131 bytes. A ratio of 20, 40, 60 dB: no error at all, 92 % of the bytes. `absolute=0.001`: errors up to 0.001.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hdf5plugin==7.1.0 h5py==3.16.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import h5py
import hdf5plugin
import numpy as np

rng = np.random.default_rng(0)
weights = (rng.normal(size=(256, 256)) * 0.05).astype("float32")


def there_and_back(**bound):
    with h5py.File("weights.h5", "w") as file:
        kept = file.create_dataset("w", data=weights, chunks=weights.shape, compression=hdf5plugin.SZ3(**bound))
        size = kept.id.get_storage_size()
    with h5py.File("weights.h5") as file:
        return file["w"][...], size


norm = float(np.linalg.norm(weights))
print(f"norm of the weights {norm:.2f}, {weights.nbytes} bytes")
changed = False
for name in "norm2", "peak_signal_to_noise_ratio", "absolute", "relative":
    for bound in {"norm2": (1.0, 0.1, 0.01), "peak_signal_to_noise_ratio": (20.0, 40.0, 60.0)}.get(name, (1e-2, 1e-3)):
        seen, size = there_and_back(**{name: bound})
        errors = seen.astype("float64") - weights
        off = float(np.linalg.norm(errors))
        print(
            f"{name}={bound}: {len(np.unique(seen))} numbers, largest error {np.abs(errors).max():.2g}, "
            f"norm of the errors {off:.3g}, {size} bytes"
        )
        if name == "norm2":
            changed |= off < 0.9 * norm or len(np.unique(seen)) > 1
        elif name == "peak_signal_to_noise_ratio":
            changed |= off > 0 or size < 0.8 * weights.nbytes
        else:
            assert np.abs(errors).max() <= bound * (np.ptp(weights) if name == "relative" else 1) * 1.001
if changed:
    raise SystemExit("the bounds are kept: the behaviour has changed")
PYTHON
