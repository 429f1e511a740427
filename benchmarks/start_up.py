"""What it takes to compress, save, load and deploy a large network, in processor time.

One run on one backend (`KERAS_BACKEND`); `--against FOLDER` runs it again with the smh of another
folder, in turns, and prints both and the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import smh

HERE = str(Path(smh.__file__).parents[1])


def language_model(width: int = 640, blocks: int = 8, words: int = 60_000) -> keras.Model:
    """A decoder of 116 M numbers, of Keras' own layers."""
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(words, width)(ids)
    for _ in range(blocks):
        normal = keras.layers.LayerNormalization()(x)
        attention = keras.layers.MultiHeadAttention(width // 64, 64)
        x = keras.layers.add([x, attention(normal, normal, use_causal_mask=True)])
        wide = keras.layers.Dense(4 * width, "gelu")(keras.layers.LayerNormalization()(x))
        x = keras.layers.add([x, keras.layers.Dense(width)(wide)])
    return keras.Model(ids, keras.layers.Dense(words, use_bias=False)(x))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "applications": lambda: keras.applications.ResNet50(weights=None),
    "zoo": lambda: smh.zoo.build("resnet_50", (224, 224, 3), 1000),
    "language": language_model,
    "tiny": lambda: smh.zoo.build("lenet_300_100", (28, 28, 1), 10),
}


def measure(network: str) -> dict[str, float]:
    """Seconds of processor time of each step, in this process."""
    spent: dict[str, float] = {}

    def step(name: str, call: Callable[[], Any]) -> Any:
        begin = time.process_time()
        found = call()
        spent[name] = time.process_time() - begin
        return found

    model = step("build", NETWORKS[network])
    step("compress", lambda: smh.compress(model, 0.1, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        step("save", lambda: smh.save(model, f"{folder}/m.smh"))
        step("load", lambda: smh.load(f"{folder}/m.smh"))
        step("load again", lambda: smh.load(f"{folder}/m.smh"))
    step("deploy cached", lambda: smh.deploy(model, "cached"))
    step("deploy train", lambda: smh.deploy(model, "train"))
    return spent


def in_turns(network: str, folders: list[str], rounds: int) -> list[dict[str, float]]:
    """Medians of each folder's smh, in processes of their own."""
    found: list[list[dict]] = [[] for _ in folders]
    for _ in range(rounds):
        for folder, own in zip(folders, found, strict=True):
            command = [sys.executable, __file__, "--network", network, "--json"]
            env = os.environ | {"PYTHONPATH": folder}
            done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
            own.append(json.loads(done.stdout.splitlines()[-1]))
    return [{k: statistics.median(one[k] for one in own) for k in own[0]} for own in found]


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="applications")
    parser.add_argument("--against", help="a folder with another smh")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    if not options.against:
        spent = measure(options.network)
        print(json.dumps(spent) if options.json else spent)
        return
    before, now = in_turns(options.network, [options.against, HERE], options.rounds)
    for name in now:
        ratio = before[name] / now[name]
        print(
            f"| {options.network} | {name} | {before[name]:.2f} | {now[name]:.2f} | {ratio:.1f}x |"
        )


if __name__ == "__main__":
    main()
