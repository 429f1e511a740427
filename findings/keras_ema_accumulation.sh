#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# With `gradient_accumulation_steps=k`, an optimizer changes the weights at every k-th batch, but with `use_ema` it takes
# them into the average at every batch: k times the same numbers. The average forgets k times as fast; `ema_momentum`
# means its own k-th power. The text on these options says that the average looks at the accumulated steps. So the same
# training, cut into smaller batches to fit into memory, gives the same weights and another average: the averaged
# model, which `fit` leaves behind and which is deployed, is hardly averaged at all. Give the k-th root of the momentum.
#
# Seen, 60 steps of 64 examples with a momentum of 0.98, whole or as 8 batches of 8: the weights differ by 1e-7, the
# averages by 0.81 (their mean distance from the weights is 0.30 and 0.02); with the eighth root, by 0.016.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(60 * 64, 16)).astype("float32")
y = (x @ rng.normal(size=(16, 1)) + rng.normal(size=(len(x), 1))).astype("float32")


def trained(steps, momentum):
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    optimizer = keras.optimizers.SGD(0.02, use_ema=True, ema_momentum=momentum, gradient_accumulation_steps=steps)
    model.compile(optimizer, "mse")
    size = 64 // (steps or 1)
    for start in range(0, len(x), size):
        model.train_on_batch(x[start : start + size], y[start : start + size])
    weights = model.get_weights()[0]
    optimizer.finalize_variable_values(model.trainable_variables)
    average = model.get_weights()[0]
    print(f"{size} examples a batch, momentum {momentum:.4f}: the average is {np.abs(average - weights).mean():.4f} from the weights")
    return weights, average


whole = trained(None, 0.98)
parts = trained(8, 0.98)
root = trained(8, 0.98 ** (1 / 8))
for name, other in ("in parts", parts), ("in parts, with the root", root):
    print(f"{name}: the weights {np.abs(other[0] - whole[0]).max():.7f} off, the average {np.abs(other[1] - whole[1]).max():.7f}")
    assert np.abs(other[0] - whole[0]).max() < 1e-5
assert np.abs(root[1] - whole[1]).max() < 0.05
if np.abs(parts[1] - whole[1]).max() < 0.3:
    raise SystemExit("the averages agree: the behaviour has changed")
PYTHON
