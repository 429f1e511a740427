"""The settings of a training run, checked, and as JSON."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smh.container import plain_json
from smh.container.replacing import replacing
from smh.errors import ArgumentError
from smh.errors.limits import COUNT, FRACTION, GRID_BITS, SEED, Limit


def _setting(kind: type, expected: str, help: str, valid: Callable = bool, **default: Any) -> Any:
    """A field that knows its type, what is allowed, and what the command line says about it."""
    metadata = {"kind": kind, "expected": expected, "help": help, "valid": valid}
    return dataclasses.field(metadata=metadata, **default)


def _count(help: str, default: int | None) -> Any:
    """A field that is a whole number from 1 on."""
    return _setting(int, COUNT.expected, help, COUNT.allows, default=default)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What decides the result of a training run.

    Attributes:
        model: a name of `smh.zoo.names()`, or a `.keras` or `.smh` file to go on with.
        data: a name of `smh.datasets.names()`.
        fraction: as in `smh.compress`; `None`: the model is not compressed here.
        bits: of the factors, in the last 40 % of the epochs, at least in the last one
            (`smh.quantize_factors`); or `None`.
        epochs: passes over the training images.
        batch_size: images in a step.
        peak_rate: the highest learning rate of Adam's one cycle.
        l2: see `smh.recipes.penalise_weights`.
        label_smoothing: see `smh.recipes.SmoothedCrossentropy`.
        augment: whether training images are changed at random, as is usual for the data set.
        validation: share of the training images held out, or their number if it is 1 or more.
        image_size: height and width in pixels, for data sets that can be scaled; `None`: theirs.
        limit: at most so many images of each part, drawn at random once; `None`: all.
        data_dir: the folder to look for the data in first, or `None`.
        seed: decides the initial weights, the order and the changes of the images.

    Raises:
        ArgumentError: a value that cannot work.

    Example:
        >>> from smh.training import TrainingConfig
        >>> TrainingConfig("lenet_5", "digits", fraction=0.1).epochs
        20
    """

    model: str = _setting(str, "a name or a file", "a name such as lenet_5 or resnet32, or a file")
    data: str = _setting(str, "a name", "the data set")
    fraction: float | None = _setting(
        float,
        FRACTION.expected,
        "compress to this share of the numbers, 0 to 1",
        FRACTION.allows,
        default=None,
    )
    bits: int | None = _setting(
        int,
        GRID_BITS.expected,
        "round the factors to 2 to 8 bits in the last 40 %% of the epochs, at least the last",
        GRID_BITS.allows,
        default=None,
    )
    epochs: int = _count("passes over the training images", default=20)
    batch_size: int = _count("images in a step", default=128)
    peak_rate: float = _setting(
        float,
        "a number above 0",
        "highest learning rate of Adam's one cycle",
        lambda value: value > 0,
        default=0.01,
    )
    l2: float = _setting(
        float,
        "a number, at least 0",
        "penalty on the squares of the weights",
        lambda value: value >= 0,
        default=0.0,
    )
    label_smoothing: float = _setting(
        float,
        "at least 0 and below 1",
        "share of a label that all classes get",
        lambda value: 0 <= value < 1,
        default=0.0,
    )
    augment: bool = _setting(
        bool,
        "true or false",
        "change the training images at random, as is usual for the data set",
        lambda value: True,
        default=True,
    )
    validation: float = _setting(
        float,
        "a share below 1 or a whole number of images",
        "share of the training images to hold out, or their number",
        lambda value: 0 <= value < 1 or value % 1 == 0 and value >= 1,
        default=0.1,
    )
    image_size: int | None = _count(
        "pixels per side (digits, imagenette, image_folder)", default=None
    )
    limit: int | None = _count("at most so many images of each part, for a quick try", default=None)
    data_dir: str | None = _setting(
        str, "a folder", "folder to look for the data in first", default=None
    )
    seed: int = _setting(
        int,
        SEED.expected,
        "decides initial weights, order and changes of the images",
        SEED.allows,
        default=0,
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))

    @property
    def bits_from(self) -> int:
        """The epoch from which on the factors are rounded; `epochs` if they never are."""
        if self.bits is None:
            return self.epochs
        return min(round(0.6 * self.epochs), self.epochs - 1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "") -> TrainingConfig:
        """Makes it from names and values.

        Args:
            values: names of attributes and their values.
            source: where they come from, for error messages.

        Raises:
            ArgumentError: an unknown name, a missing one, or a value that cannot work.
        """
        source = source and f"{source}: "
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}."
                raise ArgumentError(f"{source}there is no setting {name!r:.60}; {hint}")
        missing = [name for name in ("model", "data") if name not in values]
        if missing:
            raise ArgumentError(f"{source}'{missing[0]}' is missing.")
        try:
            return cls(**values)
        except ArgumentError as error:
            raise ArgumentError(f"{source}{error}") from None

    @classmethod
    def read(cls, path: str | os.PathLike) -> TrainingConfig:
        """Reads what `write` wrote, or what somebody wrote by hand.

        Raises:
            ArgumentError: the file is no JSON object, or as in `from_dict`.
            OSError: from the file system.
        """
        return cls.from_dict(read_settings(path), str(path))

    def to_dict(self) -> dict[str, Any]:
        """Returns names and values."""
        return dataclasses.asdict(self)

    def write(self, path: str | os.PathLike) -> None:
        """Writes JSON, one setting a line, replacing `path` only once all is written."""
        with replacing(path) as partial:
            Path(partial).write_text(plain_json.dumps(self.to_dict(), indent=2) + "\n")


def read_settings(path: str | os.PathLike) -> dict[str, Any]:
    """Reads the JSON object in a file, unchecked; raises `ArgumentError` if there is none."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ArgumentError(
            f"{path} must hold a JSON object such as "
            f'{{"model": "lenet_5", "data": "digits"}}, got {type(values).__name__}.'
        )
    return values


def _checked(field: dataclasses.Field, value: Any) -> Any:
    kind, expected, valid = (field.metadata[key] for key in ("kind", "expected", "valid"))
    if value is None and field.default is None:
        return None
    if kind in (int, float):
        limit = Limit(kind, expected, lambda number: abs(number) < math.inf and valid(number))
        return limit.checked(value, field.name)
    if type(value) is not kind or not valid(value):
        raise ArgumentError(f"{field.name} must be {expected}, got {value!r:.60}.")
    return value
