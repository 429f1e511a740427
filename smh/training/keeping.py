"""Keeps what a run has done: metrics after each epoch, the state also within one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras

from smh.training.checkpoints import Place, save_checkpoint, set_metrics
from smh.training.divergence import check_loss, check_weights
from smh.training.every import Every
from smh.training.metrics import Row, write_metrics
from smh.training.run_directory import RunDirectory
from smh.virtual_variable.inside_keras.random_state import set_torch_state, torch_state


class KeepState(keras.callbacks.Callback):
    """Writes metrics and checkpoint after each epoch, in this order; and checkpoints within one.

    Args:
        run: where to.
        rows: the metrics of the epochs that are done; more are added.
        every: how often within an epoch.
        begun: the place and the metrics of an epoch that was begun before, or `None`.
        torch: the states of PyTorch's own generators to go on with. Not those that it has: how
            often loaders of data draw from them between two epochs depends on what was built.
    """

    def __init__(
        self,
        run: RunDirectory,
        rows: list[Row],
        every: Every,
        begun: tuple[Place, Any] | None,
        torch: list[bytes],
    ):
        super().__init__()
        self._torch, self._is_torch_set = torch, False
        self._run, self._rows, self._every, self._begun = run, rows, every, begun
        self._skipped = 0
        self._kept = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        """Goes on with the sums of an epoch that was begun before."""
        self._skipped = 0
        self._is_torch_set = self._begun is None
        if self._begun is None:
            set_torch_state(self._torch)
        else:
            place, metrics = self._begun
            self._begun, self._skipped = None, place.step
            set_metrics(self.model, metrics)

    def on_train_batch_begin(self, batch, logs=None):
        """Goes on with the random numbers of an epoch that was begun before."""
        if not self._is_torch_set:
            set_torch_state(self._torch)
            self._is_torch_set = True

    def on_train_batch_end(self, batch, logs=None):
        """Keeps the state, if it is time to, but not just before the epoch's end.

        Raises:
            DivergedError: it is time to, and the state has NaN or infinity. The one before stays.
        """
        step = self._skipped + batch + 1
        if batch + 1 < (self.params.get("steps") or 0) and self._is_due(step):
            self._check(logs)
            self._keep(Place(len(self._rows), step))

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the metrics, then the state: a line is there before its checkpoint.

        Raises:
            DivergedError: the state has NaN or infinity. The one before stays.
        """
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {name: float(value) for name, value in (logs or {}).items()}
        self._check(logs)
        self._rows.append({"epoch": epoch + 1, **row, "learning_rate": rate})
        write_metrics(self._rows, self._run.metrics_file)
        self._keep(Place(epoch + 1))

    def _check(self, logs: Mapping[str, Any] | None) -> None:
        """Raises `DivergedError` unless the state is one to go on from.

        The loss is the mean of the epoch so far, which stays NaN; the last step may have broken the
        weights after it.
        """
        check_loss(float((logs or {}).get("loss", 0.0)), len(self._rows) + 1)
        check_weights(self.model)

    def _is_due(self, step: int) -> bool:
        every = self._every
        if every.steps is not None:
            return step % every.steps == 0
        return every.seconds is not None and time.monotonic() - self._kept >= every.seconds

    def _keep(self, place: Place) -> None:
        save_checkpoint(self.model, self._run.checkpoints, place)
        self._torch = torch_state()
        self._kept = time.monotonic()  # not from before: a large model takes long to write
