#!/bin/sh
# keras 3.15.1 (on jax 0.10.2)
#
# `fit(x, sample_weight=w)` of a model that needs no labels (its loss is its own, as in
# self-distillation) drops the weights without a word: `compute_loss` gets None. With any labels
# beside them, even zeros, the weights arrive.
#
# Seen: None without labels, an array with them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

arrived = []


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        arrived.append(sample_weight is not None)
        return keras.ops.sum(y_pred)


model = Own()
model.compile("sgd")
x, weights = np.ones((4, 2)), np.zeros(4)
model.fit(x, sample_weight=weights, verbose=0)
print("without labels the weights arrive:", any(arrived))
assert not any(arrived), "the behaviour has changed"
arrived.clear()
model.fit(x, np.zeros(4), sample_weight=weights, verbose=0)
print("with labels:", any(arrived))
assert any(arrived)
PYTHON
