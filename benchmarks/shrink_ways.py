"""Ways to make a trained network small without training: each gives bytes and a changed model."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from networks.network import Network

import smh
from smh.errors import ArgumentError

PEER = Path(__file__).parent / "peer_codecs.py"
# Of `nncodec`: with steps chosen by the size of each tensor as well, and without; biases and
# statistics to 2^-10, or to 2^-18 as by default. `qp` is a quarter of an octave.
NNCODEC = {
    "nonweight_qp=-40": {"nonweight_qp": -40},
    "nonweight_qp=-40, opt_qp": {"nonweight_qp": -40, "opt_qp": True},
}
AS_BY_DEFAULT = {"default": {}, "opt_qp": {"opt_qp": True}}
FINEST, COARSEST = -44, -4


@dataclass(frozen=True)
class Made:
    """One file: how it was made, its bytes, the loss of what is in it, and the time to make it.

    With a `file`, what is in it is still to be read and judged.
    """

    way: str
    setting: str
    bytes: int
    loss: float
    seconds: float
    file: Path | None = None

    def checked(self, network: Network) -> Made:
        """With the loss of what is in its file."""
        if self.file is None:
            return self
        return replace(self, loss=network.loss(smh.load(self.file)), file=None)


class Timed:
    """A judge, and the seconds that it has taken."""

    def __init__(self, loss: Callable[[keras.Model], float]):
        self._loss, self.seconds = loss, 0.0

    def __call__(self, changed: keras.Model) -> float:
        begin = time.perf_counter()
        try:
            return self._loss(changed)
        finally:
            self.seconds += time.perf_counter() - begin


class Peer:
    """The other environment's process; `None` answers where there is none."""

    def __init__(self, python: str | None, folder: Path):
        self._folder = folder
        self._process = None
        if python:
            self._process = subprocess.Popen(
                [python, str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            self._answer()  # it has imported what it is asked for

    def __bool__(self) -> bool:
        return self._process is not None

    def ask(self, codec: str, options: dict) -> dict:
        """Sends a request about `weights.npz` of the folder; returns the answer."""
        request = {
            "codec": codec,
            "weights": str(self._folder / "weights.npz"),
            "out": str(self._folder / "decoded.npz"),
            "options": options,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise SystemExit(f"{codec} {options}: {answer['error']}")
        return answer

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended: are nncodec and zipnn installed there?")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()


def copy_of(model: keras.Model) -> keras.Model:
    """The same model once more."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        return keras.saving.load_model(f"{folder}/model.keras", compile=False)


def saved(model: keras.Model, folder: Path) -> tuple[int, keras.Model]:
    """Bytes of the whole file, architecture and all, and the model that is in it."""
    path = folder / "model.smh"
    try:
        smh.save(model, path, rest="float16")
    except ArgumentError:  # statistics beyond its range
        smh.save(model, path, rest="bfloat16")
    return path.stat().st_size, smh.load(path)


def as_others_have_it(variable) -> np.ndarray:
    """A kernel in PyTorch's order of axes, which `nncodec` expects: outputs first."""
    weight = np.asarray(keras.ops.convert_to_numpy(variable))
    if weight.ndim == 4 and weight.shape[-1] == 1 and "depthwise" in variable.path:
        return np.ascontiguousarray(weight.transpose(2, 3, 0, 1))
    if weight.ndim > 1 and "emb" not in variable.path:
        order = [weight.ndim - 1, weight.ndim - 2, *range(weight.ndim - 2)]
        return np.ascontiguousarray(weight.transpose(order))
    return weight


def back(weight: np.ndarray, variable) -> np.ndarray:
    """The opposite of `as_others_have_it`."""
    if weight.ndim == 4 and variable.shape[-1] == 1 and "depthwise" in variable.path:
        return weight.transpose(2, 3, 0, 1)
    if weight.ndim > 1 and "emb" not in variable.path:
        return weight.transpose([*range(2, weight.ndim), 1, 0])
    return weight


def with_nncodec(network: Network, peer: Peer, folder: Path) -> list[Made]:
    """For each level the smallest of all settings."""
    variables = list(network.model.weights)
    named = {f"w{i}.weight": as_others_have_it(v) for i, v in enumerate(variables)}
    np.savez(folder / "weights.npz", **named)
    changed = copy_of(network.model)

    def make(options: dict, setting: str) -> Callable[[int], Made]:
        def at(qp: int) -> Made:
            answer = peer.ask("nncodec", {**options, "qp": qp})
            decoded = np.load(folder / "decoded.npz")
            for i, variable in enumerate(changed.weights):
                variable.assign(back(decoded[f"w{i}.weight"], variable).reshape(variable.shape))
            loss = network.loss(changed)
            name = f"qp={qp}, {setting}"
            return Made("nncodec", name, answer["bytes"], loss, answer["seconds"])

        return at

    found: list[Made] = []
    for (setting, options), (name, default) in zip(
        NNCODEC.items(), AS_BY_DEFAULT.items(), strict=True
    ):
        tried = searched(make(options, setting), network.levels)
        found += tried.values()
        kept = {
            max(q for q, one in tried.items() if one.loss <= level)
            for level in network.levels
            if any(one.loss <= level for one in tried.values())
        }
        found += map(make(default, name), sorted(kept))
    return found


def searched(make: Callable[[int], Made], levels: tuple[float, ...]) -> dict[int, Made]:
    """All that was tried to find, for each level, the coarsest step that keeps it.

    Bisection for the first level; each later one begins at the one before, with steps that double.
    """
    tried: dict[int, Made] = {}

    def keeps(qp: int, level: float) -> bool:
        if qp not in tried:
            tried[qp] = make(qp)
        return tried[qp].loss <= level

    fine, coarse = FINEST, COARSEST + 1
    for level in sorted(levels):
        while coarse - fine > 1:
            middle = (fine + coarse) // 2
            fine, coarse = (middle, coarse) if keeps(middle, level) else (fine, middle)
        for beyond in (fine + 2,):  # the loss does not rise with every step
            if beyond <= COARSEST and keeps(beyond, level):
                fine = beyond
        reach = 1
        following = max(levels) if level == max(levels) else min(x for x in levels if x > level)
        while fine + reach <= COARSEST and keeps(fine + reach, following):
            fine, reach = fine + reach, 2 * reach
        coarse = min(COARSEST + 1, fine + reach)
    return tried


def with_zipnn(network: Network, peer: Peer, folder: Path) -> list[Made]:
    """The float32 numbers, without loss."""
    named = {f"w{i}": np.asarray(v.value) for i, v in enumerate(network.model.weights)}
    np.savez(folder / "weights.npz", **named)
    answer = peer.ask("zipnn", {})
    return [Made("zipnn", "no loss", answer["bytes"], 0.0, answer["seconds"])]


def with_litert(network: Network, folder: Path) -> list[Made]:
    """Weights of 8 bits, activations in float: LiteRT's own quantisation of a trained model."""
    begin = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # it lists every captured tensor
        data = _converted(network.model)
    seconds = time.perf_counter() - begin
    loss = network.loss(_Interpreted(data)) if len(network.model.inputs) == 1 else float("nan")
    return [Made("LiteRT int8", "dynamic range", len(data), loss, seconds)]


def _converted(model: keras.Model) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


class _Interpreted:
    """What `Network.loss` needs of a model: `predict`."""

    def __init__(self, data: bytes):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=data)

    def predict(self, x: Any, batch_size: int = 32, verbose: int = 0) -> np.ndarray:
        """Answers in batches."""
        size = min(batch_size, len(x))
        x = np.asarray(x, "float32")
        runner = self._interpreter
        out = []
        for start in range(0, len(x), size):
            batch = x[start : start + size]
            (inputs,), (outputs,) = runner.get_input_details(), runner.get_output_details()
            runner.resize_tensor_input(inputs["index"], batch.shape)
            runner.allocate_tensors()
            runner.set_tensor(inputs["index"], batch)
            runner.invoke()
            out.append(runner.get_tensor(outputs["index"]).copy())
        return np.concatenate(out)


def with_earlier_smh(network: Network, folder: Path) -> list[Made]:
    """`smh.quantize_weights` and `smh.cluster`, each as coarse as it goes."""
    found = []
    worst = max(network.levels)
    for bits in (8, 7, 6, 5, 4):
        found.append(_made(network, folder, "quantize_weights", bits, smh.quantize_weights))
        if found[-1].loss > worst:
            break
    for bits in (6, 5, 4):
        found.append(_made(network, folder, "cluster", bits, smh.cluster))
        if found[-1].loss > worst:
            break
    return found


def _made(network: Network, folder: Path, name: str, bits: int, change) -> Made:
    begin = time.perf_counter()
    model = copy_of(network.model)
    change(model, bits=bits)
    size, again = saved(model, folder)
    seconds = time.perf_counter() - begin
    return Made("smh before", f"{name}, {bits} bits", size, network.loss(again), seconds)


def of_size(network: Network, folder: Path, size: int) -> Made:
    """`smh.shrink` to a size, and what the file that was written loses."""
    model = copy_of(network.model)
    begin = time.perf_counter()
    smh.shrink(model, network.calibration, target_size=size)
    seconds = time.perf_counter() - begin
    smh.save(model, folder / "model.smh")
    loss = network.loss(smh.load(folder / "model.smh"))
    size = (folder / "model.smh").stat().st_size
    return Made("smh.shrink", "target_size", size, loss, seconds)


def with_shrink(network: Network, folder: Path) -> list[Made]:
    """`smh.shrink` with the network's calibration inputs, once for each level."""
    found = []
    for number, level in enumerate(network.levels):
        model = copy_of(network.model)
        begin = time.perf_counter()
        smh.shrink(
            model,
            network.calibration,
            max_drop=level,
            evaluate=lambda changed: -network.loss(changed),
        )
        seconds = time.perf_counter() - begin
        path = folder / f"shrunk-{number}.smh"
        smh.save(model, path)
        setting, size = f"max_drop={level}", path.stat().st_size
        found.append(Made("smh.shrink", setting, size, math.nan, seconds, path))
    return found
