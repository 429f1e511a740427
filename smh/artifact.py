"""One small file for a model, or for several that share pools: `smh.save`, `smh.load`.

What a model is made of (`smh.artifact_layout`) and its variables go into a `smh.container`, each
variable once. `docs/format.md` is the specification.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from smh import canonical_json, coding, container
from smh.artifact_layout import SECTION, Factor, Model, Stored, pack, read_layout
from smh.blueprint import describe, restore, sources
from smh.clustered import Clustered
from smh.errors import ArgumentError, ArtifactError, SmhError, UnbuiltModelError
from smh.masked import Masked
from smh.quantization import Quantized, grid_of, quantized, rounded_once, rounded_weight
from smh.registered import describe_object
from smh.rounding import WHOLE, FakeQuantized
from smh.virtual_variable import Source, own_layers, own_variables, virtual_variables
from smh.virtual_variable.rebuilding import dense_config, from_dense_config
from smh.virtual_variable.variable import VirtualVariable

_FLOATS = ("float32", "float16", "bfloat16")


def save(
    model: keras.Model | Sequence[keras.Model],
    path: str | os.PathLike,
    *,
    bits: int | None = None,
    rest: str = "float32",
    architecture: bool = True,
    coder: str = "range",
) -> None:
    """Writes a model, or several that share pools, into one small file.

    The file holds the factors, the variables that belong to one weight (scales) and those left
    dense, each once; no optimizer state (for that, `model.save("m.keras")`). An existing file is
    replaced only when the new one is whole.

    Args:
        model: a built Keras 3 model, compressed or not, or a list of models.
        path: the file, by custom `*.smh`.
        bits: 2 to 8: the factors as integers of so many bits times scales, entropy-coded; 16:
            as float16; `None`: as they are. Factors that `smh.quantize_factors` rounds are always
            stored as the integers they are rounded to.
        rest: dtype in which the other float32 variables are stored: `"float32"`, `"float16"` or
            `"bfloat16"`.
        architecture: whether `smh.load` shall be able to build the model. Without it the file is
            some kilobytes smaller, and only `smh.load_weights(model, path)` reads it.
        coder: for integers `"range"`, `"huffman"` or `"packed"`.

    Raises:
        ArgumentError: a value that cannot work, a number that does not fit into the chosen dtype,
            or a modifier or layer that a file cannot name. Nothing was written then.
        OSError: from the file system; an old file is whole.

    Cost: memory of the file, twice.

    Example:
        >>> smh.save(smh.compress(model, fraction=0.1), "model.smh", bits=8)
    """
    models = list(model) if isinstance(model, Sequence) else [model]
    _check_arguments(models, bits, rest, architecture)
    stored = _Variables()
    entries = [_entry(one, stored, architecture) for one in models]
    tensors, variables = stored.encode(bits, rest, coder)
    text = canonical_json.dumps({"models": entries, "variables": variables})
    packed = coding.encode(pack(text), coding.Raw())
    tensors.append(container.Tensor(SECTION, packed.spec, packed.payload))
    container.write(path, {"kind": "models"}, tensors, deflate_header=True)


def load(
    path: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> keras.Model | list[keras.Model]:
    """Builds the model that `smh.save` wrote, ready to use or to train on.

    Args:
        path: the file.
        custom_objects: your own layers by name, where they are not registered with Keras.
        safe_mode: whether to refuse code in the file (a `Lambda`), as Keras does.

    Returns:
        The compressed model, uncompiled; of a file with several models, a list of them, which
        share their pools as they did.

    Raises:
        ArtifactError: the file is damaged, or needs what this process does not know.

    Cost: the dense weights are allocated once while the model is built.

    Example:
        >>> model = smh.load("model.smh")
    """
    opened = container.read(path)
    stored = read_layout(opened)
    pools: dict[tuple, Source] = {}
    models = []
    for entry in stored.models:
        model = _build(opened.path, entry, custom_objects, safe_mode)
        _fill(model, entry, stored, opened.path, pools)
        models.append(model)
    return models[0] if len(models) == 1 else models


def load_weights(model: keras.Model, path: str | os.PathLike) -> keras.Model:
    """Fills a model that your own code built with what `smh.save` wrote.

    Args:
        model: of the architecture that was saved; compressed in the same way, or still dense:
            then it is compressed as the saved one was.
        path: the file, of one model.

    Returns:
        The same model.

    Raises:
        ArtifactError: the file is damaged.
        ArgumentError: the file's model is another one. The model is as it was.

    Example:
        >>> smh.load_weights(build_my_model(), "model.smh")
    """
    if not isinstance(model, keras.Layer):
        raise ArgumentError(f"model must be a Keras 3 model or layer, got {type(model).__name__}.")
    if not model.built:
        raise UnbuiltModelError(f"'{model.name}' is not built. Call it once on data.")
    opened = container.read(path)
    stored = read_layout(opened)
    if len(stored.models) != 1:
        raise ArgumentError(f"{opened.path} holds {len(stored.models)} models; use smh.load(path).")
    _fill(model, stored.models[0], stored, opened.path, {})
    return model


def _check_arguments(models, bits, rest, architecture) -> None:
    if not models:
        raise ArgumentError("There is no model to save.")
    for one in models:
        if not isinstance(one, keras.Layer):
            raise ArgumentError(
                f"model must be a Keras 3 model or a list of them, got {type(one).__name__}."
            )
        if not one.built:
            raise UnbuiltModelError(f"'{one.name}' is not built: there are no weights to save.")
    whole = type(bits) is int and (2 <= bits <= 8 or bits == 16)
    if bits is not None and not whole:
        raise ArgumentError(f"bits must be 2 to 8, 16 or None, got {bits!r}.")
    if rest not in _FLOATS:
        raise ArgumentError(f"rest must be one of {', '.join(_FLOATS)}, got {rest!r}.")
    if not isinstance(architecture, bool):
        raise ArgumentError(f"architecture must be True or False, got {architecture!r}.")


class _Variables:
    """The variables to store, each once, and whether it is a factor of a pool."""

    def __init__(self):
        self._numbers: dict[int, int] = {}
        self._variables: list[keras.Variable] = []
        self._factors: set[int] = set()
        self._masked: dict[int, keras.Variable] = {}  # number of weight or mask: what readers see
        self._indices: dict[int, bool] = {}  # number of an index: whether 0 is a pruned zero
        self._rounded: dict[int, FakeQuantized] = {}
        self._virtual_factors: set[int] = set()

    def note(self, virtual: VirtualVariable, *, factor: bool = False) -> None:
        """Takes note of how the parts of a virtual variable are best stored."""
        parametrization = virtual.parametrization
        if factor:
            self._virtual_factors.add(id(virtual))
        if isinstance(parametrization, Masked):
            for part in parametrization.parts:
                self._masked[self.number(part)] = virtual
        elif isinstance(parametrization, Clustered):
            self._indices[self.number(parametrization.index)] = parametrization.pruned
        elif isinstance(parametrization, FakeQuantized):
            self._rounded[self.number(parametrization.factor)] = parametrization

    def number(self, variable: keras.Variable, *, factor: bool = False) -> int:
        if id(variable) not in self._numbers:
            self._numbers[id(variable)] = len(self._variables)
            self._variables.append(variable)
        if factor:
            self._factors.add(self._numbers[id(variable)])
        return self._numbers[id(variable)]

    def encode(self, bits, rest, coder) -> tuple[list[container.Tensor], list[dict]]:
        """Each factor as a tensor of its own, all others of one dtype in one flat tensor.

        A pruned weight and its mask are one sparse tensor: what is not zero is not pruned.
        """
        tensors, entries = [], []
        flat: dict[str, list[np.ndarray]] = {}
        sparse: dict[int, str] = {}
        for number, variable in enumerate(self._variables):
            begin = 0
            if number in self._factors:
                tensor = f"factor/{number}"
                tensors.append(_encoded_factor(tensor, variable, bits, coder))
            elif number in self._masked:
                seen_as = self._masked[number]
                tensor = sparse.setdefault(id(seen_as), f"sparse/{number}")
                if tensor == f"sparse/{number}":
                    is_factor = id(seen_as) in self._virtual_factors
                    tensors.append(
                        _encoded_sparse(tensor, seen_as, bits if is_factor else None, rest, coder)
                    )
            elif number in self._rounded:
                tensor = f"weight/{number}"
                stored = rounded_weight(self._rounded[number])
                tensors.append(_tensor(tensor, *_integers(stored, coder)))
            elif number in self._indices:
                tensor = f"index/{number}"
                tensors.append(_encoded_index(tensor, variable, self._indices[number], coder))
            else:
                value = np.asarray(keras.ops.convert_to_numpy(variable.value))
                tensor = f"rest/{variable.dtype}"
                begin = sum(part.size for part in flat.setdefault(tensor, []))
                flat[tensor].append(value.ravel())
            shape = [int(n) for n in variable.shape]
            entries.append(
                {
                    "path": variable.path,
                    "shape": shape,
                    "dtype": _numpy_dtype(variable.dtype),
                    "tensor": tensor,
                    "begin": begin,
                }
            )
        for tensor, parts in flat.items():
            array = np.concatenate(parts)
            how = coding.Raw(rest) if array.dtype == np.float32 else coding.Raw()
            tensors.append(_tensor(tensor, array, how))
        return tensors, entries


def _tensor(name: str, value: np.ndarray, how: Any) -> container.Tensor:
    try:
        encoded = coding.encode(value, how)
    except ArgumentError as error:
        raise ArgumentError(f"'{name}' cannot be stored: {error}") from error
    return container.Tensor(name, encoded.spec, encoded.payload)


def _encoded_factor(name: str, factor: keras.Variable, bits: int | None, coder: str):
    value = np.asarray(keras.ops.convert_to_numpy(factor.value))
    if grid_of(factor) is not None:
        return _tensor(name, *_integers(quantized(factor), coder))
    if bits is None or bits == 16:
        return _tensor(name, value, coding.Raw(None if bits is None else "float16"))
    return _tensor(name, *_integers(rounded_once(value, bits, factor.path), coder))


def _encoded_sparse(name: str, weight: VirtualVariable, bits: int | None, rest: str, coder: str):
    """A pruned weight, or a pruned factor in as few bits as other factors."""
    value = np.asarray(keras.ops.convert_to_numpy(weight.value))
    stored = None
    if grid_of(weight) is not None:
        stored = quantized(weight)
    elif bits is not None and bits != 16:
        stored = rounded_once(value, bits, weight.path)
    if stored is not None:
        return _tensor(name, *_integers(stored, coder))
    if value.dtype != np.float32:
        return _tensor(name, value, coding.Sparse(coding.Raw(), coder=coder))
    how = coding.Raw("float16" if bits == 16 else rest)
    return _tensor(name, value, coding.Sparse(how, coder=coder))


def _encoded_index(name: str, index: keras.Variable, pruned: bool, coder: str):
    """Indices of shared values, as the codebook of themselves."""
    value = np.asarray(keras.ops.convert_to_numpy(index.value))
    largest = int(value.max(initial=0))
    if pruned and value.any():
        names = coding.Codebook(_small(1, largest), coder=coder)
        kept = value.ravel()[value.ravel() != 0] - 1
        return _tensor(name, value.astype("float32"), coding.Sparse(names, kept, coder))
    return _tensor(name, value, coding.Codebook(_small(0, largest), coder=coder))


def _small(first: int, last: int) -> np.ndarray:
    """Whole numbers, in a type that holds them exactly."""
    return np.arange(first, last + 1).astype("float16" if last <= 2048 else "float32")


def _integers(stored: Quantized, coder: str) -> tuple[np.ndarray, coding.Uniform]:
    return stored.integers, dataclasses.replace(stored.coding, coder=coder)


def _numpy_dtype(dtype: str) -> str:
    return "float32" if dtype == "bfloat16" else dtype


def _stored_variables(model: keras.Layer) -> list[keras.Variable]:
    """The model's variables but for what a deployed one keeps besides."""
    cached = {id(v._cached) for v in virtual_variables(model)}
    return [v for v in model.variables if id(v) not in cached]


def _entry(model: keras.Layer, stored: _Variables, architecture: bool) -> dict[str, Any]:
    pools = [[_factor(f, stored) for f in _factors(source)] for source in sources(model)]
    description = describe(model)
    by_place = _virtuals_in_order(model, description)
    for virtual in by_place:
        stored.note(virtual)
    _follow_the_rounded_factors(description["pools"])
    for weight in description["weights"]:
        if weight["parametrization"]["class"] == "smh>FakeQuantized":
            weight["parametrization"]["config"]["ratio"] = WHOLE
    return {
        "name": model.name,
        "architecture": dense_config(model) if architecture else None,
        "description": description,
        "order": [stored.number(v) for v in _stored_variables(model)],
        "plain": _plain(model, stored),
        "weights": [
            {
                "parts": {p.name: stored.number(p) for p in virtual.parametrization.parts},
                "frozen": None if virtual._snapshot is None else stored.number(virtual._snapshot),
            }
            for virtual in by_place
        ],
        "pools": pools,
    }


def _factors(pool: Source) -> list[keras.Variable]:
    return [v for layer in own_layers(pool) for v in own_variables(layer)]


def _factor(factor: keras.Variable, stored: _Variables) -> Any:
    """What an artifact says of a factor: its number, or what computes it."""
    if not isinstance(factor, VirtualVariable):
        return stored.number(factor, factor=True)
    stored.note(factor, factor=True)
    parametrization = factor.parametrization
    return {
        "shape": [int(n) for n in factor._shape],
        "parametrization": describe_object(parametrization, "parametrization"),
        "parts": {part.name: stored.number(part) for part in parametrization.parts},
    }


def _follow_the_rounded_factors(pools: Sequence[Any]) -> None:
    """Lets the grids of low-bit factors end at the largest number that is stored.

    What is stored is rounded already, and cut off where its grid ended.
    """
    for pool in pools:
        _follow_the_rounded_factors(pool["config"].get("pools", ()))
        for wrapping in pool["config"].get("wrappings", ()):
            if wrapping is not None and "ratio" in wrapping["config"]:
                wrapping["config"]["ratio"] = WHOLE


def _virtuals_in_order(model, description) -> list[VirtualVariable]:
    layers = list(own_layers(model))
    return [
        own_variables(layers[weight["layers"][0]])[weight["variable"]]
        for weight in description["weights"]
    ]


def _plain(model: keras.Layer, stored: _Variables) -> list[int]:
    """The numbers of the layers' own variables that are stored, each once."""
    found: dict[int, None] = {}
    for layer in own_layers(model):
        for variable in own_variables(layer):
            if not isinstance(variable, VirtualVariable):
                found[stored.number(variable)] = None
    return list(found)


def _build(path: str, entry: Model, custom_objects, safe_mode) -> keras.Model:
    if entry.architecture is None:
        raise ArgumentError(
            f"{path} was saved without the architecture. Build the model by your own code and call "
            "smh.load_weights(model, path)."
        )
    try:
        return from_dense_config(entry.architecture, custom_objects, safe_mode)
    except Exception as error:  # a file may hold anything, and so may Keras raise
        raise ArtifactError(
            f"{path}: the model '{entry.name:.100}' cannot be built: {error} A layer of your own "
            "has to be imported and registered (@keras.saving.register_keras_serializable()), or "
            "passed in custom_objects."
        ) from error


def _fill(model, entry: Model, stored: Stored, path: str, pools: dict) -> None:
    """Compresses `model` as described and assigns all values; checks before it changes."""
    compressed = bool(virtual_variables(model))
    if not compressed:
        keys = [_key(pool["factors"]) for pool in entry.pools]
        try:
            restore(model, entry.description, [pools.get(key) for key in keys])
        except SmhError:
            raise
        except Exception as error:  # the description may hold anything, and so may Keras raise
            raise ArtifactError(
                f"{path}: the description of '{entry.name:.100}' cannot be followed: {error}"
            ) from error
        pools.update(zip(keys, sources(model), strict=True))
    elif _structure(describe(model)) != _structure(entry.description):
        raise ArgumentError(
            f"'{model.name}' is compressed in another way than the model in {path}. Build it "
            "without smh.compress, or with the arguments of the one that was saved."
        )
    variables = _stored_variables(model)
    expected = [tuple(v.shape) for v in variables]
    found = [stored.shape(number) for number in entry.order]
    if expected != found:
        raise ArgumentError(
            f"{path} has {len(found)} variables, '{model.name}' has {len(expected)}, or their "
            f"shapes differ: {_first_difference(expected, found)}."
        )
    for variable, number in zip(variables, entry.order, strict=True):
        variable.assign(stored.value(number))
    for virtual in virtual_variables(model):
        virtual.refresh_cache()


def _key(factors: Sequence[int | Factor]) -> tuple:
    """What pools of several models have in common if they are one: the stored variables."""
    return tuple(tuple(sorted(f.parts.items())) if isinstance(f, Factor) else f for f in factors)


def _structure(description: Mapping[str, Any]) -> Any:
    """What has to be equal for one model's variables to be another's."""
    weights = [
        {k: w[k] for k in ("layers", "variable", "shape", "pool", "slot", "parts")}
        for w in description["weights"]
    ]
    pools = [pool["config"].get("product") for pool in description["pools"]]
    inside = [_structure(p["inside"]) for p in description["pools"] if "inside" in p]
    return weights, pools, inside


def _first_difference(expected: list, found: list) -> str:
    for i, (a, b) in enumerate(zip(expected, found, strict=False)):
        if a != b:
            return f"variable {i} is {a} in the model and {b} in the file"
    return "one has more than the other"
