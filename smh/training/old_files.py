"""HDF5 files of Keras 2 and 3, also those that Keras 3 no longer reads by itself."""

from __future__ import annotations

import os
from typing import Any

import keras

from smh.container.replacing import replacing
from smh.errors import ArgumentError, ArtifactError
from smh.training.foreign import explained, is_hdf5


class _OldDepthwise:
    """Takes out of an old configuration the `groups` that Keras 3 refuses; it meant nothing."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.Layer:
        config = dict(config)
        groups = config.pop("groups", 1)
        if groups != 1:
            raise ValueError(f"DepthwiseConv2D with groups={groups!r:.40}")
        return keras.layers.DepthwiseConv2D(**config)


def import_model(source: str, target: str) -> keras.Model:
    """Reads an old HDF5 file of a whole model, and writes a `.keras` file that is loaded once.

    Args:
        source: the file.
        target: what to write, `*.keras`; replaced only once all is written.

    Returns:
        The model, uncompiled.

    Raises:
        ArgumentError: `source` is no such file.
        ArtifactError: Keras cannot make the model again.
        OSError: from the file system.
    """
    if not os.path.isfile(source) or not is_hdf5(source) or source.endswith(".weights.h5"):
        raise ArgumentError(explained(source))
    known = {"DepthwiseConv2D": _OldDepthwise}
    try:
        model = _read(source, known)
    except Exception as error:  # the file may hold anything, and so may Keras raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ArtifactError(
            f"'{source}' cannot be loaded as a Keras model: {reason:.300}"
        ) from error
    with replacing(target) as partial:
        model.save(partial)
        keras.saving.load_model(partial, compile=False)
    return model


def _read(source: str, known: dict[str, Any]) -> keras.Model:
    if source.endswith((".h5", ".hdf5")):
        return keras.saving.load_model(source, custom_objects=known, compile=False)
    # Keras goes by the name, and old files may have any.
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        link = os.path.join(folder, "model.h5")
        os.symlink(os.path.abspath(source), link)
        return keras.saving.load_model(link, custom_objects=known, compile=False)
