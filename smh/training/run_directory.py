"""Where the files of a training run lie."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from smh.container import plain_json
from smh.container.replacing import replacing
from smh.errors import ArgumentError
from smh.training.config import TrainingConfig


class RunDirectory:
    """The folder of one training run.

    | file | what it holds |
    | --- | --- |
    | `config.json` | the settings: `smh train --config RUN/config.json` repeats the run |
    | `data.json` | shapes and checksums of the data, by which `--resume` knows that they changed |
    | `metrics.csv` | a line per epoch |
    | `tensorboard/` | the same for TensorBoard, where that is installed |
    | `checkpoints/` | the state after the last epoch, to go on from |
    | `model.keras`, `model.smh` | the trained model: for Keras, and small |
    | `report.csv` | what each weight costs |
    | `curves.png` | loss and accuracy by epoch, where Matplotlib is installed |
    | `result.json` | the figures of the test images; written last |

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(os.fsdecode(path))
        self.config_file = self.path / "config.json"
        self.data_file = self.path / "data.json"
        self.metrics_file = self.path / "metrics.csv"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.model_file = self.path / "model.keras"
        self.artifact_file = self.path / "model.smh"
        self.report_file = self.path / "report.csv"
        self.curves_file = self.path / "curves.png"
        self.result_file = self.path / "result.json"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_run(self) -> bool:
        """Whether a run was begun here."""
        return self.config_file.is_file()

    @property
    def is_complete(self) -> bool:
        """Whether the run here has come to its end."""
        return self.result_file.is_file()

    def config(self) -> TrainingConfig:
        """Reads the settings.

        Raises:
            ArgumentError: no run was begun here, or its settings are damaged.
        """
        if not self.is_run:
            raise ArgumentError(f"'{self}' is no run directory: it has no config.json.")
        return TrainingConfig.read(self.config_file)

    def check_is_free(self, replace: bool) -> None:
        """Checks that a new run may begin here.

        Raises:
            ArgumentError: something is here; a run may be replaced if `replace`, nothing else.
        """
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not self.is_run:
            raise ArgumentError(
                f"'{self}' exists and is no run directory. Choose another with --out."
            )
        if not replace:
            raise ArgumentError(
                f"'{self}' holds a run already. --resume goes on with it, --force replaces it, "
                "--out takes another folder."
            )

    def begin(self, config: TrainingConfig) -> None:
        """Makes the folder, without what an earlier run left, and writes the settings."""
        for old in vars(self).values():
            if old != self.path:
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        config.write(self.config_file)

    def result(self) -> dict[str, Any]:
        """Reads the final figures; what is not finite is `null` in JSON, and NaN here."""
        found = json.loads(self.result_file.read_text())
        return {name: math.nan if value is None else value for name, value in found.items()}

    def finish(self, result: dict[str, Any]) -> None:
        """Writes the final figures, which says that the run is complete."""
        with replacing(self.result_file) as partial:
            Path(partial).write_text(plain_json.dumps(result, indent=2) + "\n")
