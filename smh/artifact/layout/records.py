"""The models of an artifact, as they are read: which tensor holds which variable. NumPy only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smh.artifact.layout.states import State
from smh.container import Container


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
class Factor:
    """A factor of a pool that is computed itself: pruned, or of shared values."""

    shape: tuple[int, ...]
    parametrization: Mapping[str, Any]
    parts: Mapping[str, int]


@dataclass(frozen=True)
class Model:
    """One model of an artifact.

    Attributes:
        name: the model's.
        architecture: Keras' configuration of the dense model, or `None`.
        description: how it is compressed, see `smh.blueprint`.
        order: the numbers of its variables, in the file's order.
        others: how many of these, the last, belong to no pool and to no computed weight.
        plain: the numbers of those that are weights themselves.
        weights: those that are computed.
        pools: each with `config`, and `factors`: each a number or a `Factor`.
        states: what its layers have beside variables.
    """

    name: str
    architecture: Mapping[str, Any] | None
    description: Mapping[str, Any]
    order: tuple[int, ...]
    others: int
    plain: tuple[int, ...]
    weights: tuple[Weight, ...]
    pools: tuple[Mapping[str, Any], ...]
    states: tuple[State, ...]


@dataclass
class Variable:
    """A stored variable: the numbers of a flat tensor from `begin` on."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    tensor: str
    begin: int


class Stored:
    """The variables of an artifact and its models."""

    def __init__(self, opened: Container, variables: Sequence[Variable], models: Sequence[Model]):
        self._opened = opened
        self._variables = variables
        self.models = models
        self._decoded: dict[str, np.ndarray] = {}
        self._shared = Counter(variable.tensor for variable in variables)

    def __len__(self) -> int:
        return len(self._variables)

    def path(self, number: int) -> str:
        """The path of a stored variable."""
        return self._variables[number].path

    def shape(self, number: int) -> tuple[int, ...]:
        """Its shape."""
        return self._variables[number].shape

    def paths_in(self, tensor: str) -> list[str]:
        """The paths of the variables that a tensor holds, in order, or what of a layer it is."""
        paths = [variable.path for variable in self._variables if variable.tensor == tensor]
        for state in (state for model in self.models for state in model.states):
            for key, own in (*state.values.items(), *state.assets.items()):
                if own == tensor:
                    paths.append(f"{state.name}: {key}")
        return paths

    def extra(self, tensor: str) -> np.ndarray:
        """The numbers of a layer's state, or the bytes of a file of it."""
        return self._opened.tensor(tensor)

    def type_of(self, tensor: str) -> str:
        """The type in which a tensor of numbers in full is stored."""
        return self._opened.spec(tensor)["dtype"]

    def value(self, number: int) -> np.ndarray:
        """Its value; a tensor that several variables share is kept, and one that was read last."""
        variable = self._variables[number]
        if variable.tensor not in self._decoded:
            self._decoded = {k: v for k, v in self._decoded.items() if self._shared[k] > 1}
            self._decoded[variable.tensor] = self._opened.tensor(variable.tensor).ravel()
        flat = self._decoded[variable.tensor][variable.begin :][: math.prod(variable.shape)]
        return flat.reshape(variable.shape).astype(variable.dtype)
