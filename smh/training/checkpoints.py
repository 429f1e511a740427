"""The state of a run after an epoch or within one, on disk as a whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from smh.container import plain_json
from smh.errors import ArtifactError
from smh.training.models import reason_of
from smh.virtual_variable.inside_keras.random_state import (
    check_torch_state,
    random_state,
    set_random_state,
    torch_state,
)

_NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?")
_MODEL, _RANDOM, _METRICS = "model.keras", "random_state.json", "metrics.json"


@dataclass(frozen=True, order=True)
class Place:
    """How far a run is.

    Attributes:
        epoch: number of epochs that are done.
        step: batches of the next one that are done.
    """

    epoch: int = 0
    step: int = 0

    @property
    def name(self) -> str:
        """What a folder is called."""
        return f"epoch_{self.epoch:04d}" + (f"_step_{self.step:06d}" if self.step else "")


def save_checkpoint(model: keras.Model, folder: Path, place: Place) -> Path:
    """Saves the model, its optimizer, its random generators, and the metrics of a begun epoch.

    It is written under another name, which it then changes: whenever the process is killed, the
    last whole checkpoint is there. The one before it is removed afterwards.

    Args:
        model: a compiled model.
        folder: where the checkpoints lie.
        place: how far the run is.

    Returns:
        Where it is.
    """
    partial, final = folder / "partial", folder / place.name
    for left in (partial, final):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        model.save(partial / _MODEL)
    except OSError as error:  # a full disk; it names no file
        error.filename = error.filename or str(partial / _MODEL)
        raise
    # Keras does not save the generators of a model that is not compressed.
    states = {
        "backend": keras.backend.backend(),
        "model": random_state(model),
        "torch": [base64.b64encode(state).decode() for state in torch_state()],
    }
    (partial / _RANDOM).write_text(plain_json.dumps(states, indent=1))
    if place.step:
        (partial / _METRICS).write_text(plain_json.dumps(_metrics(model), indent=1))
    for file in partial.iterdir():
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
    partial.rename(final)
    for other in folder.iterdir():
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    return final


def last_checkpoint(folder: Path) -> tuple[Path, Place] | None:
    """Returns the newest checkpoint and what it has behind it; `None`: there is none."""
    found = [
        (Place(int(match[1]), int(match[2] or 0)), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _NAME.fullmatch(path.name))
    ]
    return max(found)[::-1] if found else None


def load_checkpoint(path: Path) -> keras.Model:
    """Makes the model of a checkpoint, ready to train on as if it had never stopped.

    Raises:
        ArtifactError: the checkpoint is damaged, or needs what this process does not know.
    """
    with _told(path), zipfile.ZipFile(path / _MODEL) as archive:  # Keras says a cut one is missing
        if (member := archive.testzip()) is not None:
            raise ValueError(f"{member} in {_MODEL} is not what was written")
    states = _random(path)
    try:
        model = keras.saving.load_model(path / _MODEL)
        set_random_state(model, states["model"])
    except Exception as error:  # the files are whole: it is not they that fail, but code of others
        hint = ""
        if states["backend"] not in (None, keras.backend.backend()):
            hint = f" It was written on another backend: set KERAS_BACKEND={states['backend']}."
        raise ArtifactError(
            f"The checkpoint {path} cannot be loaded: {reason_of(error)}{hint}"
        ) from error
    return model


def load_torch_state(path: Path) -> list[bytes]:
    """What PyTorch's own generators were when the checkpoint was written; none elsewhere.

    Raises:
        ArtifactError: the checkpoint is damaged.
    """
    states = _random(path)["torch"]
    with _told(path):
        found = [base64.b64decode(state, validate=True) for state in states]
        check_torch_state(found)
        return found


def _random(path: Path) -> dict[str, Any]:
    with _told(path):
        states = json.loads((path / _RANDOM).read_text())
        if isinstance(states, dict):
            return {key: states[key] for key in ("backend", "model", "torch")}
        return {"backend": None, "model": states, "torch": []}  # as older versions wrote it


def load_metrics(path: Path) -> list | None:
    """What an epoch had summed up when the checkpoint was written; `None` between two epochs.

    Raises:
        ArtifactError: the checkpoint is damaged.
    """
    file = path / _METRICS
    if not file.exists():
        return None
    with _told(path):
        values = json.loads(file.read_text())
        if not isinstance(values, list):
            raise ValueError(f"{_METRICS} is no list")
        return values


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Inside, where files are read and no more, an error tells that they are damaged."""
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:  # a file may hold anything
        run = path.parent.parent
        raise ArtifactError(
            f"The checkpoint {path} is damaged: {error!s:.300}. The run cannot go on; `smh train "
            f"--config {run / 'config.json'} --out {run} --force` begins it again."
        ) from error


def set_metrics(model: keras.Model, values: list) -> None:
    """Lets a model's metrics go on from there."""
    for variable, value in zip(model.metrics_variables, values, strict=True):
        variable.assign(np.asarray(value, "float64"))  # `null` is NaN


def _metrics(model: keras.Model) -> list:
    return [keras.ops.convert_to_numpy(v).tolist() for v in model.metrics_variables]
