#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# `keras.distillation.Distiller` makes a loss of its own, without the penalties of its student: `kernel_regularizer`,
# `activity_regularizer` and `add_loss` are computed and dropped, on a student that `fit` alone trains with them. So are
# `sample_weight` and `class_weight` of `fit`. Nothing is said, and the training is the same to the byte. Penalise by
# the optimizer (`weight_decay`), or add the penalties in a subclass' `compute_loss`.
#
# Seen: an L1 penalty of 0.01 on a student of 20-32-10: `fit` alone ends with a mean size of the first kernel of 0.042
# in place of 0.225, a Distiller at 0.169 with it and without: the same bytes. The same bytes with weights of 0 for all
# examples but those of one class, and with `class_weight`; `fit` alone ends elsewhere by each.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(2000, 20)).astype("float32")


def network(penalty=0.0, width=32):
    keras.utils.set_random_seed(1)
    regularizer = keras.regularizers.L1(penalty) if penalty else None
    layers = keras.layers.Dense(width, "relu", kernel_regularizer=regularizer), keras.layers.Dense(10)
    return keras.Sequential([keras.Input((20,)), *layers])


teacher = network(width=64)
y = teacher.predict(x, verbose=0).argmax(-1)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def kernel(distilled, penalty=0.0, **weights):
    student = network(penalty)
    model = student
    if distilled:
        matching = keras.distillation.LogitsDistillation(3.0, loss=keras.losses.KLDivergence())
        model = keras.distillation.Distiller(teacher, student, matching)
    model.compile(keras.optimizers.Adam(3e-3), loss=loss)
    keras.utils.set_random_seed(2)
    model.fit(x, y, epochs=15, batch_size=100, verbose=0, **weights)
    return keras.ops.convert_to_numpy(student.layers[0].kernel)


options = {
    "penalty": {"penalty": 0.01},
    "sample_weight": {"sample_weight": (y == 0).astype("float32")},
    "class_weight": {"class_weight": {c: 10.0 if c == 0 else 0.1 for c in range(10)}},
}
changed = False
for distilled in False, True:
    plain = kernel(distilled)
    for name, option in options.items():
        seen = kernel(distilled, **option)
        same = plain.tobytes() == seen.tobytes()
        print(
            f"{'Distiller' if distilled else 'fit alone'}, {name}: mean size of the kernel {np.abs(seen).mean():.4f}, "
            f"without {np.abs(plain).mean():.4f}, the same bytes {same}"
        )
        if distilled:
            changed |= not same
        else:
            assert not same
if changed:
    raise SystemExit("penalties or weights count: the behaviour has changed")
PYTHON
