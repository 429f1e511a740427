"""What a run of `mnist_curve.py` is, and the tables of runs."""

from __future__ import annotations

import csv
import platform
import re
import shlex
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import smh


@dataclass(frozen=True)
class Run:
    """One training run: what is set, and nothing that is measured."""

    network: str = "lenet_300_100"  # a function of smh.zoo
    method: str = "smh"  # see METHODS
    seed: int = 0
    replicas: int = 8  # M of the pool L [rows, M] @ R [M, cols]
    conv_replicas: int = 0  # of a pool of their own for the convolutions; 0: one pool for all
    pools: str = ""  # instead of these two "conv|logits=5,=1": layers' names, and replicas
    blocks: int = 1  # about how many products each pool is cut into, see smh.compress
    bits: int = 3  # of the factors; 0: float32 to the end
    biases: str = "hashed"  # in the pool like the kernels, or "dense": float16 in the file
    scale: str = "linear"  # what each weight is times: a trained number, "log": its logarithm is
    # trained, "fanout": the published constant of its shape
    epochs: int = 60
    float_share: float = 0.4  # of the epochs, before the factors are rounded
    refits: int = 0  # how often after that their grid is fitted again, at equal distances
    batch: int = 256
    rate: float = 1e-2  # peak of Adam's rate: a fifth of the steps up, then a cosine to zero
    noise: float = 0.3  # standard deviation of Gaussian noise on the pixels, which are in [0, 1]
    shift: float = 0.0  # each training image is moved by up to so many pixels in x and in y
    rotate: float = 0.0  # and turned by up to so many degrees
    zoom: float = 0.0  # and scaled by up to this share
    flip: int = 0  # 1: and mirrored, every second one
    data: str = "mnist"  # a function of smh.datasets
    precision: str = "float32"  # of the layers in training; files and errors are float32's
    granularity: str = "auto"  # of the rounding, see smh.quantize_factors
    density: float = 1.0  # of Deep Compression's share of weights that pruning keeps
    l2: float = 0.0  # times the squares of the weights, see smh.recipes.penalise_weights
    target: int = 0  # bytes of the file that smh.shrink makes of the dense network
    teacher: str = ""  # name of the run whose network gives soft targets, see smh.distill

    @property
    def whole_pixels(self) -> bool:
        """Whether images are moved by whole pixels, as is usual for CIFAR: nothing is blurred."""
        return self.data == "cifar10" and not (self.rotate or self.zoom)

    @property
    def name(self) -> str:
        """What its log and file are called: all settings that are not the default."""
        parts = [self.network, self.method]
        parts += [f"m{self.replicas}"] if self.method == "smh" else []
        parts += [f"b{self.bits}"] if self.method in ("smh", "shared") else []
        shown = {"network", "method", "seed", "replicas", "bits", "teacher"}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in shown and value != field.default:
                text = re.sub(r"\W", "_", value) if field.type == "str" else f"{value:g}"
                parts.append(text if field.type == "str" else field.name + text)
        parts += ["distilled"] if self.teacher else []
        return "-".join([*parts, f"s{self.seed}"])


@dataclass(frozen=True)
class Measured:
    """What is measured of a run."""

    fraction: float  # numbers in the factors over numbers of the dense network
    trained: int  # numbers that training changes
    validation_error: float  # percent, of the model that was read from the file
    test_error: float | None  # percent, the same; measured once
    file_bytes: int  # of the file without the architecture, which is what the errors belong to
    bytes_with_architecture: int  # of a file that `smh.load` reads without any code
    seconds: float


def versions() -> str:
    """Of what the numbers depend on."""
    backend = keras.backend.backend()
    trained = "" if backend == "tensorflow" else f"{backend} {metadata.version(backend)}, "
    return (
        f"smh {smh.__version__}, keras {keras.__version__}, {trained}tensorflow {tf.__version__}, "
        f"numpy {np.__version__}, python {platform.python_version()}"
    )


def command(run: Run, tested: bool) -> str:
    """The command that makes this run again."""
    backend = keras.backend.backend()
    words = [f"KERAS_BACKEND={backend}"] * (backend != "tensorflow")
    words += ["python", "examples/mnist_curve.py", "--data-dir", "DIR"]
    for field in fields(run):
        value = getattr(run, field.name)
        if value != field.default:
            words += [f"--{field.name.replace('_', '-')}", f"{value}"]
    return shlex.join(words if tested else [*words, "--no-test"])


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a table, which may not exist yet."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def find(run: Run, table: Path) -> dict[str, str] | None:
    """The row of a run, or None. A table may be older than a setting: then it is the default."""
    wanted = {name: str(value) for name, value in asdict(run).items()}
    default = {name: str(value) for name, value in asdict(Run()).items()}
    for row in rows_of(table):
        if all(row.get(name, default[name]) == value for name, value in wanted.items()):
            return row
    return None


def append(table: Path, run: Run, measured: Measured, tested: bool) -> None:
    """Adds one row."""
    row = asdict(run) | asdict(measured)
    row |= {"command": command(run, tested), "versions": versions()}
    there = rows_of(table)
    if there and set(row) - set(there[0]):  # the table is older than a setting
        write_rows(table, [{**asdict(Run()), **old} for old in there])
        there = rows_of(table)
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(there[0] if there else row), lineterminator="\n")
        if not there:
            writer.writeheader()
        writer.writerow(row)


def measured_of(row: dict[str, str]) -> Measured:
    """What a row says was measured."""
    kinds = {field.name: int if field.type == "int" else float for field in fields(Measured)}
    return Measured(**{name: kind(row[name] or "nan") for name, kind in kinds.items()})


def write_rows(table: Path, rows: list[dict[str, str]]) -> None:
    """Replaces a table."""
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
