"""The state of a run after an epoch, on disk as a whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import keras

from smh.errors import ArtifactError
from smh.virtual_variable.inside_keras.random_state import random_state, set_random_state

_NAME = re.compile(r"epoch_(\d+)")
_MODEL, _RANDOM = "model.keras", "random_state.json"


def save_checkpoint(model: keras.Model, folder: Path, epoch: int) -> Path:
    """Saves the model, its optimizer and its random generators after `epoch` epochs.

    It is written under another name, which it then changes: whenever the process is killed, the
    last whole checkpoint is there. The one before it is removed afterwards.

    Args:
        model: a compiled model.
        folder: where the checkpoints lie.
        epoch: number of epochs that are done.

    Returns:
        Where it is.
    """
    partial, final = folder / f"partial_{epoch:04d}", folder / f"epoch_{epoch:04d}"
    for left in (partial, final):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        model.save(partial / _MODEL)
    except OSError as error:  # a full disk; it names no file
        error.filename = error.filename or str(partial / _MODEL)
        raise
    # Keras does not save the generators of a model that is not compressed.
    (partial / _RANDOM).write_text(json.dumps(random_state(model)))
    for file in partial.iterdir():
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
    partial.rename(final)
    for other in folder.iterdir():
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    return final


def last_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """Returns the newest checkpoint and how many epochs it has behind it; `None`: there is none."""
    found = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _NAME.fullmatch(path.name))
    ]
    return max(found)[::-1] if found else None


def load_checkpoint(path: Path) -> keras.Model:
    """Makes the model of a checkpoint, ready to train on as if it had never stopped.

    Raises:
        ArtifactError: the checkpoint is damaged.
    """
    try:
        model = keras.saving.load_model(path / _MODEL)
        set_random_state(model, json.loads((path / _RANDOM).read_text()))
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ArtifactError(f"The checkpoint {path} cannot be read: {error}") from error
    return model
