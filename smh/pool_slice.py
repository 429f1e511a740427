"""The parametrization of SMH: a weight is a modified slice of a pool."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from keras import ops

from smh.errors import PoolExhaustedError, SelectionError
from smh.index_store import Slot
from smh.modifiers import Modifier
from smh.typing import Tensor
from smh.variable_pool import VariablePool
from smh.virtual_variable import Parametrization, stored_variable
from smh.weight_spec import WeightSpec


class PoolSlice(Parametrization):
    """`modifier(pool[slot].reshape(shape))`.

    Args:
        spec: what the layer asked for.
        pool: the pool, with factors built.
        slot: where the weight lies in it.
        modifier: what is applied to the slice; its variables are created here, once.
    """

    def __init__(self, spec: WeightSpec, pool: VariablePool, slot: Slot, modifier: Modifier):
        self.spec = spec
        self.source = pool
        self.slot = slot
        self.modifier = modifier
        self._parts = _create_parts(spec, modifier.parts(spec))

    @property
    def parts(self):
        """The modifier's variables."""
        return tuple(self._parts.values())

    def value(self, piece: Tensor | None) -> Tensor:
        """Returns the weight, in float32."""
        tensor = ops.reshape(piece, self.spec.shape)
        parts = {name: variable.value for name, variable in self._parts.items()}
        return check_shape(self.modifier.apply(tensor, parts), self.spec)

    def describe(self) -> str:
        """Names the range of the pool."""
        return f"pool {self.slot.begin}:{self.slot.begin + self.slot.length}"


def check_shape(tensor: Tensor, spec: WeightSpec) -> Tensor:
    """Returns `tensor`, or raises if a modifier changed its shape."""
    if tuple(tensor.shape) != spec.shape:
        raise SelectionError(
            f"The modifier of '{spec.path}' returned shape {tuple(tensor.shape)}, expected "
            f"{spec.shape}. A modifier must keep the shape of its tensor."
        )
    return tensor


def check_room(pool: VariablePool, spec: WeightSpec) -> None:
    """Raises, naming the weight, if `pool` has no slot left for it; changes nothing."""
    try:
        pool.index_store.check(math.prod(spec.shape))
    except PoolExhaustedError as error:
        raise PoolExhaustedError(f"No room for '{spec.path}' {spec.shape}. {error}") from None


def _create_parts(spec: WeightSpec, initial: Mapping[str, np.ndarray | np.floating]):
    return {
        name: stored_variable(f"{spec.path}/{name}", np.asarray(value, "float32"))
        for name, value in initial.items()
    }
