#!/bin/sh
# Keras 3.15.1, TensorFlow 2.21.0, JAX 0.10.2
#
# `optimizer.exclude_from_weight_decay(var_names=[...])` looks for a name in the variable's own name only. On TensorFlow
# that is the backend's, which begins with the layer's ("norm/gamma"); on JAX it is Keras' ("gamma"). So the name of
# a layer, as in recipes that leave the normalisations or the embeddings out, spares them on TensorFlow, and nothing on
# JAX: all decay, silently. Moving a training script from one backend to the other changes the weights. Give the
# variables themselves (`var_list`), or names of variables such as "bias", "gamma" and "embeddings".
#
# Seen, one step with a decay of 0.1, a rate of 0.1 and gradients of zero, from ones: for "norm", gamma and beta of the
# layer `norm` stay 1 on TensorFlow and become 0.99 on JAX, as do the embeddings of the layer `tokens` for "tokens";
# for "gamma" gamma stays 1 on both, and for `var_list` all that are in it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow-cpu==2.21.0 jax==0.10.2 numpy==2.4.6
cd "$folder"
cat >seen.py <<'PYTHON'
import json
import sys

import keras
import numpy as np

told = {}
for sought in "norm", "tokens", "gamma", "list":
    layers = [keras.layers.Embedding(5, 4, name="tokens"), keras.layers.LayerNormalization(name="norm")]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2, name="out")])
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    chosen = {"var_list": model.get_layer("norm").trainable_variables} if sought == "list" else {"var_names": [sought]}
    optimizer.exclude_from_weight_decay(**chosen)
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    spared = [v.path for v in model.trainable_variables if keras.ops.convert_to_numpy(v).min() == 1]
    told[sought] = sorted("/".join(path.split("/")[-2:]) for path in spared)
json.dump(told, open(sys.argv[1], "w"))
PYTHON
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 JAX_PLATFORMS=cpu "$folder/venv/bin/python" seen.py $backend.json >errors.txt 2>&1 || { tail -20 errors.txt; exit 1; }
done
"$folder/venv/bin/python" - <<'PYTHON'
import json

told = {backend: json.load(open(f"{backend}.json")) for backend in ("tensorflow", "jax")}
for backend, seen in told.items():
    for sought, spared in seen.items():
        print(f"{backend}, {sought}: spared {', '.join(spared) or 'none'}")
norms = ["norm/beta", "norm/gamma"]
for seen in told.values():
    assert seen["list"] == norms and seen["gamma"] == ["norm/gamma"]
if told["tensorflow"]["norm"] != norms or told["tensorflow"]["tokens"] != ["tokens/embeddings"]:
    raise SystemExit("TensorFlow spares others: the behaviour has changed")
if told["jax"]["norm"] or told["jax"]["tokens"]:
    raise SystemExit("JAX spares the layer: the behaviour has changed")
PYTHON
