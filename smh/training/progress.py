"""What a user sees while a model trains."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from smh.datasets import Dataset
from smh.datasets.dataset import count_of
from smh.progress.words import time_left
from smh.sizes.size_report import report
from smh.training.checkpoints import Place
from smh.training.run_directory import RunDirectory

_PAUSE = 60.0  # seconds between two lines within an epoch, where there is no terminal


class ShowProgress(keras.callbacks.Callback):
    """Prints a line per epoch; within one, a bar on a terminal, elsewhere a line now and then.

    Args:
        epochs: of the whole run.
        steps: batches in an epoch.
        console: where to; default: stdout.
    """

    def __init__(self, epochs: int, steps: int, console: Console | None = None):
        super().__init__()
        self.epochs, self.steps = epochs, steps
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: Any = None
        self._place = Place()
        self._first, self._begin = 0, 0.0  # the batch, of the whole run, and when it was done
        self._epoch_began = self._said = 0.0

    def introduce(
        self, model: keras.Model, data: Dataset, run: RunDirectory, place: Place, loss: str
    ) -> None:
        """Prints what is trained on what, where it is written, and what it goes on from."""
        sizes, held_out = report(model), data.y_validation
        images = f"{count_of(data.y_train):,} training"
        images += "" if held_out is None else f", {count_of(held_out):,} validation"
        what = "images" if getattr(data.x_train, "ndim", 0) == 4 else "examples"
        self._place = place
        self._console.print(f"{model.name}: {sizes.in_words}")
        self._console.print(f"{data.name}: {images}, {count_of(data.y_test):,} test {what}")
        self._console.print(f"loss: {loss}")
        self._console.print(f"{run}: {self._begins(place)}")

    def _begins(self, place: Place) -> str:
        if place == Place():
            return "a new run"
        within = f", batch {place.step:,} of {self.steps:,} in the next" if place.step else ""
        return f"goes on after epoch {place.epoch} of {self.epochs}{within}"

    def on_epoch_begin(self, epoch, logs=None):
        """Begins a bar."""
        self._place = Place(epoch, self._place.step if epoch == self._place.epoch else 0)
        self._epoch_began = self._said = time.perf_counter()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn(f"epoch {epoch + 1}/{self.epochs}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[said]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.steps, said="")
            self._bar.start()

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar, or prints a line if there was none for a while."""
        step, now = self._place.step + batch + 1, time.perf_counter()
        done = self._place.epoch * self.steps + step
        if not self._begin:  # the first batch takes long: it compiles
            self._first, self._begin = done, now
        if self._bar is None and now - self._said < _PAUSE:
            return
        said = "  ".join(_figures(logs or {}) + self._left(done))
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=said)
        else:
            self._said = now
            self._console.print(f"{self._number()}  {step:,}/{self.steps:,}  {said}")

    def on_epoch_end(self, epoch, logs=None):
        """Prints the line."""
        self.close()
        seconds = f"{time.perf_counter() - self._epoch_began:.1f} s"
        left = self._left((epoch + 1) * self.steps)
        self._console.print("  ".join([self._number(), *_figures(logs or {}), seconds, *left]))

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _number(self) -> str:
        return f"epoch {self._place.epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"

    def _left(self, done: int) -> list[str]:
        """How long the whole run still takes, by the batches of this process."""
        seconds = time.perf_counter() - self._begin
        said = time_left(seconds, done - self._first, self.epochs * self.steps - self._first)
        return [said] if said else []


def _figures(logs: Mapping[str, Any]) -> list[str]:
    """Losses, accuracies and errors, those of the validation last."""
    names = [name for name in logs if re.search("loss|accuracy|mae", name)]
    names.sort(key=lambda name: (name.startswith("val_"), not name.endswith("loss")))
    return [f"{name.replace('val_', 'val ')} {float(logs[name]):.4f}" for name in names]
