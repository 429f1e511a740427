#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# `SwapEMAWeights` lends a model the averages of its weights for `evaluate` and `predict`. After `evaluate` it takes
# them back; after `predict` it does not. The model stays on the averages, and the optimizer holds the trained weights
# as if they were the averages: a second `predict` with the callback answers with the trained weights, a third with the
# averages, and so on by turns; `evaluate` in between measures the wrong ones, and training goes on from the averages.
# Nothing is said. Ask such a model by `evaluate`, or call `predict` twice, or keep the weights and put them back.
#
# Seen: four times `model.predict(x, callbacks=[SwapEMAWeights()])` gives 3.25, 8.13, 3.25, 8.13 for one example
# (averages 3.25, trained weights 8.13); four times `evaluate` gives the same loss and leaves the model as it was.
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
x = rng.normal(size=(256, 4)).astype("float32")
y = x @ np.float32([[1], [2], [3], [4]])
one = np.ones((1, 4), "float32")
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
model.compile(keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.95), "mse")
for start in range(0, 256, 16):
    model.train_on_batch(x[start : start + 16], y[start : start + 16])
trained = model.get_weights()[0]
averages = keras.ops.convert_to_numpy(model.optimizer._model_variables_moving_average[0])
print(f"by the trained weights {float((one @ trained)[0, 0]):.4f}, by the averages {float((one @ averages)[0, 0]):.4f}")


def moved():
    return float(np.abs(model.get_weights()[0] - trained).max())


losses = [model.evaluate(x, y, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()]) for _ in range(4)]
print("evaluate:", losses, "the weights have moved by", moved())
assert len(set(losses)) == 1 and moved() == 0
answers, moves = [], []
for _ in range(4):
    answers.append(float(model.predict(one, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()])[0, 0]))
    moves.append(moved())
    print(f"predict: {answers[-1]:.4f}, the weights have moved by {moves[-1]:.4f}")
np.testing.assert_allclose(answers[0], (one @ averages)[0, 0], rtol=1e-5)
if abs(answers[1] - answers[0]) < 0.1 or moves[0] == 0:
    raise SystemExit("predict gives the weights back: the behaviour has changed")
np.testing.assert_allclose(answers[1::2], (one @ trained)[0, 0], rtol=1e-5)
PYTHON
