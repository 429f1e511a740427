#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# `keras.distillation.LogitsDistillation()` takes "kl_divergence", and takes the softmax at its temperature where the
# loss is an instance of `KLDivergence`. But the name gives the function, which isn't one, so the default, and the name
# spelt out, is the divergence of the raw logits, divided by the temperature and clipped to 0 to 1 as if they were
# probabilities: all that is negative is the same, all above the temperature too, there's no factor of its square, and
# the loss can be negative. Give `loss=keras.losses.KLDivergence()`.
#
# Seen, temperature 3: logits against the same ones plus 5 (the same probabilities): -0.84, right 0; against zeros
# 49.4, right 3.2; against their negatives 49.4, right 14.2; the instance gives the right ones. A student trained on
# this loss alone agrees with its teacher in 89 % of the test inputs by the instance, in 6 % by the default (10 classes).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np

temperature = 3.0
ways = {
    "default": lambda: keras.distillation.LogitsDistillation(temperature),
    "by name": lambda: keras.distillation.LogitsDistillation(temperature, loss="kl_divergence"),
    "instance": lambda: keras.distillation.LogitsDistillation(temperature, loss=keras.losses.KLDivergence()),
}


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def published(teacher, student):
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return float((p * np.log(p / q)).sum(-1).mean() * temperature**2)


rng = np.random.default_rng(0)
logits = (3 * rng.normal(size=(64, 10))).astype("float32")
changed = False
for name, student in ("plus 5", logits + 5), ("zeros", np.zeros_like(logits)), ("negatives", -logits):
    told = {way: float(make().compute_loss(logits, student)) for way, make in ways.items()}
    right = published(logits, student)
    print(f"logits against {name}: right {right:.2f},", ", ".join(f"{way} {loss:.2f}" for way, loss in told.items()))
    assert abs(told["instance"] - right) < 1e-3
    changed |= min(abs(told[way] - right) for way in ("default", "by name")) < 0.5


def network(width):
    return keras.Sequential([keras.Input((20,)), keras.layers.Dense(width, "relu"), keras.layers.Dense(10)])


keras.utils.set_random_seed(0)
x, test = (rng.normal(size=(n, 20)).astype("float32") for n in (4000, 2000))
teacher = network(64)
teacher.layers[-1].kernel.assign(3 * teacher.layers[-1].kernel)
labels = teacher.predict(test, verbose=0).argmax(-1)
agreement = {}
for way, make in ways.items():
    keras.utils.set_random_seed(1)
    distiller = keras.distillation.Distiller(teacher, network(64), make(), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(3e-3), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    distiller.fit(x, np.zeros(len(x)), epochs=40, batch_size=100, verbose=0)
    agreement[way] = float((distiller.student.predict(test, verbose=0).argmax(-1) == labels).mean())
    print(f"a student trained by it, {way}: agrees with its teacher in {agreement[way]:.1%} of the test inputs")
if changed or agreement["default"] > agreement["instance"] - 0.05:
    raise SystemExit("the default takes the softmax: the behaviour has changed")
PYTHON
