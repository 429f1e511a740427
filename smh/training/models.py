"""The model that a run begins with: from the zoo, or from a file."""

from __future__ import annotations

import os
import warnings
import zipfile

import keras
import numpy as np

from smh import zoo
from smh.artifact.files import load as load_artifact
from smh.datasets import Dataset
from smh.doors.compression import compress
from smh.errors import ArgumentError, ArtifactError, SmhError, SmhWarning
from smh.training.config import TrainingConfig
from smh.training.data import check_fits, count_classes
from smh.training.sources import SUFFIXES, check_model_file, find_model

_FORGETS = (
    "fraction={fraction:g} starts with random factors, so what '{name}' had learned is gone. To "
    "keep some of it: smh compress --fraction {fraction:g} --init fit; all of it: smh shrink."
)
_ZIPPED_BY_HAND = 1 << 20  # what a small .keras file may shrink by, if its user packs it again


def build_model(config: TrainingConfig, data: Dataset) -> keras.Model:
    """Makes the model that training begins with, compressed and compiled.

    Raises:
        ArgumentError: the model does not fit the data, or the settings do not fit the model.
        ArtifactError: the file of the model is damaged.
    """
    keras.utils.set_random_seed(config.seed)
    name = find_model(config.model)
    if name.endswith(SUFFIXES):
        model = open_model_file(name)
    else:
        if not isinstance(data.x_train, np.ndarray):
            raise ArgumentError(f"'{name}' takes images, and {data.name} has several arrays.")
        shape = tuple(int(n) for n in data.x_train.shape[1:])
        model = zoo.build(name, shape, count_classes(data))
    check_fits(model, data)
    if config.fraction is not None:
        if name.endswith(SUFFIXES):
            warnings.warn(_FORGETS.format(name=name, fraction=config.fraction), SmhWarning, 2)
        compress(model, config.fraction, seed=config.seed)
    return model


def open_model_file(path: str) -> keras.Model:
    """Loads a `.keras` or a `.smh` file, uncompiled.

    Raises:
        ArgumentError: the file is not there, has another suffix, or holds several models.
        ArtifactError: it is damaged, or needs what this process does not know.
        OSError: from the file system.
    """
    check_model_file(path)
    if path.endswith(".smh"):
        model = load_artifact(path)
        if isinstance(model, list):
            raise ArgumentError(f"'{path}' holds {len(model)} models; one is expected.")
        return model
    try:
        _check_unpacked_size(path)
        return keras.saving.load_model(path, compile=False)
    except SmhError:
        raise
    except Exception as error:  # the file may hold anything, and so may Keras raise
        raise ArtifactError(
            f"'{path}' cannot be loaded as a Keras model: {reason_of(error)}"
        ) from error


def reason_of(error: Exception) -> str:
    """The first line of what Keras says; where it quotes another error, of the innermost one."""
    text = str(error).rpartition("Exception encountered: ")[2].strip() or type(error).__name__
    return text.splitlines()[0].partition(" Full object config: ")[0]


def _check_unpacked_size(path: str) -> None:
    """Raises if the members of a zip file would take much more memory than the file itself.

    Keras stores them as they are; it would unpack any, however large. A member that is larger than
    the directory says fails its checksum.
    """
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    size = os.path.getsize(path)
    if unpacked > 2 * size + _ZIPPED_BY_HAND:
        raise ArtifactError(
            f"'{path}': byte {size - 1:,}: by the directory at its end {unpacked:,} bytes are in "
            f"this file of {size:,}. Keras writes no such file."
        )
