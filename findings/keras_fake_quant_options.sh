#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# `keras.quantizers.fake_quant_with_min_max_vars`, called while a functional model is put together, forgets `num_bits`
# and `narrow_range`: the model rounds to 8 bits over the whole range, whatever was asked for. The same line with numbers
# in place of the model's tensor, or inside a layer's `call`, does as told, so a check of the function passes, and a
# network trained for 2 or 4 bits was trained for 8. Nothing warns. Put the call into a layer of one's own or a
# `Lambda`. `axis` does nothing on JAX, in a model or not: a range for each row is taken as one for each column where
# there are equally many (otherwise it is an error). Bring the axis to the end before and back after.
#
# Seen, 201 numbers from -1 to 1: asked for 2, 4 and 8 bits, a functional model gives 201 distinct values in all three,
# a `Lambda` 3, 16 and 201. A range for each of three rows (`axis=1`): up to 1.3 off the same rows one by one, with
# the axis brought to the end 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

x = np.linspace(-1, 1, 201, dtype="float32")[None]


def three(x, low, high, **options):
    """From the function itself, from a functional model and from a `Lambda` in one."""

    def asked(t):
        return keras.quantizers.fake_quant_with_min_max_vars(t, low, high, **options)

    given = keras.Input(x.shape[1:])
    models = [keras.Model(given, out) for out in (asked(given), keras.layers.Lambda(asked)(given))]
    return [np.asarray(asked(x)), *(np.asarray(model(x)) for model in models)]


changed = False
for options in {"num_bits": 2}, {"num_bits": 4}, {"num_bits": 8}, {"num_bits": 2, "narrow_range": True}:
    counts = [len(np.unique(y)) for y in three(x, -1.0, 1.0, **options)]
    print(f"{options}: distinct values of the function {counts[0]}, a functional model {counts[1]}, a Lambda {counts[2]}")
    assert counts[0] == counts[2] and (options["num_bits"] == 8 or counts[0] <= 2 ** options["num_bits"])
    changed |= counts[1] != 201
if changed:
    raise SystemExit("a functional model does as told: the behaviour has changed")
fake = keras.quantizers.fake_quant_with_min_max_vars
rows = np.random.default_rng(0).uniform(-2, 2, size=(1, 3, 3)).astype("float32")
ends = np.float32([0.5, 1, 2])
right = np.stack([np.asarray(fake(rows[:, i], -end, end)) for i, end in enumerate(ends)], 1)
off = np.abs(np.asarray(fake(rows, -ends, ends, axis=1)) - right).max()
last = np.abs(np.swapaxes(fake(np.swapaxes(rows, 1, 2), -ends, ends, axis=2), 1, 2) - right).max()
print(f"a range for each row: {off:.6f} off the rows one by one; with the axis at the end {last:.6f}")
assert last < 1e-6
if off < 0.1:
    raise SystemExit("the axis counts: the behaviour has changed")
