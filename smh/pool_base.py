"""What all pools share: slots, cutting, and the published properties."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from smh.errors import ArgumentError, GraphModeError
from smh.index_store import PADDING_VALUE, CutPlan, Slot, make_index_store, plan_cuts
from smh.products import Product
from smh.typing import Shape, Tensor
from smh.virtual_variable import Source


class VariablePool(Source):
    """What all pools share: slots, cutting, and the published properties."""

    _factor_names: tuple[str, ...] = ()

    def __init__(self, trainable: bool, size: int, granularity: int, index_store_type):
        super().__init__(name=type(self).__name__, trainable=bool(trainable))
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
                "Keras layers."
            )

    def allocate(self, shape: Sequence[int]) -> Slot:
        """Hands out the next slot, for a weight of `shape`."""
        return self.index_store.allocate(math.prod(shape))

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
            PoolExhaustedError: if a `basic` pool has too few entries left.

        Example:
            >>> pool = ProductVariablePool(True, pool_size=100, fraction=0.5)
            >>> pool.get_slice([3, 4]).shape, pool.status
            (TensorShape([3, 4]), 12)
        """
        (piece,) = self.pieces([self.allocate(shape)])
        return ops.reshape(piece, list(shape))

    def pieces(self, slots: Sequence[Slot]) -> list[Tensor]:
        """Returns the flat values of `slots` by one product and one split."""
        if self.graph_factors is not None:
            return [self.__dict__["graph_pool"].piece(slot) for slot in slots]
        plan = plan_cuts(list(slots), self.pool_size, self._granularity)
        if not plan.sizes:
            return [_joined((), slot) for slot in slots]
        flat = self.entries([f.value for f in self.core_variables], plan.start, plan.stop)
        return cut(flat, plan, slots)

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


def cut(flat: Tensor, plan: CutPlan, slots: Sequence[Slot]) -> list[Tensor]:
    """Cuts a flat range once and joins the pieces of each slot.

    One split, because its gradient is one concatenation: slicing once per weight would make each
    gradient a zero-padded copy of the whole range (2.8 times the step of a ResNet-34).
    """
    edges = list(itertools.accumulate(plan.sizes))[:-1]
    pieces = ops.split(flat, edges) if edges else [flat]
    return [
        _joined([p for first, last in run for p in pieces[first:last]], slot)
        for slot, run in zip(slots, plan.runs, strict=True)
    ]


def _joined(pieces: Sequence[Tensor], slot: Slot) -> Tensor:
    pieces = list(pieces)
    if slot.padding or not pieces:
        pieces.append(ops.full([slot.padding], PADDING_VALUE, dtype="float32"))
    return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces)


class SinglePool(VariablePool):
    """A pool computed by one `Product` from factors of its own."""

    def __init__(self, trainable, product: Product, initializers: Sequence[Any], names, store):
        super().__init__(trainable, product.size, product.granularity, store)
        self.__dict__["product"] = product
        self.__dict__["_initializers"] = list(zip(names, initializers, strict=True))

    def build(self, input_shape=None):
        """Creates the factors."""
        del input_shape
        for (name, initializer), shape in zip(
            self.factor_initializers(), self.factor_shapes(), strict=True
        ):
            # In full precision also under a mixed policy: the product is cast, not the factors.
            factor = self.add_weight(
                name=name, shape=shape, initializer=initializer, dtype="float32", autocast=False
            )
            setattr(self, name, factor)  # TensorFlow's checkpoints find it by the attribute
        self.built = True

    def factors(self):
        """The trained variables, in order."""
        return list(self._trainable_variables)

    def factor_shapes(self):
        """Their shapes."""
        return list(self.product.factor_shapes)

    def factor_initializers(self):
        """Their names and initializers."""
        return self._initializers

    def entries(self, factors, start, stop):
        """Returns entries `start` to `stop`, 1-D."""
        grain = self.product.granularity
        low = start // grain * grain
        high = min(-(-stop // grain) * grain, self.product.size)
        flat = self.product.entries(factors, low, high)
        return flat if (low, high) == (start, stop) else flat[start - low : stop - low]
