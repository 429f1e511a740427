"""What all pools share: slots, cutting, and the published properties."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from smh.errors import ArgumentError, ArtifactError, GraphModeError
from smh.index_store import (
    PADDING_VALUE,
    Slot,
    checked_shape,
    kind_of,
    make_index_store,
    plan_cuts,
)
from smh.typing import Shape, Tensor
from smh.virtual_variable import Source, seen

# A longer range is computed by several products: half of what a tensor may hold leaves room for
# whole rows at both ends.
MOST_ENTRIES_AT_ONCE = 2**30


class VariablePool(Source):
    """What all pools share: slots, cutting, and the published properties."""

    def __init__(self, trainable: bool, size: int, granularity: int, index_store_type, name=None):
        super().__init__(name=name or type(self).__name__, trainable=bool(trainable))
        self._granularity = granularity
        self.__dict__["index_store"] = make_index_store(index_store_type, size)
        self.__dict__["graph_factors"] = None  # set where the pool is used in a TF1 graph

    @property
    def core_variables(self) -> list[keras.Variable]:
        """The factors: all that is trained. In a TF1 graph, that graph's variables."""
        if self.graph_factors is not None:
            return list(self.graph_factors)
        if not self.built:
            self.build()
        return self.factors()

    @property
    def core_size(self) -> int:
        """Numbers that are trained."""
        return sum(math.prod(shape) for shape in self.factor_shapes())

    @property
    def pool_size(self) -> int:
        """Numbers that the factors compute."""
        return self.index_store.size

    @property
    def status(self) -> int:
        """Where the next slot begins: the numbers handed out so far.

        In a `cyclic` pool modulo its size, in a `padding` pool up to its size.
        """
        return self.index_store.position

    @property
    def scope_name(self) -> str:
        """The scope in which the factors are named."""
        return type(self).__name__

    def check_not_in_a_graph(self) -> None:
        """Raises if the factors are variables of a TF1 graph, where no Keras layer sees them."""
        if self.graph_factors is not None:
            raise GraphModeError(
                f"This {self.scope_name} has its factors in a TF1 graph. Create another pool for "
                "Keras layers, and for another graph."
            )

    def allocate(self, shape: Sequence[int]) -> Slot:
        """Hands out the next slot, for a weight of `shape`."""
        return self.index_store.allocate(math.prod(checked_shape(shape)))

    def slot_at(self, begin: int, length: int) -> Slot:
        """Returns the slot of `length` elements that begins at `begin`, without allocating it."""
        return self.index_store.slot_at(begin, length)

    def get_slice(self, shape: Sequence[int]) -> Tensor:
        """Allocates the next slot and returns its present value.

        Args:
            shape: shape of the weight.

        Returns:
            A tensor of `shape`. It does not follow the factors; layers use a virtual variable.

        Raises:
            ArgumentError: if `shape` is no list of whole numbers, each at least 0.
            GraphModeError: if the factors are variables of a TF1 graph that is not being built.
            PoolExhaustedError: if a `basic` pool has too few entries left.
            In every case nothing is allocated.

        Example:
            >>> pool = ProductVariablePool(True, pool_size=100, fraction=0.5)
            >>> pool.get_slice([3, 4]).shape, pool.status
            (TensorShape([3, 4]), 12)
        """
        sides = checked_shape(shape)
        if self.graph_factors is not None and not self.__dict__["graph_pool"].in_scope():
            self.check_not_in_a_graph()
        (piece,) = self.pieces([self.allocate(sides)])
        return ops.reshape(piece, sides)

    def show_factors(self, factors: Sequence[Any]) -> None:
        """Makes each factor an attribute: by that TensorFlow's checkpoints of the pool find it."""
        for (name, _), factor in zip(self.factor_initializers(), factors, strict=True):
            setattr(self, name, factor)

    def pieces(
        self, slots: Sequence[Slot], scales: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """Returns the flat values of `slots`, times their scales, by one product and one split.

        Only a range of more than `MOST_ENTRIES_AT_ONCE` takes several of both.
        """
        return scaled(self._unscaled_pieces(slots), scales or [None] * len(slots))

    def _unscaled_pieces(self, slots: Sequence[Slot]) -> list[Tensor]:
        if self.graph_factors is not None:
            return [self.__dict__["graph_pool"].piece(slot) for slot in slots]
        plan = plan_cuts(list(slots), self.pool_size, self._granularity)
        if not plan.sizes:
            return [_joined((), slot) for slot in slots]
        factors = [seen(factor) for factor in self.core_variables]
        pieces: list[Tensor | None] = [None] * len(plan.sizes)
        edges = list(itertools.accumulate(plan.sizes, initial=plan.start))
        for first, last in plan.blocks(MOST_ENTRIES_AT_ONCE):
            # The names under which a profiler shows both, and their gradients.
            with keras.name_scope("smh_product"):
                flat = self.entries(factors, edges[first], edges[last])
            with keras.name_scope("smh_split"):
                pieces[first:last] = split(flat, plan.sizes[first:last])
        return [
            _joined([p for first, last in run for p in pieces[first:last]], slot)
            for slot, run in zip(slots, plan.runs, strict=True)
        ]

    def piece(self, slot: Slot, scale: Tensor | None = None) -> Tensor:
        """Returns the flat values of `slot`, times `scale`, from the rows in which it lies."""
        factors = [seen(factor) for factor in self.core_variables]
        with keras.name_scope("smh_product"):
            pieces = [self.scaled_entries(factors, *seg, scale) for seg in slot.segments]
            return _joined(pieces, slot, scale)

    def scaled_entries(
        self, factors: Sequence[Tensor], start: int, stop: int, scale: Tensor | None
    ) -> Tensor:
        """Returns entries `start` to `stop` of the flat pool, times `scale`."""
        flat = self.entries(factors, start, stop)
        return flat if scale is None else flat * scale

    def get_config(self) -> dict[str, Any]:
        """Returns what an equal pool is made from, of the same layout but with other values."""
        store = self.index_store
        own_name = {} if self.name == type(self).__name__ else {"name": self.name}
        return {
            "trainable": self.trainable,
            "index_store_type": kind_of(store).value,
            "position": store.position,
            **own_name,
        }

    def go_on_from(self, position: Any) -> None:
        """Sets where the next slot begins, as it was when the pool was described."""
        if type(position) is not int or not 0 <= position <= self.pool_size:
            raise ArtifactError(
                f"A pool of {self.pool_size:,} entries cannot go on from {position!r:.80}."
            )
        self.index_store.position = position

    @abc.abstractmethod
    def factors(self) -> list[keras.Variable]:
        """The trained variables, in order."""

    @abc.abstractmethod
    def factor_shapes(self) -> list[Shape]:
        """Their shapes, known before they are built."""

    @abc.abstractmethod
    def factor_initializers(self) -> list[tuple[str, Any]]:
        """Their names and initializers, in the order of `factor_shapes`."""

    @abc.abstractmethod
    def entries(self, factors: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """Returns entries `start` to `stop` of the flat pool, computed from `factors`."""

    def quantize(self, *args, **kwargs):
        """Raises: Keras would quantise the layers around a pool that it cannot see."""
        raise ArgumentError(
            "A model with a variable pool cannot be quantised by Keras. Call "
            "`smh.materialize(model).quantize(...)`."
        )


def split(flat: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Cuts a flat range into pieces of these sizes.

    One split, because its gradient is one concatenation: slicing once per weight would make each
    gradient a zero-padded copy of the whole range (2.8 times the step of a ResNet-34).
    """
    edges = list(itertools.accumulate(sizes))[:-1]
    return list(ops.split(flat, edges)) if edges else [flat]


def scaled(pieces: Sequence[Tensor], scales: Sequence[Tensor | None]) -> list[Tensor]:
    """Returns each piece times its scale."""
    with keras.name_scope("smh_modifier"):
        return [p if s is None else p * s for p, s in zip(pieces, scales, strict=True)]


def _joined(pieces: Sequence[Tensor], slot: Slot, scale: Tensor | None = None) -> Tensor:
    pieces = list(pieces)
    if slot.padding or not pieces:
        padding = ops.full([slot.padding], PADDING_VALUE, dtype="float32")
        pieces.append(padding if scale is None else padding * scale)
    return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces)
