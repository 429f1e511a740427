"""What a user sees while a model trains."""

from __future__ import annotations

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smh.datasets import Dataset
from smh.sizes.size_report import report
from smh.training.run_directory import RunDirectory


class ShowProgress(keras.callbacks.Callback):
    """Prints a line per epoch, and on a terminal a bar below them.

    Args:
        epochs: of the whole run.
    """

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs = epochs
        self._console = Console(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: Any = None
        self._began = 0.0

    def introduce(self, model: keras.Model, data: Dataset, run: RunDirectory, done: int) -> None:
        """Prints what is trained on what, and where it is written."""
        sizes, held_out = report(model), data.y_validation
        images = f"{len(data.y_train):,} training"
        images += "" if held_out is None else f", {len(held_out):,} validation"
        self._console.print(f"{model.name}: {sizes.in_words}")
        self._console.print(f"{data.name}: {images}, {len(data.y_test):,} test images")
        self._console.print(f"{run}: " + (f"goes on after epoch {done}" if done else "a new run"))

    def on_epoch_begin(self, epoch, logs=None):
        """Begins a bar."""
        self._began = time.perf_counter()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn(f"epoch {epoch + 1}/{self.epochs}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.params.get("steps"), loss="")
            self._bar.start()

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        if self._bar is not None:
            loss = f"loss {float(logs['loss']):.4f}" if logs and "loss" in logs else ""
            self._bar.update(self._task, completed=batch + 1, loss=loss)

    def on_epoch_end(self, epoch, logs=None):
        """Prints the line."""
        self.close()
        logs = logs or {}
        shown = [
            f"{name.replace('val_', 'val ')} {float(logs[name]):.4f}"
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            if name in logs
        ]
        seconds = time.perf_counter() - self._began
        number = f"{epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"
        self._console.print(f"epoch {number}  {'  '.join(shown)}  {seconds:.1f} s")

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
