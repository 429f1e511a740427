"""A pool with factors of its own, computed by one `Product`: cutting, description, saving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError, ArtifactError
from smh.index_store import MOST_ELEMENTS
from smh.pools.base import VariablePool, scaled, split
from smh.pools.factor_initializers import describe_initializer, make_initializer
from smh.pools.products import BlockProduct, MatrixProduct, Product, describe_product, make_product
from smh.pools.row_plan import first_entry, plan_rows
from smh.virtual_variable import Parametrization, own_variables, seen, wrap, wrapping_of
from smh.virtual_variable.registered import describe_object, entry_of
from smh.virtual_variable.weight_spec import WeightSpec

_STATE = "wrapping_"


class SinglePool(VariablePool):
    """A pool computed by one `Product` from factors of its own."""

    def __init__(
        self, trainable, product: Product, initializers: Sequence[Any], names, store, name=None
    ):
        _check_factors(product, names)
        super().__init__(trainable, product.size, product.granularity, store, name)
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
            _checked_name(config.get("name")),
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
            self.add_weight(
                name=name, shape=shape, initializer=initializer, dtype="float32", autocast=False
            )
        self.show_factors(self.factors())
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
        if isinstance(self.product, BlockProduct) and len(slots) == 1:
            return [self.piece(slots[0], scales[0])]  # its scale goes onto all of `L`
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
        return scaled(pieces, left)

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
        stored = {k: store[k] for k in keys if not k.startswith(_STATE)}
        keras.Layer.load_own_variables(self, stored)
        for wrapping, state in zip(wrappings, states, strict=True):
            if wrapping is not None:
                wrapping.restore(state)
        self.changed(retrace=any(wrapping is not None for wrapping in wrappings))

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
        low = first_entry(start, stop, grain)
        high = min(-(-stop // grain) * grain, self.product.size)
        flat = self.product.entries(factors, low, high, scale)
        return flat if (low, high) == (start, stop) else flat[start - low : stop - low]


def _checked_name(name: Any) -> str | None:
    if name is not None and (not isinstance(name, str) or not name or "/" in name):
        raise ArtifactError(f"A pool's name is a string without '/', got {name!r:.80}.")
    return name


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
