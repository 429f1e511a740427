"""Reads what a file says about its models, and checks it. NumPy only.

The header's `meta` is `{"models": [...]}`; `docs/format.md` says what a model is, and
`smh.artifact.layout.brief` what is left out of it. Variables are numbered in the order in which
they are come across: of each model first the factors of each pool, then the parts of each weight,
then all others. A factor, and a part with `tensor`, has a tensor for itself; all others of one
dtype (with `kinds` in the `meta`, of one dtype and kind) lie one behind the other in one flat
tensor, behind those.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from smh.artifact.layout.architecture import whole_architecture
from smh.artifact.layout.brief import check, numbers_of, whole_variables, whole_weights
from smh.artifact.layout.infinities import with_infinities
from smh.artifact.layout.pools import factor_names, factors_of, weights_inside, whole_pool
from smh.artifact.layout.records import Factor, Model, Stored, Variable, Weight
from smh.artifact.layout.states import State, read_states
from smh.container import Container
from smh.errors import ArtifactError


def read_layout(opened: Container) -> Stored:
    """Reads and checks what `opened` says about its models.

    Raises:
        ArtifactError: if anything in it is not as `smh.save` writes it.
    """
    where = f"{opened.path}: byte 0"
    if not isinstance(opened.meta.get("models"), list):
        raise ArtifactError(f"{where}: this file of smh holds no model")
    if not isinstance(opened.meta.get("kinds", False), bool):
        raise ArtifactError(f"{where}: kinds is true or missing, got {opened.meta['kinds']!r:.80}")
    reading = _Reading(opened)
    try:
        models = [reading.model(entry) for entry in opened.meta["models"]]
        states = reading.finish([entry.get("states", []) for entry in opened.meta["models"]])
    except ArtifactError as error:
        raise ArtifactError(f"{where}: the header's models: {error}") from error
    whole = [dataclasses.replace(m, states=s) for m, s in zip(models, states, strict=True)]
    return Stored(opened, reading.variables, whole)


def kind_of(path: str) -> str:
    """What a variable is called inside of its layer: gammas are like gammas, means like means."""
    return path.rpartition("/")[2]


class _Reading:
    """Comes across the variables of one model after the other, and hands out the tensors."""

    def __init__(self, opened: Container):
        self.variables: list[Variable] = []
        self._sections = {section.name: section for section in opened.sections}
        self._tensors = iter(opened.names)
        self._flat: dict[tuple[str, str], list[Variable]] = {}
        self._by_kind = opened.meta.get("kinds", False) is True
        self._numbers: Iterator[Any] = iter(())
        self._order: list[int] = []
        self._pools = 0

    def model(self, entry: Any) -> Model:
        """Reads one model."""
        check(entry, "a model", name=str)
        lists = {name: entry.get(name, []) for name in ("pools", "weights", "variables")}
        check(lists, "a model", pools=list, weights=list, variables=list)
        self._number(entry.get("numbers"))
        described = whole_weights(lists["weights"])
        ends = {repr(w["pool"]): _end(w["slot"]) for w in described if w["slot"] is not None}
        pools = [self._pool(p, ends.get(repr(i), 0)) for i, p in enumerate(lists["pools"])]
        weights = [self._weight(w, len(pools)) for w in described]
        plain = [self._plain(v) for v in whole_variables(lists["variables"])]
        if "numbers" in entry and next(self._numbers, None) is not None:
            raise ArtifactError(f"a model has more than its {len(self._order)} variables' numbers")
        return Model(
            name=entry["name"],
            architecture=with_infinities(whole_architecture(entry)),
            description={
                "pools": [pool for pool, _ in pools],
                "weights": described,
                "layers": _layers(entry),
            },
            order=tuple(self._order),
            others=len(plain),
            plain=tuple(number for number in plain if number is not None),
            weights=tuple(weights),
            pools=tuple({**pool, "factors": factors} for pool, factors in pools),
            states=(),
        )

    def finish(self, states: list[Any]) -> list[tuple[State, ...]]:
        """Finds the flat tensors, once all variables are known, then those of the states."""
        for (dtype, kind), variables in self._flat.items():
            what = f"{dtype}, called {kind:.100}" if self._by_kind else dtype
            tensor = self._next_tensor(f"the variables of type {what}")
            for variable in variables:
                variable.tensor = tensor
            self._check_size(tensor, _end_of(variables), f"variables of type {what}")
        left = [self._sections[name] for name in self._tensors]
        used: set[int] = set()
        found = [read_states(entries, left, used) for entries in states]
        for number, section in enumerate(left):
            if number not in used:
                raise ArtifactError(f"no variable lies in tensor {section.name!r:.100}")
        return found

    def _number(self, numbers: Any) -> None:
        """Sets the numbers of the next model's variables: by default new ones."""
        self._order = []
        if numbers is None:
            self._numbers = iter(lambda: len(self.variables), None)
            return
        check({"numbers": numbers}, "a model", numbers=list)
        self._numbers = iter(numbers)

    def _take(
        self, path: str, shape: list | None, dtype: str, tensor: Callable[[], str] | None = None
    ) -> int:
        """Returns the number of the next variable; it lies in `tensor()`, or in a flat one."""
        number = _checked(next(self._numbers, None), len(self.variables) + 1)
        if number == len(self.variables):
            self._add(path, shape, dtype, tensor)
        elif shape is not None and tuple(shape) != self.variables[number].shape:
            raise ArtifactError(
                f"'{path:.100}' {shape} is variable {number}, of {self.variables[number].shape}"
            )
        self._order.append(number)
        return number

    def _add(self, path, shape, dtype, tensor) -> None:
        name = tensor() if tensor is not None else ""
        shape = list(self._sections[name].shape) if shape is None else shape
        size = numbers_of(shape, f"'{path:.100}'")
        variable = Variable(path, tuple(shape), _numpy_dtype(dtype, path), name, 0)
        if tensor is None:
            kind = kind_of(path) if self._by_kind else ""
            before = self._flat.setdefault((dtype, kind), [])
            variable.begin = _end_of(before)
            before.append(variable)
        else:
            self._check_size(name, size, f"'{path:.100}'")
        self.variables.append(variable)

    def _next_tensor(self, what: str) -> str:
        name = next(self._tensors, None)
        if name is None:
            raise ArtifactError(f"there is no tensor for {what}")
        return name

    def _next_factor(self) -> str:
        return self._next_tensor("a factor")

    def _check_size(self, tensor: str, size: int, what: str) -> None:
        found = math.prod(self._sections[tensor].shape)
        if found != size:
            raise ArtifactError(f"{what} of {size:,} numbers lie in a tensor of {found:,}")

    def _pool(self, brief: Any, position: int) -> tuple[Mapping[str, Any], list[int | Factor]]:
        given, names = factors_of(brief), factor_names(brief)
        if len(given) != len(names):
            raise ArtifactError(f"a pool has {len(given)} factors, expected {names}")
        numbers = {
            i: self._take(f"pool {self._pools}/{name}", None, "float32", self._next_factor)
            for i, (name, computed) in enumerate(zip(names, given, strict=True))
            if computed is None
        }
        self._pools += 1
        inside = [self._weight(weight, 0) for weight in weights_inside(brief)]
        factors: list[int | Factor] = []
        for i, computed in enumerate(given):
            if computed is None:
                factors.append(numbers[i])
                continue
            weight = inside[_checked(computed, len(inside))]
            factors.append(Factor(weight.shape, weight.parametrization, weight.parts))
        shapes = [f.shape if isinstance(f, Factor) else self.variables[f].shape for f in factors]
        return whole_pool(brief, shapes, position), factors

    def _weight(self, described: Mapping[str, Any], pools: int) -> Weight:
        path, shape, pool = described["path"], described["shape"], described["pool"]
        check(described, f"'{path:.100}'", frozen=bool, dtype=str, parametrization=dict)
        numbers_of(shape, f"'{path:.100}'")
        begin = 0
        if pool is not None:
            _checked(pool, pools)
            begin = described["slot"]["begin"]
            if begin < 0:
                raise ArtifactError(f"'{path:.100}' begins at {begin} of its pool")
        own: dict[int, str] = {}
        parts = {part["name"]: self._part(part, own) for part in described["parts"]}
        frozen = None
        if described["frozen"]:
            frozen = self._take(f"{path}/frozen", shape, described["dtype"])
        return Weight(path, tuple(shape), pool, begin, described["parametrization"], parts, frozen)

    def _part(self, part: Mapping[str, Any], own: dict[int, str]) -> int:
        check(part, "a part", path=str, shape=list, dtype=str)
        if "tensor" not in part:
            return self._take(part["path"], part["shape"], part["dtype"])
        check(part, "a part", tensor=int)

        def tensor() -> str:
            if part["tensor"] not in own:
                own[part["tensor"]] = self._next_tensor(f"'{part['path']:.100}'")
            return own[part["tensor"]]

        return self._take(part["path"], part["shape"], part["dtype"], tensor)

    def _plain(self, variable: Mapping[str, Any]) -> int | None:
        number = self._take(variable["path"], variable["shape"], variable["dtype"])
        return None if variable["hidden"] else number


def _layers(entry: Mapping[str, Any]) -> list[Any] | None:
    if "layers" in entry:
        check(entry, "a model", layers=list)
    return entry.get("layers")


def _end(slot: Mapping[str, int]) -> int:
    return slot["begin"] + slot["length"]


def _end_of(variables: list[Variable]) -> int:
    return variables[-1].begin + math.prod(variables[-1].shape) if variables else 0


def _checked(number: Any, count: int) -> int:
    if type(number) is not int or not 0 <= number < count:
        raise ArtifactError(f"number {number!r:.40} of {count:,}")
    return number


def _numpy_dtype(dtype: str, path: str) -> str:
    """The name of the type in which NumPy has a variable; it has no bfloat16."""
    try:
        found = np.dtype("float32" if dtype == "bfloat16" else dtype)
    except TypeError as error:
        raise ArtifactError(f"'{path:.100}': {error}") from error
    if found.kind not in "biuf":
        raise ArtifactError(f"'{path:.100}' cannot be of type {dtype!r:.40}")
    return found.name
