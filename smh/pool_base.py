"""What all pools share: slots, cutting, and the published properties."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError, ArtifactError, GraphModeError
from smh.factor_initializers import describe_initializer, make_initializer
from smh.index_store import (
    MOST_ELEMENTS,
    PADDING_VALUE,
    Slot,
    kind_of,
    make_index_store,
    plan_cuts,
)
from smh.products import MatrixProduct, Product, describe_product, make_product
from smh.registered import describe_object, entry_of
from smh.row_plan import plan_rows
from smh.typing import Shape, Tensor
from smh.virtual_variable import (
    Parametrization,
    Source,
    own_variables,
    seen,
    wrap,
    wrapping_of,
)
from smh.weight_spec import WeightSpec

_STATE = "wrapping_"

# A longer range is computed by several products: half of what a tensor may hold leaves room for
# whole rows at both ends.
MOST_ENTRIES_AT_ONCE = 2**30


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

    def pieces(
        self, slots: Sequence[Slot], scales: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """Returns the flat values of `slots`, times their scales, by one product and one split.

        Only a range of more than `MOST_ENTRIES_AT_ONCE` takes several of both.
        """
        return _scaled(self._unscaled_pieces(slots), scales or [None] * len(slots))

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
        return {
            "trainable": self.trainable,
            "index_store_type": kind_of(store).value,
            "position": store.position,
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


def _scaled(pieces: Sequence[Tensor], scales: Sequence[Tensor | None]) -> list[Tensor]:
    with keras.name_scope("smh_modifier"):
        return [p if s is None else p * s for p, s in zip(pieces, scales, strict=True)]


def _joined(pieces: Sequence[Tensor], slot: Slot, scale: Tensor | None = None) -> Tensor:
    pieces = list(pieces)
    if slot.padding or not pieces:
        padding = ops.full([slot.padding], PADDING_VALUE, dtype="float32")
        pieces.append(padding if scale is None else padding * scale)
    return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces)


class SinglePool(VariablePool):
    """A pool computed by one `Product` from factors of its own."""

    def __init__(self, trainable, product: Product, initializers: Sequence[Any], names, store):
        _check_factors(product, names)
        super().__init__(trainable, product.size, product.granularity, store)
        self.__dict__["product"] = product
        self.__dict__["_initializers"] = list(zip(names, initializers, strict=True))
        self.__dict__["_wrappings"] = [None] * len(names)  # until the factors are built

    def get_config(self):
        """Returns what an equal pool is made from, of the same layout but with other values."""
        return {
            **super().get_config(),
            "product": describe_product(self.product),
            "factors": [
                {"name": name, "initializer": describe_initializer(initializer)}
                for name, initializer in self.factor_initializers()
            ],
            "wrappings": self._describe_wrappings(),
        }

    def _describe_wrappings(self) -> list[dict[str, Any] | None]:
        """What is seen in place of each factor; of a pool that is to be built, as it was made."""
        if not self.built:
            return self._wrappings
        seen_as = [wrapping_of(factor) for factor in self.factors()]
        return [w if w is None else describe_object(w, "parametrization") for w in seen_as]

    @classmethod
    def from_config(cls, config):
        """Makes a pool of the same layout; raises `ArtifactError`."""
        product = make_product(config["product"])
        names = [str(factor["name"]) for factor in config["factors"]]
        if len(names) != len(product.factor_shapes):
            raise ArtifactError(
                f"A pool has {len(names)} factors, expected {len(product.factor_shapes)}."
            )
        pool = cls.__new__(cls)
        SinglePool.__init__(
            pool,
            config["trainable"],
            product,
            [make_initializer(factor["initializer"]) for factor in config["factors"]],
            names,
            config["index_store_type"],
        )
        wrappings = config.get("wrappings", [None] * len(names))
        if not isinstance(wrappings, list) or len(wrappings) != len(names):
            raise ArtifactError(
                f"A pool of {len(names)} factors has wrappings {wrappings!r:.80}; expected a list "
                "of that length."
            )
        pool.__dict__["_wrappings"] = wrappings
        pool.go_on_from(config["position"])
        return pool

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
        for factor, entry in zip(self.factors(), self._wrappings, strict=True):
            if entry is not None:
                wrap(factor, _make_wrapping(factor, entry))

    def pieces(self, slots, scales=None):
        """Returns the flat values of `slots`, times their scales, by one product and one split.

        Where the pool is a matrix product, the scales of its larger weights go onto the rows of
        `L`: onto the weights they would cost three passes over all of them, and their memory.
        """
        scales = list(scales or [None] * len(slots))
        plan = None
        if isinstance(self.product, MatrixProduct) and self.graph_factors is None:
            has_scale = [scale is not None for scale in scales]
            plan = plan_rows(slots, has_scale, self.product.shape.cols)
        if plan is None:
            return super().pieces(slots, scales)
        with keras.name_scope("smh_product"):
            factors = [seen(factor) for factor in self.core_variables]
            flat = self.product.scaled_rows(factors, plan.rows, plan.owners, scales)
        with keras.name_scope("smh_split"):
            cut = split(flat, plan.sizes)
        pieces = [cut[number] for number in plan.pieces]
        left = [None if done else s for s, done in zip(scales, plan.scaled, strict=True)]
        return _scaled(pieces, left)

    def save_own_variables(self, store):
        """Saves the factors, and what else decides what is seen of them."""
        super().save_own_variables(store)
        for i, factor in enumerate(self.factors()):
            wrapping = wrapping_of(factor)
            state = None if wrapping is None else wrapping.state()
            if state is not None:
                store[f"{_STATE}{i}"] = state

    def load_own_variables(self, store):
        """Loads the factors, and what else decides what is seen of them; both have to fit."""
        keys = [str(key) for key in store.keys()]  # noqa: SIM118  (an HDF5 group)
        wrappings = [wrapping_of(factor) for factor in self.factors()]
        states = [
            np.array(store[f"{_STATE}{i}"]) if f"{_STATE}{i}" in keys else None
            for i in range(len(wrappings))
        ]
        for factor, wrapping, state in zip(self.factors(), wrappings, states, strict=True):
            if wrapping is not None:
                wrapping.check_state(state)
            elif state is not None:
                raise ArgumentError(
                    f"The file holds '{factor.path}' as smh.quantize_factors(model, bits="
                    f"{state[0]}) trains it. Call that before loading; `bits=None` undoes it after."
                )
        super().load_own_variables({k: store[k] for k in keys if not k.startswith(_STATE)})
        for wrapping, state in zip(wrappings, states, strict=True):
            if wrapping is not None:
                wrapping.restore(state)
        if any(wrapping is not None for wrapping in wrappings):
            self.forget_traces()
            for user in self.users:
                user.refresh_cache()

    def factors(self):
        """The trained variables, in order; one may be virtual itself."""
        return own_variables(self)

    def factor_shapes(self):
        """Their shapes."""
        return list(self.product.factor_shapes)

    def factor_initializers(self):
        """Their names and initializers."""
        return self._initializers

    def entries(self, factors, start, stop):
        """Returns entries `start` to `stop`, 1-D."""
        return self.scaled_entries(factors, start, stop, None)

    def scaled_entries(self, factors, start, stop, scale):
        """Returns entries `start` to `stop`, times `scale`; that goes onto few rows of `L`."""
        grain = self.product.granularity
        low = start // grain * grain
        high = min(-(-stop // grain) * grain, self.product.size)
        flat = self.product.entries(factors, low, high, scale)
        return flat if (low, high) == (start, stop) else flat[start - low : stop - low]


def _make_wrapping(factor: keras.Variable, entry: Any) -> Parametrization:
    """Makes again what is seen in place of `factor`, or raises `ArtifactError`."""
    kind, config = entry_of(entry, Parametrization, "parametrization")
    spec = WeightSpec(factor.path, factor.name, tuple(factor.shape), factor.dtype, lambda: 1.0)
    maker: Any = kind
    try:
        return maker.from_config(config, spec, {factor.name: factor})
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"What is seen of '{factor.path}' cannot be made from {config!r:.200}: {error!r}."
        ) from error


def _check_factors(product: Product, names: Sequence[str]) -> None:
    for name, shape in zip(names, product.factor_shapes, strict=True):
        if math.prod(shape) > MOST_ELEMENTS:
            raise ArgumentError(
                f"'{name}' of a pool of {product.size:,} entries would be one variable of "
                f"{math.prod(shape):,} numbers; at most {MOST_ELEMENTS:,} (2^31 - 1) work. Lower "
                "the fraction, or use several smaller pools."
            )
