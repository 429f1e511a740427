"""Which variables are scanned, and how one of them holds other numbers for a while."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError, DeployedModelError, SelectionError, UnbuiltModelError
from smh.pool_base import VariablePool
from smh.selection import make_matcher
from smh.typing import Selector
from smh.virtual_variable import VirtualVariable, own_layers, own_variables, seen, wrapping_of
from smh.virtual_variable.deploying import deployed_mode
from smh.weight_spec import FLOATS

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A variable that is stored and trained.

    Attributes:
        path: what users know it by.
        variable: what other numbers are assigned to.
        weight: the virtual variable that it is the stored part of, or the variable itself.
        is_factor: whether it is a factor of a pool.
        filter_axes: the axes that count filters, from the end.
    """

    path: str
    variable: keras.Variable
    weight: keras.Variable
    is_factor: bool = False
    filter_axes: tuple[int, ...] = (-1,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.variable.shape)

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of each of them now."""
        return {"float64": 64, "float32": 32}.get(self.variable._dtype, 16)

    def stored(self) -> np.ndarray:
        """A copy of its numbers."""
        return _numpy(self.variable.value)

    def magnitudes(self, stored: np.ndarray) -> np.ndarray:
        """Absolute values, float32 or float64; 0 where the model sees a zero in their place.

        So that of a weight or factor that is masked already, what is masked goes first.
        """
        sizes = np.abs(stored.astype(np.float64 if stored.itemsize == 8 else np.float32))
        if self.variable is self.weight and wrapping_of(self.variable) is None:
            return sizes
        visible = _numpy(seen(self.variable) if self.is_factor else self.weight.value)
        if visible.shape == sizes.shape:
            sizes[visible == 0] = 0
        return sizes

    @contextlib.contextmanager
    def kept(self) -> Iterator[np.ndarray]:
        """Yields a copy of its numbers, and puts them back at the end, whatever has happened."""
        stored = self.stored()
        try:
            yield stored
        finally:
            try:
                self.variable.assign(stored)
            except BaseException:  # a second Ctrl-C
                self.variable.assign(stored)
                raise


def find_candidates(
    model: Any, apply_to: Selector | None, exclude: Selector | None, filters: bool = False
) -> list[Candidate]:
    """Returns what is to be scanned, each variable once, in the order of the model's layers.

    Raises:
        UnbuiltModelError: the model has no weights yet.
        DeployedModelError: the model computes from cached copies.
        SelectionError: nothing is selected, or a weight is not finite.
        ArgumentError: `model` is no Keras model, or a selector is malformed.
    """
    _check_model(model)
    matches = None if apply_to is None else make_matcher(apply_to, "apply_to")
    excluded = make_matcher(exclude or [], "exclude")
    everything = _everything(model)

    def wanted(candidate: Candidate) -> bool:
        v, path = candidate.variable, candidate.path
        names = path, path.rsplit("/", 1)[-1], candidate.weight
        if not v.trainable or v._dtype not in FLOATS or not candidate.numel or excluded(*names):
            return False
        if filters and (candidate.is_factor or len(candidate.shape) < 2):
            return False
        if matches is not None:
            return matches(*names)
        is_dense = candidate.variable is candidate.weight and not candidate.is_factor
        return len(candidate.shape) >= (2 if is_dense else 1)

    chosen = [candidate for candidate in everything if wanted(candidate)]
    if not chosen:
        raise SelectionError(_nothing_selected(model, everything, filters))
    for candidate in chosen:
        with np.errstate(over="ignore"):
            finite = np.isfinite(candidate.stored().astype(np.float32)).all()
        if not finite:
            raise SelectionError(
                f"'{candidate.path}' has weights that are not finite (NaN or infinity, in "
                "float32), so they have no order. Repair them, or leave it out with `exclude=`."
            )
    return chosen


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Layer):
        raise ArgumentError(f"model must be a Keras 3 model or layer, got {type(model).__name__}.")
    unbuilt = [layer for layer in own_layers(model) if not layer.built]
    if not model.built or (unbuilt and not model.variables):
        raise UnbuiltModelError(
            f"'{model.name}' is not built, so it has no weights yet. Start it with "
            "keras.Input(shape), call model.build(input_shape), or call it once on data."
        )
    if deployed_mode(model) == "cached":
        raise DeployedModelError(
            f"'{model.name}' is deployed with cached weights, which would not follow the scan. "
            "Call smh.deploy(model, mode='train') first."
        )


def _everything(model: keras.Layer) -> list[Candidate]:
    found: dict[int, Candidate] = {}
    for layer in own_layers(model):
        for variable in own_variables(layer):
            for candidate in _of(variable, layer):
                found.setdefault(id(candidate.variable), candidate)
    return list(found.values())


def _of(variable: keras.Variable, layer: keras.Layer) -> list[Candidate]:
    axes = _filter_axes(layer, variable)
    if not isinstance(variable, VirtualVariable):
        return [Candidate(variable.path, variable, variable, False, axes)]
    parametrization = variable.parametrization
    if isinstance(parametrization.source, VariablePool):
        factors = parametrization.source.core_variables
        return [Candidate(factor.path, factor, factor, is_factor=True) for factor in factors]
    floats = [part for part in parametrization.parts if part._dtype in FLOATS]
    if parametrization.source is not None or not floats:
        return []
    # What has the weight's shape stands for the weight; a codebook is something of its own.
    whole = tuple(floats[0].shape) == tuple(variable._shape)
    path = variable.path if whole else floats[0].path
    return [Candidate(path, floats[0], variable, False, axes)]


def _filter_axes(layer: keras.Layer, variable: keras.Variable) -> tuple[int, ...]:
    if isinstance(layer, _TRANSPOSED):
        return (-2,)  # [..., out, in]
    if isinstance(layer, _DEPTHWISE) or variable.name == "depthwise_kernel":
        return (-2, -1)  # [..., in, multiplier]
    return (-1,)


def _nothing_selected(model: keras.Layer, everything: list[Candidate], filters: bool) -> str:
    kind = "kernels, which have filters," if filters else "those of rank 2 or more and factors"
    paths = "\n".join(
        f"  {c.path} {c.shape} {c.variable._dtype}"
        f"{'' if c.variable.trainable else ' (not trainable)'}"
        for c in everything
    )
    return (
        f"Nothing was selected in '{model.name}'. Only trainable float variables can be scanned; "
        f"without `apply_to`, {kind}. There are:\n{paths or '  (no variables)'}"
    )


def _numpy(value: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(value))
