"""The end of the demo: one network by four ways in one table, for `examples/demo.py`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from rich.table import Table

import smh
from smh.datasets import Dataset

EXAMPLES = 300  # without labels, that shrink looks at
QUALITY = 50  # of shrink: 0 is coarse, at 100 nothing is lost
CHANNELS = 0.5  # share that pruning takes out
TIMED_BATCH, TIMED_CALLS = 100, 30


@dataclass(frozen=True)
class Way:
    """One model, as it came back from its file."""

    name: str
    bytes: int  # of the file that `smh.save` writes
    accuracy: float  # on the test images
    image_ms: float  # a plain Keras model's, in batches of `TIMED_BATCH`


def compare(dense, small, data: Dataset, train: Callable[[keras.Model], None]) -> list[Way]:
    """Makes the models, writes and reads their files, and measures them.

    Args:
        dense: the trained dense model.
        small: the trained SMH model, its factors rounded.
        data: the images.
        train: trains a pruned model on, in place.
    """
    shrunk = copy_of(dense)
    smh.shrink(shrunk, data.x_train[:EXAMPLES], quality=QUALITY)
    pruned = smh.prune(copy_of(dense), CHANNELS, structure="channels")
    train(pruned)
    slim = smh.slim(pruned)
    both = copy_of(slim)
    smh.shrink(both, data.x_train[:EXAMPLES], quality=QUALITY)
    models = {
        "dense": dense,
        "SMH, trained small": small,
        "shrunk, not trained": shrunk,
        "slimmed, trained on": slim,
        "slimmed, then shrunk": both,
    }
    files = [saved(model) for model in models.values()]
    times = image_times([smh.materialize(loaded) for loaded, _ in files], data)
    return [
        Way(name, size, accuracy(loaded, data), image_ms)
        for name, (loaded, size), image_ms in zip(models, files, times, strict=True)
    ]


def copy_of(model) -> keras.Model:
    """A plain model of the same numbers."""
    return smh.materialize(model)


def saved(model) -> tuple[keras.Model, int]:
    """Returns the model as read from its file, and the file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.smh"
        smh.save(model, path, rest="float16" if "pool" in str(smh.report(model)) else "float32")
        return smh.load(path), path.stat().st_size


def accuracy(model, data: Dataset) -> float:
    """The share of test images that it gets right."""
    return float(np.mean(model.predict(data.x_test, verbose=0).argmax(-1) == data.y_test))


def image_times(models, data: Dataset) -> list[float]:
    """Median milliseconds for an image of each model; they take turns."""
    x = data.x_test[:TIMED_BATCH]
    for model in models:
        model.predict_on_batch(x)
    seconds = []  # [calls, models]
    for _ in range(TIMED_CALLS):
        marks = [time.perf_counter()]
        for model in models:
            model.predict_on_batch(x)
            marks.append(time.perf_counter())
        seconds.append(np.diff(marks))
    return (1000 / len(x) * np.median(seconds, axis=0)).tolist()


def as_table(ways: list[Way]) -> Table:
    """What a newcomer wants to see, in 80 columns."""
    table = Table(title="One network, four ways", title_justify="left")
    table.add_column("model", no_wrap=True)
    for heading in ("bytes of\nthe file", "times\nsmaller", "test\naccuracy", "ms per\nimage"):
        table.add_column(heading, justify="right")
    for way in ways:
        table.add_row(
            way.name,
            f"{way.bytes:,}",
            f"{ways[0].bytes / way.bytes:.1f}",
            f"{way.accuracy:.1%}",
            f"{way.image_ms:.3f}",
        )
    table.caption = (
        f"files of smh.save; time: plain Keras models again, batches of {TIMED_BATCH}, median"
    )
    table.caption_justify = "left"
    return table
