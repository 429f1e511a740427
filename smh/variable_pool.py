"""Pools: many weights from few trained numbers.

A pool owns the *factors*, the only numbers that are trained, and hands out *slots* of the flat
pool that they compute. It is a Keras layer, tracked and saved with every model that uses it.

Reference: E. Eban, Y. Movshovitz-Attias, H. Wu, M. Sandler, A. Poon, Y. Idelbayev,
M. A. Carreira-Perpinan, "Structured Multi-Hashing for Model Compression", CVPR 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from smh.errors import ArgumentError, ArtifactError
from smh.errors.limits import AT_LEAST_0, FRACTION, Limit
from smh.index_store import IndexStoreType, checked_kind
from smh.pools.base import VariablePool
from smh.pools.factor_initializers import balanced_factors, factor_seeds, with_stddev
from smh.pools.products import (
    MatrixProduct,
    matrix_product,
    published_hash,
    published_kronecker,
)
from smh.pools.shape import PoolShape, published_square
from smh.pools.single import SinglePool
from smh.virtual_variable.registered import describe_object, make_object

__all__ = [
    "HashVariablePool",
    "IndexStoreType",
    "MetaVariablePool",
    "ProductVariablePool",
    "VariablePool",
]


@keras.saving.register_keras_serializable(package="smh")
class ProductVariablePool(SinglePool):
    """The pool is the product of two factors.

    With side `n = ceil(sqrt(pool_size))` and `M = floor(fraction * pool_size / (2 n))` replicas,
    `L` is `[n, M]`, `R` is `[M, n]`, the pool is the `n * n` entries of `L @ R` row by row.

    Args:
        trainable: whether the factors are trained.
        pool_size: how many weights the pool must hold.
        fraction: factors' numbers over `pool_size`, in (0, 1].
        stddev: standard deviation of the pool's entries at the start.
        initializer: initializer class that takes `stddev`, or an initializer object.
        use_kronecker_product: sum of Kronecker products in place of the matrix product.
        index_store_type: what happens past the pool's end.
        seed: makes the factors repeatable; `None` follows `keras.utils.set_random_seed`.

    Raises:
        ArgumentError: for a value that cannot work, such as a fraction that leaves no replica; the
            message then says the smallest that works.

    Attributes:
        energy_kept: after `smh.compress(..., init="fit")` the share of the weights' energy (their
            sum of squares) that the factors kept, in [0, 1]; else `None`. Files do not keep it.

    Cost: `n * n * M` multiply-adds per model call; `n * n` floats of memory during it.

    Reference: Eban et al., "Structured Multi-Hashing for Model Compression", CVPR 2020.
    """

    energy_kept: float | None = None

    def __init__(
        self,
        trainable,
        pool_size,
        fraction,
        stddev=1.0,
        initializer=keras.initializers.RandomNormal,
        use_kronecker_product=False,
        index_store_type=IndexStoreType.basic,
        *,
        seed=None,
    ):
        _check_arguments(trainable, pool_size, fraction, stddev)
        product = (
            published_kronecker(pool_size, fraction)
            if use_kronecker_product
            else MatrixProduct(published_square(pool_size, fraction))
        )
        # A sum of M products of two factors of deviation s has deviation s * s * sqrt(M).
        factor_std = math.sqrt(stddev / math.sqrt(product.replicas))
        initializers = [with_stddev(initializer, factor_std, s) for s in factor_seeds(seed, 2)]
        names = ("variable_left", "variable_right")
        super().__init__(trainable, product, initializers, names, index_store_type)

    @classmethod
    def from_shape(
        cls, shape: PoolShape, *, trainable=True, seed=None, name=None
    ) -> ProductVariablePool:
        """The pool that `smh.compress` makes: chosen sides, balanced orthogonal factors.

        Args:
            shape: sides, replicas and blocks, see `smh.pools.shape.choose_sides`.
            trainable: whether the factors are trained.
            seed: makes the factors repeatable.
            name: begins the factors' paths; by default that of the class.

        Returns:
            A pool whose entries have root mean square 1, exactly so over every full row.
        """
        pool = cls.__new__(cls)
        initializers = balanced_factors(shape, 1.0, factor_seeds(seed, 2))
        names = ("variable_left", "variable_right")
        SinglePool.__init__(
            pool, trainable, matrix_product(shape), initializers, names, IndexStoreType.basic, name
        )
        return pool


@keras.saving.register_keras_serializable(package="smh")
class HashVariablePool(SinglePool):
    """Every entry of the pool is an element of one short vector.

    Args:
        trainable: whether the vector is trained.
        stddev: standard deviation of its elements at the start.
        pool_size: how many weights the pool must hold.
        fraction: length of the vector over `pool_size`, in (0, 1].
        initializer: initializer class that takes `stddev`, or an initializer object.
        seed: makes the vector's start repeatable, and is the seed of the random hash.
        index_store_type: `basic` or `cyclic`.
        hashing: `"modulo"`, the published law `i mod length`, or `"random"`, a seeded hash.

    Raises:
        ArgumentError: for a value that cannot work, such as a fraction that leaves the vector no
            element; the message then says the smallest that works.

    Cost: one gather of `pool_size` elements per model call; a random hash keeps 4 bytes per weight.

    Reference: W. Chen et al., "Compressing Neural Networks with the Hashing Trick" (2015).
    """

    def __init__(
        self,
        trainable,
        stddev=1.0,
        pool_size=None,
        fraction=None,
        initializer=keras.initializers.RandomNormal,
        seed=None,
        index_store_type=IndexStoreType.basic,
        *,
        hashing="modulo",
    ):
        _check_arguments(trainable, pool_size, fraction, stddev)
        if hashing not in ("modulo", "random"):
            raise ArgumentError(f"hashing must be 'modulo' or 'random', got {hashing!r}.")
        if checked_kind(index_store_type) is IndexStoreType.padding:
            raise ArgumentError("HashVariablePool has no padding store; use 'basic' or 'cyclic'.")
        hash_seed = None if hashing == "modulo" else (seed or 0)
        product = published_hash(pool_size, fraction, hash_seed)
        initializers = [with_stddev(initializer, stddev, factor_seeds(seed, 1)[0])]
        super().__init__(trainable, product, initializers, ("hash",), index_store_type)


_ELEMENTS = {"PRODUCT_POOL": ProductVariablePool, "HASH_POOL": HashVariablePool}


@keras.saving.register_keras_serializable(package="smh")
class MetaVariablePool(VariablePool):
    """The entry-wise sum or product of several pools, each with its share of the fraction.

    Args:
        trainable: whether the factors are trained.
        stddev: standard deviation of the combined entries at the start.
        pool_size: how many weights the pool must hold.
        fraction: numbers trained by all pools together over `pool_size`, in (0, 1].
        initializer: initializer class that takes `stddev`.
        elements: names of the pools in their order, `"PRODUCT_POOL"` or `"HASH_POOL"`.
        reduce_by: `"SUM"` or `"PROD"`.
        index_store_type: what happens past the pool's end.
        seed: makes the factors repeatable.

    Raises:
        ArgumentError: for a value that cannot work, such as an unknown element or reduction.

    The published code gives each of `k` summed pools the deviation `stddev / k`; independent terms
    add in squares, so `stddev / sqrt(k)` is used here, and `stddev ** (1 / k)` for a product.
    """

    def __init__(
        self,
        trainable,
        stddev=1.0,
        pool_size=None,
        fraction=None,
        initializer=keras.initializers.RandomNormal,
        elements=("PRODUCT_POOL", "HASH_POOL"),
        reduce_by="SUM",
        index_store_type=IndexStoreType.basic,
        *,
        seed=None,
    ):
        _check_arguments(trainable, pool_size, fraction, stddev)
        _check_elements(elements)
        if reduce_by not in ("SUM", "PROD"):
            raise ArgumentError(f"reduce_by must be 'SUM' or 'PROD', got {reduce_by!r}.")
        count = len(elements)
        share = stddev / math.sqrt(count) if reduce_by == "SUM" else stddev ** (1 / count)
        pools = [
            _ELEMENTS[name](
                trainable=trainable,
                stddev=share,
                pool_size=pool_size,
                fraction=fraction / count,
                initializer=initializer,
                seed=pool_seed,
            )
            for name, pool_seed in zip(elements, factor_seeds(seed, count), strict=True)
        ]
        self._combine(trainable, pools, reduce_by, index_store_type)

    def _combine(self, trainable, pools, reduce_by, index_store_type):
        # The smallest of the pools limits all; the coarsest row decides where to cut.
        size = min(pool.pool_size for pool in pools)
        super().__init__(trainable, size, max(p._granularity for p in pools), index_store_type)
        self.reduce_by = reduce_by
        self.__dict__["sub_pools"] = pools
        for i, pool in enumerate(pools):
            setattr(self, f"subpool_{i}", pool)

    def get_config(self):
        """Returns what an equal pool is made from, of the same layout but with other values."""
        return {
            **super().get_config(),
            "reduce_by": self.reduce_by,
            "pools": [describe_object(pool, "pool") for pool in self.sub_pools],
        }

    @classmethod
    def from_config(cls, config):
        """Makes a pool of the same layout; raises `ArtifactError`."""
        pools = [make_object(entry, SinglePool, "pool") for entry in config["pools"]]
        if not pools or config["reduce_by"] not in ("SUM", "PROD"):
            raise ArtifactError(
                f"A combined pool needs pools and a reduction, got {len(pools)} and "
                f"{config['reduce_by']!r:.80}."
            )
        pool = cls.__new__(cls)
        pool._combine(config["trainable"], pools, config["reduce_by"], config["index_store_type"])
        pool.go_on_from(config["position"])
        return pool

    def add_user(self, virtual):
        """Registers a virtual variable, also where its value is computed."""
        super().add_user(virtual)
        for pool in self.sub_pools:
            pool.add_user(virtual)

    def build(self, input_shape=None):
        """Creates the factors of every pool."""
        del input_shape
        for pool in self.sub_pools:
            pool.build()
        self.built = True

    def show_factors(self, factors):
        """Makes each factor an attribute of its own pool."""
        rest = iter(factors)
        for pool in self.sub_pools:
            pool.show_factors([next(rest) for _ in pool.factor_shapes()])

    def factors(self):
        """The trained variables of all pools, in order."""
        return [factor for pool in self.sub_pools for factor in pool.factors()]

    def factor_shapes(self):
        """Their shapes."""
        return [shape for pool in self.sub_pools for shape in pool.factor_shapes()]

    def factor_initializers(self):
        """Their names and initializers."""
        return [
            (f"subpool_{i}_{name}", initializer)
            for i, pool in enumerate(self.sub_pools)
            for name, initializer in pool.factor_initializers()
        ]

    def entries(self, factors, start, stop):
        """Returns entries `start` to `stop`, 1-D."""
        factors, terms = list(factors), []
        for pool in self.sub_pools:
            count = len(pool.factor_shapes())
            terms.append(pool.entries(factors[:count], start, stop))
            factors = factors[count:]
        total = terms[0]
        for term in terms[1:]:
            total = total + term if self.reduce_by == "SUM" else total * term
        return total


_POOL_SIZE = Limit(float, "a number, at least 1", lambda value: 1 <= value < math.inf)


def _check_arguments(trainable: Any, pool_size: Any, fraction: Any, stddev: Any) -> None:
    if trainable not in (True, False):
        raise ArgumentError(f"trainable must be True or False, got {trainable!r:.100}.")
    _POOL_SIZE.checked(pool_size, "pool_size")
    FRACTION.checked(fraction, "fraction")
    AT_LEAST_0.checked(stddev, "stddev")


def _check_elements(elements: Any) -> None:
    # A set has no order, and the order decides which pool has which seed.
    in_order = isinstance(elements, Sequence) and not isinstance(elements, str)
    if not in_order or not elements or any(name not in list(_ELEMENTS) for name in elements):
        raise ArgumentError(
            f"elements must be a list of one or more of {sorted(_ELEMENTS)}, got {elements!r:.100}."
        )
