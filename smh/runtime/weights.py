"""Weights from an artifact with NumPy alone: no Keras, no TensorFlow.

For a device or a language binding that runs the network by itself. Addresses come from the same
`index_store` as in training, so that both cut a pool in the same way.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from smh import container
from smh.artifact.layout.reading import read_layout
from smh.artifact.layout.records import Factor, Stored, Weight
from smh.container.naming import apart
from smh.errors import ArgumentError, ArtifactError
from smh.index_store import PADDING_VALUE, Slot, make_index_store
from smh.runtime.entries import entries_of


def load(path: str | os.PathLike, model: int = 0) -> Weights:
    """Opens the weights of a model in an artifact.

    Args:
        path: a file that `smh.save` wrote.
        model: which of the models in it.

    Returns:
        A mapping from variable path to array. The file is read and checked now; each weight is
        computed when it is asked for, and not kept. `more_than_weights` says which layers have
        more: a vocabulary, a table of their own.

    Raises:
        ArtifactError: if the file is damaged, or uses a modifier or parametrization that is not
            smh's own. Then save `smh.materialize(model)`.

    Cost: memory of the file and of the decoded factors; per weight of `n` numbers computed from a
    pool with `M` replicas, `n * M` multiply-adds.

    Example:
        >>> weights = smh.runtime.load("lenet.smh")
        >>> weights["fc1/kernel"].shape
        (800, 500)
    """
    opened = container.read(path)
    stored = read_layout(opened)
    if not 0 <= model < len(stored.models):
        raise ArgumentError(f"{opened.path} holds {len(stored.models)} models, got model={model}.")
    return Weights(stored, model)


class Weights(Mapping):
    """The weights of one model by path; see `load`."""

    def __init__(self, stored: Stored, model: int):
        self._stored = stored
        entry = stored.models[model]
        self._states = entry.states
        self._plain = {stored.path(i): i for i in entry.plain}
        self._computed = {w.path: w for w in entry.weights}
        with _refusing_what_is_malformed(entry.name):
            self._pools = [_Pool(stored, pool) for pool in entry.pools]
            for weight in entry.weights:
                if weight.frozen is None and _own_numbers(weight) is None:
                    _modifier_of(weight)  # unknown ones fail now

    @property
    def more_than_weights(self) -> dict[str, list[str]]:
        """What layers have beside weights, by the layer's name: keys of numbers, names of files.

        A vocabulary, for example: whoever runs the network by itself needs it as well. `smh.load`
        gives it back to the layers.
        """
        found: dict[str, list[str]] = {}
        for state in self._states:
            if state.values or state.assets:
                found.setdefault(state.name, []).extend((*state.values, *state.assets))
        return found

    def __len__(self) -> int:
        return len(self._plain) + len(self._computed)

    def __iter__(self) -> Iterator[str]:
        yield from self._computed
        yield from self._plain

    def __repr__(self) -> str:
        """The first paths; no value is computed."""
        first, more = list(self)[:8], len(self) - 8
        return f"Weights({', '.join(first)}{f' and {more} more' if more > 0 else ''})"

    def __contains__(self, path: object) -> bool:
        return path in self._plain or path in self._computed

    def __getitem__(self, path: str) -> np.ndarray:
        if path in self._plain:
            return self._stored.value(self._plain[path])
        if path not in self._computed:
            close = difflib.get_close_matches(str(path), self, n=3, cutoff=0.0)
            raise KeyError(f"no weight {path!r} among {len(self)}; like it: {', '.join(close)}")
        weight = self._computed[path]
        if weight.frozen is not None:
            return self._stored.value(weight.frozen)
        if _own_numbers(weight) is not None:
            with _refusing_what_is_malformed(path):
                return _numbers_of(weight, self._stored)
        assert weight.pool is not None  # `_modifier_of` has refused others
        with _refusing_what_is_malformed(path):
            flat = self._pools[weight.pool].piece(weight.begin, math.prod(weight.shape))
            parts = {name: self._stored.value(i) for name, i in weight.parts.items()}
            tensor = _modifier_of(weight)(flat.reshape(weight.shape), parts)
        return np.asarray(tensor, np.float32)


@contextlib.contextmanager
def _refusing_what_is_malformed(name: str) -> Iterator[None]:
    """A file's description may be of any form; what cannot be followed is the file's fault."""
    try:
        yield
    except ArtifactError:
        raise
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise ArtifactError(f"'{name:.200}' is described wrongly: {error!r:.300}") from error
    except AttributeError as error:
        raise ArtifactError(f"'{name:.200}' is described wrongly: {error}") from error


class _Pool:
    """One pool: its layout, and its factors once they are needed."""

    def __init__(self, stored: Stored, entry: Mapping[str, Any]):
        self._stored = stored
        self._entries = entries_of(entry)
        self._store = make_index_store(entry["config"]["index_store_type"], self._entries.size)
        self._entry = entry["factors"]
        self._factors: list[np.ndarray] | None = None
        found = [f.shape if isinstance(f, Factor) else stored.shape(f) for f in self._entry]
        if found != self._entries.factor_shapes:
            raise ArtifactError(
                f"a pool has factors of shapes {found}, expected {self._entries.factor_shapes}"
            )

    def piece(self, begin: int, length: int) -> np.ndarray:
        slot: Slot = self._store.slot_at(begin, length)
        if self._factors is None:
            self._factors = [
                _numbers_of(f, self._stored) if isinstance(f, Factor) else self._stored.value(f)
                for f in self._entry
            ]
        pieces = [self._entries(self._factors, *segment) for segment in slot.segments]
        pieces.append(np.full(slot.padding, PADDING_VALUE, np.float32))
        return np.concatenate(pieces)


def _masked(config: Mapping, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.where(parts["mask"], parts["weight"], np.zeros((), parts["weight"].dtype))


def _clustered(config: Mapping, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    table = parts["codebook"]
    if config["pruned"]:
        table = np.concatenate([np.zeros(1, table.dtype), table])
    return table[parts["index"]]


def _rounded(config: Mapping, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    (weight,) = parts.values()  # stored as it is after rounding
    return weight


def _stepped(config: Mapping, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    return parts["weight"]  # likewise


_OWN_NUMBERS = {
    "smh>Masked": _masked,
    "smh>Clustered": _clustered,
    "smh>FakeQuantized": _rounded,
    "smh>Stepped": _stepped,
}


def _own_numbers(weight: Weight | Factor):
    """What computes a weight from nothing but its parts, or `None`."""
    name = weight.parametrization.get("class")
    return _OWN_NUMBERS.get(name) if isinstance(name, str) else None


def _numbers_of(weight: Weight | Factor, stored: Stored) -> np.ndarray:
    compute = _own_numbers(weight)
    if compute is None:
        raise ArtifactError(
            f"a factor is computed by {weight.parametrization.get('class')!r:.100}, which needs "
            "Keras. Save smh.materialize(model) instead"
        )
    parts = {name: stored.value(number) for name, number in weight.parts.items()}
    found = compute(weight.parametrization["config"], parts)
    if found.shape != weight.shape:
        raise ArtifactError(f"numbers of shape {found.shape}, expected {weight.shape}")
    return found


def _scale_of(shape: Sequence[int]) -> float:
    """The published initial scale, see `smh.modifiers.fanout_scale`."""
    if len(shape) == 4:
        return math.sqrt(2.0 / (shape[0] * shape[1] * shape[3]))
    return 1.0 / math.sqrt(shape[1]) if len(shape) == 2 else 1.0


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "smh>constant_fanout_scale_modifier": lambda w: w * np.float32(_scale_of(w.shape)),
    "smh>relu_modifier": lambda w: np.maximum(w, 0),
    "smh>sign_fw_modifier": np.sign,
}


def _modifier_of(weight: Weight):
    if weight.parametrization.get("class") != "smh>PoolSlice" or weight.pool is None:
        raise ArtifactError(
            f"'{weight.path}' is computed by {weight.parametrization.get('class')!r:.100}, which "
            "needs Keras. Save smh.materialize(model) instead"
        )
    return _modifier(weight.parametrization.get("config", {}).get("modifier", {}))


def _modifier(entry: Any) -> Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray]:
    """The NumPy counterpart of one of smh's modifiers."""
    kind, config = entry.get("class"), entry.get("config", {})
    if kind == "smh>ScaleModifier":
        return lambda w, parts: w * parts[config["name"]]
    if kind == "smh>LogScaleModifier":
        return lambda w, parts: w * np.exp(parts[config["name"]])
    if kind == "smh>FunctionModifier" and config.get("function") in _FUNCTIONS:
        function = _FUNCTIONS[config["function"]]
        return lambda w, parts: function(w)
    if kind == "smh>ChainModifier":
        return _chain(config["modifiers"])
    raise ArtifactError(
        f"the modifier {config.get('function', kind)!r:.100} is not smh's own, so it cannot be "
        "computed without Keras. Save smh.materialize(model) instead"
    )


def _chain(entries: Sequence[Mapping[str, Any]]):
    modifiers = [_modifier(entry) for entry in entries]
    taken: list[str] = []
    names: list[dict[str, str]] = []
    for entry in entries:
        own = {}
        for name in _names(entry):
            own[name] = apart(name, taken)
            taken.append(own[name])
        names.append(own)

    def apply(weight, parts):
        for modifier, own in zip(modifiers, names, strict=True):
            weight = modifier(weight, {name: parts[copy] for name, copy in own.items()})
        return weight

    return apply


def _names(entry: Mapping[str, Any]) -> list[str]:
    """The names of a modifier's variables, in order."""
    if entry["class"] in ("smh>ScaleModifier", "smh>LogScaleModifier"):
        return [entry["config"]["name"]]
    if entry["class"] == "smh>ChainModifier":
        found: list[str] = []
        for inner in entry["config"]["modifiers"]:
            for name in _names(inner):
                found.append(apart(name, found))
        return found
    return []
