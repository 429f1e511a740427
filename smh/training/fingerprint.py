"""What a run remembers of its data, to know on resuming whether they are the same. NumPy only."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from smh.container import plain_json
from smh.container.replacing import replacing
from smh.datasets import Dataset
from smh.datasets.dataset import map_arrays
from smh.errors import ArgumentError
from smh.training.config import read_settings
from smh.training.run_directory import RunDirectory


def fingerprint(data: Dataset) -> dict[str, list[str]]:
    """Returns for each part what its arrays are: dtype, shape and CRC-32 of all their bytes.

    Cost: a pass over the data.
    """
    parts = ("train", "validation", "test")
    return {part: [*_arrays(data, f"x_{part}"), *_arrays(data, f"y_{part}")] for part in parts}


def write_fingerprint(run: RunDirectory, data: Dataset) -> None:
    """Keeps the fingerprint of the data that a run begins with."""
    with replacing(run.data_file) as partial, open(partial, "w") as file:
        file.write(plain_json.dumps(fingerprint(data), indent=2) + "\n")


def check_same_data(run: RunDirectory, data: Dataset) -> None:
    """Checks that a run goes on with the data that it began with, as far as it remembers them.

    Raises:
        ArgumentError: they have changed, and another split may have test examples among those that
            the model was trained on.
    """
    if not run.data_file.is_file():  # of an older version
        return
    before, now = read_settings(run.data_file), fingerprint(data)
    changed = [part for part in now if before.get(part) != now[part]]
    if changed:
        part = changed[0]
        raise ArgumentError(
            f"The data of the run in '{run}' have changed since it began: its {part} part was "
            f"{_words(before.get(part))}, and is {_words(now[part])}. Give it the data that it "
            f"had, begin another by --out, or remove {run.data_file} to go on with these."
        )


def _words(arrays: Any) -> str:
    return ", ".join(map(str, arrays)) if arrays else "nothing"


def _arrays(data: Dataset, name: str) -> list[str]:
    found: list[str] = []
    if getattr(data, name) is not None:
        map_arrays(lambda array: found.append(_of(np.asarray(array))), getattr(data, name))
    return found


def _of(array: np.ndarray) -> str:
    form = f"{array.dtype} {'x'.join(map(str, array.shape))}"
    if array.dtype.hasobject:  # whose bytes are addresses
        return form
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{form} {zlib.crc32(content.data):08x}"
