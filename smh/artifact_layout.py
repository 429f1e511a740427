"""What an artifact says about its models: which tensor holds which variable. NumPy only.

The section `models` is a JSON object, deflated (see `pack`):

| key | what |
| --- | --- |
| `variables` | all stored variables, each once: `{"path", "shape", "dtype", "tensor", "begin"}`; the numbers are `tensor[begin : begin + size]` of the flat tensor of that name |
| `models` | for each model `{"name", "architecture", "description", "order", "plain", "weights", "pools"}` |

`architecture` is Keras' configuration of the dense model, or null. `description` says how it is
compressed (`smh.blueprint`). `order` lists the numbers of all stored variables as the Keras model
lists them, `plain` those that are weights of the model themselves. Each entry of `weights` belongs
to the entry of the description in the same place: `{"parts": {name: number}, "frozen": number or
null}`. `pools` has for each pool of the description its factors, each a number, or `{"shape",
"parametrization", "parts"}` where it is computed itself (pruned, or of shared values).
"""  # noqa: E501

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from smh import canonical_json, deflating
from smh.container import Container
from smh.errors import ArtifactError

SECTION = "models"


@dataclass(frozen=True)
class Weight:
    """A weight that is computed: its address, and the numbers of the variables it needs."""

    path: str
    shape: tuple[int, ...]
    pool: int | None
    begin: int
    parametrization: Mapping[str, Any]
    parts: Mapping[str, int]
    frozen: int | None


@dataclass(frozen=True)
class Model:
    """One model of an artifact."""

    name: str
    architecture: Mapping[str, Any] | None
    description: Mapping[str, Any]
    order: tuple[int, ...]
    plain: tuple[int, ...]
    weights: tuple[Weight, ...]
    pools: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Factor:
    """A factor of a pool that is computed itself: pruned, or of shared values."""

    shape: tuple[int, ...]
    parametrization: Mapping[str, Any]
    parts: Mapping[str, int]


class Stored:
    """The variables of an artifact and its models."""

    def __init__(self, opened: Container, variables, models):
        self._opened = opened
        self._variables = variables
        self.models: tuple[Model, ...] = models
        self._decoded: tuple[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._variables)

    def path(self, number: int) -> str:
        """The path of a stored variable."""
        return self._variables[number]["path"]

    def shape(self, number: int) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self._variables[number]["shape"])

    def paths_in(self, tensor: str) -> list[str]:
        """The paths of the variables that a tensor holds, in order."""
        return [entry["path"] for entry in self._variables if entry["tensor"] == tensor]

    def value(self, number: int) -> np.ndarray:
        """Its value; the tensor that was decoded last is kept, as many variables share one."""
        entry = self._variables[number]
        if self._decoded is None or self._decoded[0] != entry["tensor"]:
            self._decoded = entry["tensor"], self._opened.tensor(entry["tensor"]).ravel()
        begin = entry["begin"]
        flat = self._decoded[1][begin : begin + math.prod(entry["shape"])]
        return flat.reshape(entry["shape"]).astype(entry["dtype"])


def pack(text: bytes) -> np.ndarray:
    """Returns the bytes to store: one that says how, then the text, deflated if that is sound."""
    deflated = deflating.deflate(text)
    return np.frombuffer(b"\0" + text if deflated is None else b"\2" + deflated, np.uint8)


def unpack(stored: np.ndarray) -> bytes:
    """Returns the text that `pack` packed, or raises `ArtifactError`."""
    data = stored.tobytes()
    if data[:1] == b"\0":
        return data[1:]
    if data[:1] == b"\2":
        return deflating.inflate(data[1:], deflating.MOST_PER_BYTE * len(data))
    if data[:1] != b"\1":
        raise ArtifactError(f"begins with {data[:1]!r}, 0, 1 or 2 expected")
    machine = zlib.decompressobj()  # what was written before there was a dictionary
    try:
        text = machine.decompress(data[1:], deflating.MOST_PER_BYTE * len(data))
    except zlib.error as error:
        raise ArtifactError(f"cannot be inflated: {error}") from error
    if not machine.eof or machine.unused_data:
        most = deflating.MOST_PER_BYTE
        raise ArtifactError(f"holds more than {most} times its size, or is not whole")
    return text


def read_layout(opened: Container) -> Stored:
    """Reads and checks what `opened` says about its models.

    Raises:
        ArtifactError: if anything in it is not as `smh.save` writes it.
    """
    where = f"{opened.path}: section '{SECTION}'"
    if SECTION not in opened.names:
        raise ArtifactError(f"{where} is missing: this file of smh holds no model")
    found = opened.tensor(SECTION)
    if found.dtype != np.uint8 or found.ndim != 1:
        raise ArtifactError(f"{where}: bytes expected, got {found.dtype} {found.shape}")
    try:
        content = canonical_json.loads(unpack(found))
        variables = _variables(opened, _list(content, "variables"))
        models = tuple(_model(entry, variables) for entry in _list(content, "models"))
    except ArtifactError as error:
        raise ArtifactError(f"{where}: {error}") from error
    return Stored(opened, variables, models)


def _variables(opened: Container, entries: list) -> list[Mapping[str, Any]]:
    sizes = {s.name: math.prod(s.shape) for s in opened.sections}
    for entry in entries:
        path, tensor = _field(entry, "path", str), _field(entry, "tensor", str)
        begin, shape = _field(entry, "begin", int), _shape(entry)
        if tensor not in sizes or not 0 <= begin <= begin + math.prod(shape) <= sizes[tensor]:
            raise ArtifactError(
                f"'{path}' {shape} lies at {begin:,} of '{tensor:.100}', which has "
                f"{sizes.get(tensor, 0):,} numbers"
            )
        try:
            np.dtype(_field(entry, "dtype", str))
        except TypeError as error:
            raise ArtifactError(f"'{path}': {error}") from error
    return entries


def _model(entry: Any, variables: list) -> Model:
    description = _field(entry, "description", dict)
    weights, pools = _list(description, "weights"), _list(description, "pools")
    stored, factors = _list(entry, "weights"), _list(entry, "pools")
    if len(stored) != len(weights) or len(factors) != len(pools):
        raise ArtifactError("the description has another number of weights or pools")
    return Model(
        name=_field(entry, "name", str),
        architecture=entry.get("architecture"),
        description=description,
        order=_numbers(entry, "order", variables),
        plain=_numbers(entry, "plain", variables),
        weights=tuple(
            _weight(described, parts, variables, len(pools))
            for described, parts in zip(weights, stored, strict=True)
        ),
        pools=tuple(
            {**_typed(pool, dict), "factors": [_factor(f, variables) for f in _typed(own, list)]}
            for pool, own in zip(pools, factors, strict=True)
        ),
    )


def _weight(described: Any, stored: Any, variables: list, pools: int) -> Weight:
    path, shape = _field(described, "path", str), _shape(described)
    parts, frozen = _field(stored, "parts", dict), stored.get("frozen")
    for number in [*parts.values(), *([] if frozen is None else [frozen])]:
        _check_number(number, len(variables))
    pool, begin = described.get("pool"), 0
    if pool is not None:
        _check_number(pool, pools)
        slot = _field(described, "slot", dict)
        begin, length = _field(slot, "begin", int), _field(slot, "length", int)
        if begin < 0 or length != math.prod(shape):
            raise ArtifactError(f"'{path}' {shape} has slot {slot}")
    parametrization = _field(described, "parametrization", dict)
    return Weight(path, tuple(shape), pool, begin, parametrization, parts, frozen)


def _factor(entry: Any, variables: list) -> int | Factor:
    if not isinstance(entry, dict):
        _check_number(entry, len(variables))
        return entry
    parts = _field(entry, "parts", dict)
    for number in parts.values():
        _check_number(number, len(variables))
    return Factor(tuple(_shape(entry)), _field(entry, "parametrization", dict), parts)


def _shape(entry: Any) -> list[int]:
    shape = _list(entry, "shape")
    if any(type(n) is not int or n < 0 for n in shape):
        raise ArtifactError(f"a shape is a list of whole numbers, got {shape!r:.100}")
    return shape


def _numbers(entry: Any, name: str, variables: list) -> tuple[int, ...]:
    numbers = _list(entry, name)
    for number in numbers:
        _check_number(number, len(variables))
    return tuple(numbers)


def _check_number(number: Any, count: int) -> None:
    if type(number) is not int or not 0 <= number < count:
        raise ArtifactError(f"number {number!r:.40} of {count:,}")


def _list(entry: Any, name: str) -> list:
    return _field(entry, name, list)


def _field(entry: Any, name: str, kind: type) -> Any:
    value = entry.get(name) if isinstance(entry, Mapping) else None
    if type(value) is not kind:
        raise ArtifactError(f"'{name}', of type {kind.__name__}, expected in {entry!r:.200}")
    return value


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ArtifactError(f"a {kind.__name__} expected, got {value!r:.100}")
    return value
