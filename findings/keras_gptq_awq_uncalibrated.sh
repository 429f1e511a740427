#!/bin/sh
# Keras 3.15.1, JAX 0.10.2
#
# `model.quantize("gptq")` and `("awq")` run the calibration data through the network and learn nothing from them: the
# layers are switched to their quantised call before the hooks are set on the plain one, which is then never called.
# GPTQ is rounding to the nearest, number for number; `activation_order` changes nothing, AWQ's scales are those of
# no data, and the progress bar and the time taken look as they should. (Said in the project's pull request 23512, merged
# after this release.) Use another tool's GPTQ, or `quantize("int4")`, which rounds too, without the wait.
#
# Seen, 4 bits, a layer of 64 inputs of unequal size: outputs 0.0882 off by GPTQ, by GPTQ with `activation_order`, by
# AWQ, and by rounding; 0.0529 by the method as published, in NumPy. Other calibration data give the same bytes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import keras
import numpy as np

words, width, units = 1000, 64, 32
rng = np.random.default_rng(0)
table = rng.normal(size=(words, width)) @ (rng.normal(size=(width, width)) * np.logspace(0, -1, width)[:, None]) / 8
kernel = rng.normal(size=(width, units)) / 8
right = table @ kernel


def off(y):
    return float(np.sqrt(((y - right) ** 2).mean() / (right**2).mean()))


def quantised(kind, seed=0, **options):
    given = keras.Input((None,), dtype="int32")
    embedding, dense = keras.layers.Embedding(words, width), keras.layers.Dense(units, use_bias=False)
    model = keras.Model(given, dense(embedding(given)))
    embedding.embeddings.assign(table)
    dense.kernel.assign(kernel)
    text = [np.random.default_rng(seed).integers(0, words // (1 + 9 * seed), 64) for _ in range(32)]
    parts = {"pre_block_layers": [embedding], "sequential_blocks": [dense]}
    settings = {"dataset": text, "tokenizer": lambda s: s, "num_samples": 32, "sequence_length": 64, "group_size": -1}
    config = {"gptq": keras.quantizers.GPTQConfig, "awq": keras.quantizers.AWQConfig}[kind]
    with contextlib.redirect_stdout(io.StringIO()):
        model.quantize(kind, config=config(quantization_layer_structure=parts, **settings, **options))
    error = off(model.predict(np.arange(words)[None], verbose=0)[0])
    print(f"{kind}, {options}, calibration data {seed}: {error:.6f} off")
    return error, keras.ops.convert_to_numpy(dense.quantized_kernel)


low, high = kernel.min(0), kernel.max(0)
scale = (high - low) / 15
zero = np.round(-low / scale)


def rounded(row):
    return (np.clip(np.round(row / scale) + zero, 0, 15) - zero) * scale


hessian = 2 * table.T @ table / words
hessian += 0.01 * np.diag(hessian).mean() * np.eye(width)
factor = np.linalg.cholesky(np.linalg.inv(hessian)).T
left, published = kernel.copy(), np.empty_like(kernel)
for j in range(width):
    published[j] = rounded(left[j])
    left[j + 1 :] -= np.outer(factor[j, j + 1 :], (left[j] - published[j]) / factor[j, j])
nearest, published = off(table @ rounded(kernel)), off(table @ published)
print(f"rounding to the nearest: {nearest:.6f} off, GPTQ as published: {published:.6f}")
assert published < 0.8 * nearest
told = [quantised("gptq"), quantised("gptq", 1), quantised("gptq", activation_order=True), quantised("awq"), quantised("awq", 1)]
if max(abs(error - nearest) for error, _ in told) > 1e-4:
    raise SystemExit("it is no longer rounding: the behaviour has changed")
if any((bytes_ != told[0][1]).any() for _, bytes_ in told):
    raise SystemExit("the data count: the behaviour has changed")
PYTHON
