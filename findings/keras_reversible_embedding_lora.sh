#!/bin/sh
# keras 3.15.1 (on JAX 0.10.2)
#
# A `ReversibleEmbedding` with an adapter (`enable_lora`) in int8 or int4 looks words up with the adapter and
# computes `reverse=True`, the scores of the words, without it, silently, whichever came first, the adapter or
# the integers. In floats and in float8 the adapter is in both. Saving adds the adapter to the weights, so
# that the file of an int8 model gives the right scores, and not those that the model gave.
#
# Seen: the scores in int8 are those without the adapter (0.6 % off), and 0.57 to 0.66 of the largest score
# off those with it; from the saved file they are 0.7 % off or less. Looked up words are 0.2 % off.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
words = rng.integers(0, 50, (8, 5))
states = rng.normal(size=(8, 5, 32)).astype("float32")


def off(got, right):
    return float(np.abs(np.array(got) - right).max() / np.abs(right).max())


def build(adapter, precision, first):
    """Errors of looking up and of scores: with the adapter, without it, and with it in the saved file."""
    keras.utils.set_random_seed(0)
    layer = layers.ReversibleEmbedding(50, 32)
    word, state = keras.Input((5,), dtype="int32"), keras.Input((5, 32))
    model = keras.Model([word, state], [layer(word), layer(state, reverse=True)])
    table = np.array(layer.embeddings)
    if precision and first == "precision":
        model.quantize(precision)
    change = 0 * table
    if adapter:
        layer.enable_lora(4)
        for each in layer.lora_embeddings_a, layer.lora_embeddings_b:
            each.assign(0.1 * rng.normal(size=each.shape))
        change = np.array(layer.lora_embeddings_a) @ np.array(layer.lora_embeddings_b)
    if precision and first == "adapter":
        model.quantize(precision)
    looked, scores = model([words, states])
    model.save("it.keras")
    again = keras.models.load_model("it.keras")([words, states])[1]
    both = table + change
    told = off(looked, both[words]), off(scores, states @ both.T), off(scores, states @ table.T), off(again, states @ both.T)
    print(f"{'adapter' if adapter else 'no adapter'}, {precision or 'float'}, {first} first:", end=" ")
    print("words {:.4f}, scores {:.4f} off ({:.4f} off those without adapter); from the file {:.4f}".format(*told))
    return told


for adapter, precision in (True, None), (True, "float8"), (False, "int8"):
    words_off, scores_off, _, file_off = build(adapter, precision, "adapter")
    assert max(words_off, scores_off, file_off) < 0.02
for precision, small in ("int8", 0.02), ("int4", 0.2):
    for first in "adapter", "precision":
        words_off, scores_off, without, file_off = build(True, precision, first)
        assert max(words_off, file_off) < small
        if scores_off < 0.3 or without > small:
            raise SystemExit("the scores have the adapter: the behaviour has changed")
PYTHON
