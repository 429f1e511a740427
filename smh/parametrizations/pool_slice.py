"""The parametrization of SMH: a weight is a modified slice of a pool."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError, ArtifactError, PoolExhaustedError, SelectionError
from smh.index_store import Slot, check_length
from smh.modifiers import Modifier
from smh.typing import Tensor
from smh.variable_pool import VariablePool
from smh.virtual_variable import Parametrization, stored_variable
from smh.virtual_variable.registered import describe_object, make_object
from smh.virtual_variable.weight_spec import WeightSpec


@keras.saving.register_keras_serializable(package="smh")
class PoolSlice(Parametrization):
    """`modifier(pool[slot].reshape(shape))`.

    Args:
        spec: what the layer asked for.
        pool: the pool, with factors built.
        slot: where the weight lies in it.
        modifier: what is applied to the slice; its variables are created here, once.
        parts: the modifier's variables, if there are some already.
    """

    def __init__(
        self,
        spec: WeightSpec,
        pool: VariablePool,
        slot: Slot,
        modifier: Modifier,
        parts: Mapping[str, keras.Variable] | None = None,
    ):
        self.spec = spec
        self.source = pool
        self.slot = slot
        self.modifier = modifier
        self._parts = _create_parts(spec, modifier.parts(spec)) if parts is None else dict(parts)

    def get_config(self):
        """Describes the modifier."""
        return {"modifier": describe_object(self.modifier, "modifier")}

    @classmethod
    def from_config(cls, config, spec, parts, source=None, slot=None):
        """Makes the slice again, with `parts` in place of the modifier's initial ones."""
        if not isinstance(source, VariablePool) or slot is None:
            raise ArtifactError(f"'{spec.path}' is a slice of a pool, but no pool is given.")
        modifier = make_object(config["modifier"], Modifier, "modifier")
        # Only names and shapes are asked for, so the weights need not be looked at.
        known = modifier.parts(dataclasses.replace(spec, initial_std=lambda: 1.0))
        expected = {name: np.shape(value) for name, value in known.items()}
        found = {name: tuple(variable.shape) for name, variable in parts.items()}
        if expected != found:
            raise ArtifactError(
                f"The modifier of '{spec.path}' has variables {expected}, the description has "
                f"{found}."
            )
        return cls(spec, source, slot, modifier, parts)

    @property
    def parts(self):
        """The modifier's variables."""
        return tuple(self._parts.values())

    @property
    def scale(self):
        """The modifier's number, if it does nothing but multiply by one."""
        return self.modifier.scale(self._values())

    def value(self, piece: Tensor | None) -> Tensor:
        """Returns the weight, in float32."""
        with keras.name_scope("smh_modifier"):  # so called in a profiler's trace
            tensor = _shaped(piece, self.spec.shape)
            parts = self._values()
            if self.modifier.scale(parts) is not None:
                return tensor
            return check_shape(self.modifier.apply(tensor, parts), self.spec)

    def _values(self):
        return {name: variable.value for name, variable in self._parts.items()}

    def describe(self) -> str:
        """Names the range of the pool."""
        return f"pool {self.slot.begin}:{self.slot.begin + self.slot.length}"


def _shaped(piece: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if isinstance(piece, np.ndarray):  # a product on JAX, which would compile each reshape
        return ops.convert_to_tensor(piece.reshape(shape))
    return ops.reshape(piece, shape)


def check_shape(tensor: Tensor, spec: WeightSpec) -> Tensor:
    """Returns `tensor`, or raises if a modifier changed its shape."""
    if tuple(tensor.shape) != spec.shape:
        raise SelectionError(
            f"The modifier of '{spec.path}' returned shape {tuple(tensor.shape)}, expected "
            f"{spec.shape}. A modifier must keep the shape of its tensor."
        )
    return tensor


def check_size(spec: WeightSpec) -> None:
    """Raises, naming the weight, if it is too large to be one tensor."""
    try:
        check_length(math.prod(spec.shape))
    except ArgumentError as error:
        raise SelectionError(f"'{spec.path}' {spec.shape}: {error}") from None


def check_room(pool: VariablePool, spec: WeightSpec) -> None:
    """Raises, naming the weight, if `pool` has no slot left for it; changes nothing."""
    check_size(spec)
    try:
        pool.index_store.check(math.prod(spec.shape))
    except PoolExhaustedError as error:
        raise PoolExhaustedError(f"No room for '{spec.path}' {spec.shape}. {error}") from None


def _create_parts(spec: WeightSpec, initial: Mapping[str, np.ndarray | np.floating]):
    return {
        name: stored_variable(f"{spec.path}/{name}", np.asarray(value, "float32"))
        for name, value in initial.items()
    }
